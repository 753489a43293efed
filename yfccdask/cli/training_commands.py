"""``plan``, ``train`` and ``digest``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from yfccdask.cli.options import (
    as_json,
    cluster_options,
    print_table,
    report_errors,
    say,
    settings,
)
from yfccdask.config import load_config
from yfccdask.dashboard.progress import training_progress
from yfccdask.dashboard.summary import layer_summaries, summary_text
from yfccdask.data.digests import digest
from yfccdask.data.runs import open_run
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.planning import NetworkPlan, plan
from yfccdask.training.start import train

data_option = click.option("--data", type=click.Path(path_type=Path), metavar="STORE")


@click.command("plan")
@click.argument("config")
@data_option
@settings
@as_json
@report_errors
def plan_command(config: str, data: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Print the network's table: positions, windows, weights, bytes, operations."""
    table = plan(load_config(config, overrides), data)
    if as_json:
        say(True, table.as_dict(), "")
        return
    print_table(*table.table())
    if table.store is not None:
        click.echo(store_text(table))


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
@settings
@cluster_options
@as_json
@report_errors
def train_command(
    config: str,
    data: Path,
    run: Path,
    overrides: tuple[str, ...],
    cluster: ClusterRequest,
    as_json: bool,
) -> None:
    """Train a network on a block store, layer after layer, into the folder RUN.

    CONFIG is a preset's name or a YAML file. With --json, every event is a line of JSON.
    """
    whole = load_config(config, overrides)
    if not as_json:
        click.echo(store_text(plan(whole, data)))
    with training_progress(as_json) as follow:
        done = train(whole, data, run, cluster=cluster, on_event=follow, on_connect=follow)
    if not as_json:
        click.echo(summary_text(layer_summaries(done)))
        click.echo(f"run: {run}")


@click.command("digest")
@click.argument("run", type=click.Path(path_type=Path))
@as_json
@report_errors
def digest_command(run: Path, as_json: bool) -> None:
    """Print the SHA-256 of every logical array of RUN's last commit, and of all."""
    found = digest(open_run(run))
    lines = [f"{value}  {name}" for name, value in found.arrays.items()]
    say(as_json, asdict(found), "\n".join([*lines, f"{found.whole}  run"]))
