"""``store check``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
from jinja2 import Environment, PackageLoader

from yfccdask.cli.options import as_json, cluster_options, report_errors, say
from yfccdask.dashboard.progress import file_progress
from yfccdask.data.store_checks import StoreCheck, check_store_files
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client


@click.group("store")
def store_group() -> None:
    """Look after block stores."""


@store_group.command("check")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--deep", is_flag=True, help="Read all pixels: every checksum and digest.")
@click.option("--html", type=click.Path(path_type=Path), help="Write what was found to a page.")
@cluster_options
@as_json
@report_errors
def check_command(
    store: Path, deep: bool, html: Path | None, cluster: ClusterRequest, as_json: bool
) -> None:
    """Prove that every file is accounted for and that STORE is as it was written.

    Exits with 1 and names what is damaged if anything is.
    """
    with file_progress("checking", quiet=as_json) as progress:
        found = with_client(cluster, check_store_files, store, deep=deep, on_progress=progress)
    if html is not None:
        html.write_text(check_page(found), encoding="utf-8")
    say(as_json, {**asdict(found), "holds": found.holds}, check_text(found))
    if not found.holds:
        sys.exit(1)


def check_text(found: StoreCheck) -> str:
    """What a check found, in a few lines."""
    skipped = " + ".join(f"{count} {reason}" for reason, count in found.reasons.items())
    sums = f"{found.written} written + {found.skipped} skipped = {found.rows} rows"
    lines = [f"{found.store}: {found.images:,} images in {found.blocks} blocks; {sums}"]
    lines += [f"  skipped: {skipped}"] if skipped else []
    lines += [f"  damaged: {text}" for text in found.damage]
    how = "every chunk, digest and row holds" if found.deep else "rows and files hold (not deep)"
    return "\n".join(lines + ([f"  {how}"] if found.holds else []))


def check_page(found: StoreCheck) -> str:
    """What a check found, as a page of its own."""
    pages = Environment(loader=PackageLoader("yfccdask.cli", "."), autoescape=True)
    return pages.get_template("store_page.html").render(check=found)
