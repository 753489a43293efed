"""``metadata convert`` and ``metadata stats``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape

from yfccdask.analysis.metadata.figures import metadata_figures
from yfccdask.analysis.metadata.hostile_texts import displayable
from yfccdask.analysis.metadata.page import figure_rows, write_page
from yfccdask.cli.options import as_json, cluster_options, print_table, report_errors, say
from yfccdask.dashboard.progress import file_progress
from yfccdask.data.metadata.conversion import ConversionReport, convert_metadata
from yfccdask.data.metadata.engine import MEMORY
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client


@click.group("metadata")
def metadata_group() -> None:
    """The YFCC100M metadata: typed Parquet of it, and its statistics."""


@metadata_group.command("convert")
@click.argument("files", nargs=-1, required=True)
@click.argument("parquet", type=click.Path(path_type=Path))
@cluster_options
@as_json
@report_errors
def convert_command(
    files: tuple[str, ...], parquet: Path, cluster: ClusterRequest, as_json: bool
) -> None:
    """Convert metadata FILES (paths, folders or URLs, in any layout) to the folder PARQUET.

    Rows that don't parse go to NAME.rejects.parquet beside it. A conversion that was killed goes
    on when it is started again.
    """
    with file_progress("converting pieces", quiet=as_json) as progress:
        done = with_client(cluster, convert_metadata, files, parquet, on_progress=progress)
    say(as_json, asdict(done), conversion_text(done))


def conversion_text(done: ConversionReport) -> str:
    """A conversion's result in a few lines."""
    first = f"{done.parquet}: {'already whole, ' if done.reused else ''}{done.parts} parts"
    lines = [
        f"{first} from {done.sources} files",
        f"rows in {done.rows_in:,} = rows out {done.rows:,} + rejects {done.rejected:,}",
    ]
    if done.rejected:
        lines.append(f"rejects: {done.rejects}")
        lines += [f"  {count:,} x {reason}" for reason, count in done.reasons.items()]
    return "\n".join(lines)


@metadata_group.command("stats")
@click.argument("parquet", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with plots, too.")
@click.option("--memory", default=MEMORY, show_default=True, help="What may be held in memory.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads (default: one per core).")
@as_json
@report_errors
def stats_command(
    parquet: Path, html: Path | None, memory: str, threads: int | None, as_json: bool
) -> None:
    """Count what is in PARQUET: the figures of YFCC100M's paper, exactly."""
    figures = metadata_figures(parquet, memory=memory, threads=threads)
    if html is not None:
        write_page(figures, html, parquet.resolve().name)
    if as_json:
        say(True, figures.as_dict(), "")
        return
    rows = [list(row) for row in figure_rows(figures.summary)]
    print_table(["", "this set", "YFCC100M"], rows)
    licences = figures.tables["licences"].itertuples(index=False)
    shown = [
        [escape(displayable(row.licence)), f"{row.photos:,}", f"{row.videos:,}"] for row in licences
    ]
    print_table(["licence", "photos", "videos"], shown)
    click.echo("tags: " + ", ".join(displayable(tag) for tag in figures.tables["tags"]["tag"]))
    if html is not None:
        click.echo(f"page: {html}")
