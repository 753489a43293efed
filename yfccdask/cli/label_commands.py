"""``tags``, ``selectivity``, ``probe`` and ``compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pandas as pd
import xarray as xr
from dask.utils import parse_bytes
from rich.markup import escape

from yfccdask.analysis.feature_probes import FEATURE_BYTES, probe
from yfccdask.analysis.findings_sections import shown_text
from yfccdask.analysis.run_comparison import Comparison, compare
from yfccdask.analysis.stimulus_pages import sampled_blocks
from yfccdask.analysis.unit_detectors import LEAST, detector_table, selectivity
from yfccdask.analysis.unit_words import LEVEL, STRONGEST, tags
from yfccdask.analysis.word_counts import KINDS, Counting
from yfccdask.cli.encode_commands import checkpoint_option, layers_option
from yfccdask.cli.options import as_json, cluster_options, print_table, report_errors, say
from yfccdask.data.blocks import open_store
from yfccdask.data.metadata.engine import MEMORY
from yfccdask.training.clusters import ClusterRequest

ROWS_SHOWN, ROWS_PRINTED = 25, 1000  # of a table on the terminal, and in JSON


sample_option = click.option(
    "--sample",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images to look at, in whole blocks that --seed chooses.",
)
labels_option = click.option(
    "--labels",
    required=True,
    metavar="FILE",
    help="CSV or Parquet with id and label; `folder` for the folders' names; or metadata, for "
    "its tags.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of the sample, and of the split by photograph.",
)


@click.command("tags")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@click.argument("metadata", type=click.Path(path_type=Path))
@layers_option("the top one")
@sample_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the sample."
)
@checkpoint_option
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=STRONGEST,
    show_default=True,
    help="Strongest images per unit.",
)
@click.option(
    "--kinds",
    default=",".join(KINDS),
    show_default=True,
    metavar="KIND[,KIND]",
    help="Which kinds of words.",
)
@click.option(
    "--level",
    default=LEVEL,
    show_default=True,
    help="Share of what is listed that may be there by chance (false discovery rate).",
)
@click.option("--least-photos", default=5, show_default=True, help="A word is on so many, in all.")
@click.option("--least-users", default=2, show_default=True, help="And of so many users.")
@click.option("--cell", default=1.0, show_default=True, help="Size of a place, in degrees.")
@click.option("--no-photos", is_flag=True, help="Keep no pictures for the report.")
@click.option("--count-memory", default=MEMORY, show_default=True, help="What counting may hold.")
@cluster_options
@as_json
@report_errors
def tags_command(
    run: Path, store: Path, metadata: Path, as_json: bool, cluster: ClusterRequest, **asked: Any
) -> None:
    """Say which words belong to which units: tags, devices, places and years.

    STORE's ids have to be those of METADATA, which `yfccdask metadata convert` wrote. Writes
    RUN/analysis/tags/; `yfccdask report RUN` shows it.
    """
    counting = Counting(
        tuple(asked["kinds"].split(",")),
        asked["least_photos"],
        asked["least_users"],
        asked["cell"],
    )
    table = tags(
        run,
        store,
        metadata,
        k=asked["k"],
        layers=asked["layers"],
        blocks=_blocks(store, asked["sample"], asked["seed"]),
        checkpoint=asked["checkpoint"],
        counting=counting,
        level=asked["level"],
        photos=not asked["no_photos"],
        memory=asked["count_memory"],
        cluster=cluster,
    )
    facts = {"analysis": str(run / "analysis" / "tags"), **table.attrs, "kept": len(table)}
    if as_json:
        say(True, {**facts, "table": table.head(ROWS_PRINTED).to_dict("records")}, "")
        return
    print_table(["unit", "kind", "word", "hits", "lift", "q"], _word_rows(table))
    click.echo(
        f"{len(table):,} of {facts['tested']:,} pairs of unit and word, "
        f"{facts['photos']:,} photographs ({facts['unknown_photos']:,} unknown to the metadata): "
        f"{facts['analysis']}"
    )


@click.command("selectivity")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@labels_option
@layers_option("the top one")
@sample_option
@seed_option
@checkpoint_option
@click.option("--least", default=LEAST, show_default=True, help="Images of a label in each half.")
@cluster_options
@as_json
@report_errors
def selectivity_command(
    run: Path, store: Path, labels: str, as_json: bool, cluster: ClusterRequest, **asked: Any
) -> None:
    """Find the best single unit as a detector of each label, trained against random weights.

    Unit and threshold are chosen on one half of the photographs and judged on the other. Writes
    RUN/analysis/selectivity/; `yfccdask report RUN` shows it.
    """
    asked["blocks"] = _blocks(store, asked.pop("sample"), asked["seed"])
    best = selectivity(run, store, labels, cluster=cluster, **asked)
    table = detector_table(best)
    facts = {"analysis": str(run / "analysis" / "selectivity"), **best.attrs}
    if as_json:
        say(True, {**facts, "table": table.to_dict("records")}, "")
        return
    heads = ["label", "layer", "best unit", "images", "trained", "random", "q"]
    print_table(heads, _detector_rows(best))
    click.echo(f"balanced accuracy, 50 % by chance. {best.labels}")
    click.echo(facts["analysis"])


@click.command("probe")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("store", type=click.Path(path_type=Path))
@labels_option
@layers_option("all")
@sample_option
@seed_option
@checkpoint_option
@click.option("--no-baselines", is_flag=True, help="Neither raw pixels nor random weights.")
@click.option(
    "--feature-memory",
    default=f"{FEATURE_BYTES >> 20}MiB",
    show_default=True,
    help="What the largest set of features may take; of more images as many as fit are drawn.",
)
@cluster_options
@as_json
@report_errors
def probe_command(
    run: Path, store: Path, labels: str, as_json: bool, cluster: ClusterRequest, **asked: Any
) -> None:
    """Train simple classifiers on the features of each layer, on pixels and on random weights.

    Needs scikit-learn: pip install 'yfccdask[probe]'. Writes RUN/analysis/probe/; `yfccdask
    report RUN` shows it.
    """
    found = probe(
        run,
        store,
        labels,
        layers=asked["layers"],
        blocks=_blocks(store, asked["sample"], asked["seed"]),
        checkpoint=asked["checkpoint"],
        baselines=not asked["no_baselines"],
        seed=asked["seed"],
        feature_bytes=_size(asked["feature_memory"]),
        cluster=cluster,
    )
    facts = {"analysis": str(run / "analysis" / "probe"), **found.attrs}
    if as_json:
        table = found.to_dataframe().reset_index()
        say(True, {**facts, "table": table.to_dict("records")}, "")
        return
    print_table(["features", "number", "linear", "neighbours"], _probe_rows(found))
    click.echo(f"always the most frequent class: {_percent(found.chance)}. {found.labels}")
    for text in found.said:
        click.echo(text)
    click.echo(facts["analysis"])


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@as_json
@report_errors
def compare_command(first: Path, second: Path, as_json: bool) -> None:
    """Put two runs side by side: settings, curves, filters, probes.

    Writes FIRST/analysis/compare/compare.html, one file.
    """
    found = compare(first, second)
    if as_json:
        say(True, found.as_dict(), "")
        return
    _say_comparison(found)


def _say_comparison(found: Comparison) -> None:
    rows = [[escape(shown_text(str(part))) for part in row] for row in found.settings.to_numpy()]
    print_table(["setting", "first", "second"], rows)
    edges = found.edges.set_index("run")["trained"]
    click.echo(f"edges: {_percent(edges['first'])} and {_percent(edges['second'])}")
    rows = [
        [row.features, row.probe, *map(_percent, (row.accuracy_first, row.accuracy_second))]
        for row in found.probes.itertuples()
    ]
    if rows:
        print_table(["features", "probe", "first", "second"], rows)
    for note in found.notes:
        click.echo(note)
    click.echo(f"page: {found.page}")


def _blocks(store: Path, sample: int | None, seed: int) -> list[int] | None:
    return None if sample is None else sampled_blocks(open_store(store), sample, seed)


def _size(text: str) -> int:
    try:
        return int(parse_bytes(text))
    except ValueError:
        raise click.BadParameter(
            f"expected a size such as 2GB, found {text!r}", param_hint="--feature-memory"
        ) from None


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _word_rows(table: pd.DataFrame) -> list[list[str]]:
    return [
        [
            f"layer {row.layer} ({row.grid_y}, {row.grid_x}) {row.unit}",
            row.kind,
            escape(shown_text(str(row.word))),
            f"{row.hits} of {row.drawn}",
            f"{row.lift:.1f} x",
            f"{row.q:.1e}",
        ]
        for row in table.head(ROWS_SHOWN).itertuples()
    ]


def _detector_rows(best: xr.Dataset) -> list[list[str]]:
    trained, random = (best.sel(weights=name).to_dataframe() for name in ("trained", "random"))
    order = trained.sort_values("accuracy", ascending=False, kind="stable").head(ROWS_SHOWN)
    return [
        [
            escape(shown_text(str(label))),
            str(layer),
            f"({row.grid_y}, {row.grid_x}) {row.unit}",
            f"{row.images:,}",
            _percent(row.accuracy),
            _percent(random.loc[(label, layer), "accuracy"]),
            f"{row.q:.2g}",
        ]
        for (label, layer), row in zip(order.index, order.itertuples(), strict=True)
    ]


def _probe_rows(found: xr.Dataset) -> list[list[str]]:
    rows = []
    for name in found["features"].values:
        own = found.sel(features=name)
        shares = [
            f"{_percent(float(own['accuracy'].sel(probe=kind)))} "
            f"± {100 * float(own['error'].sel(probe=kind)):.1f}"
            for kind in found["probe"].values
        ]
        rows.append([str(name), f"{int(own['width']):,}", *shares])
    return rows
