"""``plan``, ``train``, ``resume`` and ``digest``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

from yfccdask.cli.options import (
    as_json,
    cluster_options,
    detachable,
    print_table,
    report_errors,
    say,
    settings,
)
from yfccdask.config import load_config
from yfccdask.dashboard.progress import training_progress
from yfccdask.dashboard.summary import layer_summaries, summary_text
from yfccdask.data.digests import digest
from yfccdask.data.run_locks import holder_of
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import PlanRefused
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.planning import NetworkPlan, RunPlan, calibrate, load_calibration, plan
from yfccdask.training.start import resume, train

data_option = click.option("--data", type=click.Path(path_type=Path), metavar="STORE")
force_option = click.option("--force", is_flag=True, help="Train although the plan refuses.")
detach_option = click.option(
    "--detach", is_flag=True, help="Return once the run has begun (with a --scheduler)."
)
file_option = click.Path(path_type=Path, dir_okay=False)


@click.command("plan")
@click.argument("config")
@data_option
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Default: one per core.")
@click.option(
    "--memory", metavar="SIZE", help="Per worker, e.g. 4GB; default: this machine's, shared out."
)
@click.option(
    "--host-memory",
    metavar="SIZE",
    help="Beside each GPU, whose own --memory is; default: no limit.",
)
@click.option(
    "--images", type=click.IntRange(min=1), metavar="N", help="Images of one pass, without a store."
)
@click.option(
    "--calibration", type=file_option, metavar="FILE", help="Measured figures to plan with."
)
@click.option(
    "--save-calibration", type=file_option, metavar="FILE", help="Write the figures used to a file."
)
@settings
@as_json
@report_errors
def plan_command(
    config: str,
    data: Path | None,
    workers: int | None,
    memory: str | None,
    host_memory: str | None,
    images: int | None,
    calibration: Path | None,
    save_calibration: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Plan a run: the network's table, chunks, memory, time and disk on N workers.

    Exit code 3 where the run would not fit, with the nearest configurations that do.
    """
    whole = load_config(config, overrides)
    workers = workers or CPU_COUNT
    figures = load_calibration(calibration) if calibration else calibrate(whole)
    found = plan(
        whole,
        data,
        workers=workers,
        memory=MEMORY_LIMIT // workers if memory is None else memory,
        host_memory=host_memory,
        images=images,
        calibration=figures,
    )
    assert isinstance(found, RunPlan)
    if save_calibration:
        figures.save(save_calibration)
    if as_json:
        say(True, found.as_dict(), "")
    else:
        print_plan(found)
    if found.refusals:
        sys.exit(PlanRefused.exit_code)


def print_plan(found: RunPlan) -> None:
    """All tables, and in red what is over a limit."""
    print_table(*found.table())
    if found.readings:
        print_table(*found.readings_table())
    click.echo()
    print_table(*found.work_table())
    click.echo("each layer's figures are its busiest worker's; tasks are those of all workers\n")
    print_table(*found.totals_table(), red={1} if found.over_memory else set())
    if found.store is not None:
        click.echo(store_text(found))
    for text in found.warnings:
        click.secho(f"warning: {text}", fg="yellow")
    for text in found.refusals:
        click.secho(f"refused: {text}", fg="red")
    for text in found.suggestions:
        click.echo(f"it would fit with {text}")


def store_text(table: NetworkPlan) -> str:
    """What a store gives a pass, in a line."""
    store = table.store
    if store is None:
        return ""
    return (
        f"{store.path}: {store.images:,} images in {store.blocks} blocks, {store.mini_batches:,} "
        f"mini-batches a pass; {store.unused_images:,} images in no whole mini-batch stay unused"
    )


@click.command("train")
@click.argument("config")
@click.option("--data", required=True, type=click.Path(path_type=Path), metavar="STORE")
@click.option(
    "--run",
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="The run's folder; it must not exist.",
)
@force_option
@detach_option
@settings
@cluster_options
@as_json
@report_errors
def train_command(
    config: str,
    data: Path,
    run: Path,
    force: bool,
    detach: bool,
    overrides: tuple[str, ...],
    cluster: ClusterRequest,
    as_json: bool,
) -> None:
    """Train a network on a block store, layer after layer or staggered, into RUN.

    CONFIG is a preset's name or a YAML file. With --json, every event is a line of JSON. A run on a
    --scheduler goes on when this command ends; SIGTERM and SIGUSR1 commit and stop it.
    """
    whole = load_config(config, overrides)
    if not as_json:
        click.echo(store_text(plan(whole, data)))
    with detachable(cluster.embedded), training_progress(as_json) as follow:
        done = train(
            whole,
            data,
            run,
            cluster=cluster,
            force=force,
            follow=not detach,
            on_event=follow,
            on_connect=follow,
        )
    say_outcome(done, detach, as_json)


@click.command("resume")
@click.argument("run", type=click.Path(path_type=Path))
@force_option
@detach_option
@cluster_options
@as_json
@report_errors
def resume_command(
    run: Path, force: bool, detach: bool, cluster: ClusterRequest, as_json: bool
) -> None:
    """Go on with RUN, to the same bits as if it had never stopped: paused, or from its last commit.

    Configuration and store are the run's own. With --json, every event is a line of JSON.
    """
    alone = cluster.embedded and holder_of(run) is None
    with detachable(alone), training_progress(as_json) as follow:
        done = resume(
            run,
            cluster=None if cluster == ClusterRequest() else cluster,
            force=force,
            follow=not detach,
            on_event=follow,
            on_connect=follow,
        )
    say_outcome(done, detach, as_json)


def say_outcome(run: Run, detached: bool, as_json: bool) -> None:
    """What became of a run: in training, or its layers in a line each."""
    if detached:
        text = f"{run.path}: in training; `yfccdask attach {run.path}` follows it"
        say(as_json, {"run": str(run.path)}, text)
    elif not as_json:
        click.echo(f"{summary_text(layer_summaries(run))}\nrun: {run.path}")


@click.command("digest")
@click.argument("run", type=click.Path(path_type=Path))
@as_json
@report_errors
def digest_command(run: Path, as_json: bool) -> None:
    """Print the SHA-256 of every logical array of RUN's last commit, and of all."""
    found = digest(open_run(run))
    lines = [f"{value}  {name}" for name, value in found.arrays.items()]
    say(as_json, asdict(found), "\n".join([*lines, f"{found.whole}  run"]))
