"""``yfccdask``: one group; each command's module is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

import click

COMMANDS = {
    "demo": "yfccdask.cli.demo_commands:demo_command",
    "samples": "yfccdask.cli.data_commands:samples_command",
    "config": "yfccdask.cli.config_commands:config_group",
    "ingest": "yfccdask.cli.data_commands:ingest_command",
    "store": "yfccdask.cli.store_commands:store_group",
    "metadata": "yfccdask.cli.metadata_commands:metadata_group",
    "plan": "yfccdask.cli.training_commands:plan_command",
    "train": "yfccdask.cli.training_commands:train_command",
    "resume": "yfccdask.cli.training_commands:resume_command",
    "status": "yfccdask.cli.control_commands:status_command",
    "attach": "yfccdask.cli.control_commands:attach_command",
    "pause": "yfccdask.cli.control_commands:pause_command",
    "stop": "yfccdask.cli.control_commands:stop_command",
    "runs": "yfccdask.cli.control_commands:runs_command",
    "checkpoint": "yfccdask.cli.checkpoint_commands:checkpoint_group",
    "digest": "yfccdask.cli.training_commands:digest_command",
    "encode": "yfccdask.cli.encode_commands:encode_command",
    "export": "yfccdask.cli.encode_commands:export_command",
    "stimuli": "yfccdask.cli.analysis_commands:stimuli_command",
    "optimal": "yfccdask.cli.analysis_commands:optimal_command",
    "tags": "yfccdask.cli.label_commands:tags_command",
    "selectivity": "yfccdask.cli.label_commands:selectivity_command",
    "probe": "yfccdask.cli.label_commands:probe_command",
    "compare": "yfccdask.cli.label_commands:compare_command",
    "report": "yfccdask.cli.analysis_commands:report_command",
    "doctor": "yfccdask.cli.doctor_commands:doctor_command",
}


class LoadedOnDemand(click.Group):
    """A group whose commands are named before they are imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(
    "yfccdask", cls=LoadedOnDemand, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="yfccdask")
def main() -> None:
    """Learn visual features from very large photo collections without labels, on Dask.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 refused by the plan, 75 stopped and resumable.
    """
