"""``stimuli``, ``optimal`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yfccdask.analysis.optimal_inputs import STARTS, STEPS, UNITS_SHOWN, optimal
from yfccdask.analysis.reporting import find_store, report
from yfccdask.analysis.results import result_folder
from yfccdask.analysis.stimulus_pages import POSITIONS, stimuli
from yfccdask.cli.encode_commands import checkpoint_option, layers_option
from yfccdask.cli.options import as_json, cluster_options, report_errors, say
from yfccdask.data.runs import open_run
from yfccdask.training.clusters import ClusterRequest

no_photos = click.option(
    "--no-photos", is_flag=True, help="Show no images, for archives that are private."
)


@click.command("stimuli")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "-k", type=click.IntRange(min=1), default=5, show_default=True, help="Images per unit."
)
@layers_option("all")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images to look at, in whole blocks that --seed chooses (default: the first 100,000).",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--positions",
    type=click.IntRange(min=1),
    default=POSITIONS,
    show_default=True,
    help="Most positions of a layer in the gallery; the lists hold all.",
)
@click.option("--whitened", is_flag=True, help="Show images as the first layer sees them.")
@no_photos
@checkpoint_option
@cluster_options
@as_json
@report_errors
def stimuli_command(no_photos: bool, as_json: bool, **asked: Any) -> None:
    """Find the images in STORE that excite every unit of RUN most, and make a gallery of them.

    It is RUN/analysis/stimuli/index.html; the lists are in RUN/analysis/strongest.
    """
    found = stimuli(asked.pop("run"), asked.pop("store"), photos=not no_photos, **asked)
    facts = {"gallery": str(found.page), "pages": found.pages, "units": found.units}
    text = f"gallery: {found.page} ({found.units:,} units on {found.pages:,} pages)"
    say(as_json, {**facts, "images": found.images}, f"{text}, out of {found.images:,} images")


@click.command("optimal")
@click.argument("run", type=click.Path(path_type=Path))
@layers_option("all")
@click.option(
    "--units",
    type=click.IntRange(min=1),
    default=UNITS_SHOWN,
    show_default=True,
    help="Units per layer.",
)
@click.option(
    "--norm",
    type=click.Choice(["image", "whitened"]),
    default="image",
    show_default=True,
    help="Whether the image has unit norm before whitening, or after it.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="The block store to compare with, where it is no longer where it was at training.",
)
@click.option("--starts", type=click.IntRange(min=1), default=STARTS, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), default=STEPS, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@checkpoint_option
@cluster_options
@as_json
@report_errors
def optimal_command(run: Path, data: Path | None, as_json: bool, **asked: Any) -> None:
    """Draw the inputs of unit norm that excite some units of RUN most.

    After `stimuli` or `report` their strongest photographs are compared with them.
    """
    opened = open_run(run)
    store, _ = find_store(opened, data)
    found = optimal(opened, store=store, **asked)
    folder = result_folder(opened, "optimal")
    ratios = {
        number: float((part["response"] / part["photo_response"]).median())
        for number, part in found.items()
    }
    words = ", ".join(f"layer {n}: {_times(ratio)}" for n, ratio in ratios.items())
    facts = {"optimal": str(folder), "median_ratio_to_best_photo": ratios}
    say(as_json, facts, f"optimal: {folder} ({words})")


def _times(ratio: float) -> str:
    return "not compared" if ratio != ratio else f"{ratio:.2f} times the best photograph"


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="STORE",
    help="The block store, where it is no longer where it was at training.",
)
@no_photos
@cluster_options
@as_json
@report_errors
def report_command(
    run: Path, data: Path | None, no_photos: bool, cluster: ClusterRequest, as_json: bool
) -> None:
    """Write RUN/report.html: one file with curves, filters, and the photographs units like.

    What other analyses have left with the run is part of it.
    """
    opened = open_run(run)
    _, note = find_store(opened, data)
    if note:
        click.secho(f"note: {note} Name the store with --data STORE.", fg="yellow", err=True)
    path = report(opened, store=data, cluster=cluster, photos=not no_photos)
    say(as_json, {"report": str(path)}, f"report: {path}")
