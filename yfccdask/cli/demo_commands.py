"""``demo``."""

from __future__ import annotations

from pathlib import Path

import click

from yfccdask.cli.demonstration import CROPS, DEMO_DATA, DEMO_RUN, demo
from yfccdask.cli.options import as_json, cluster_options, report_errors, say, settings
from yfccdask.dashboard.progress import file_progress, training_progress
from yfccdask.dashboard.summary import summary_text
from yfccdask.training.clusters import ClusterRequest


@click.command("demo")
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of one's own photographs instead of the samples.",
)
@click.option("--run", type=click.Path(path_type=Path), default=DEMO_RUN, show_default=True)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=DEMO_DATA,
    show_default=True,
    help="Where photographs and blocks are kept.",
)
@click.option(
    "--crops",
    type=click.IntRange(min=1),
    default=CROPS,
    show_default=True,
    help="Crops to cut in all; fewer teach less.",
)
@settings
@cluster_options
@as_json
@report_errors
def demo_command(
    images: Path | None,
    run: Path,
    data: Path,
    crops: int,
    overrides: tuple[str, ...],
    cluster: ClusterRequest,
    as_json: bool,
) -> None:
    """Photographs in, three trained layers and a report out, on an embedded local cluster.

    What exists already is used again.
    """
    with file_progress("photographs", quiet=as_json) as files, training_progress(as_json) as follow:
        done = demo(
            images=images,
            run=run,
            data=data,
            crops=crops,
            overrides=overrides,
            cluster=cluster,
            on_files=files,
            on_event=follow,
        )
    facts = {"report": str(done.report), "run": str(run), "layers": done.layers}
    say(as_json, facts, f"{summary_text(done.layers)}\nreport: {done.report}")
