"""``compare``: two runs side by side: settings, curves, filters, probes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bokeh.resources import Resources
from markupsafe import Markup

from yfccdask.analysis import feature_probes
from yfccdask.analysis.comparison_plots import paired_plots
from yfccdask.analysis.edge_share import edge_shares
from yfccdask.analysis.filter_figures import filter_mosaics
from yfccdask.analysis.results import Result, commit_digest, new_result, read_result
from yfccdask.analysis.run_facts import facts_of
from yfccdask.analysis.sections import fragment
from yfccdask.dashboard.summary import blocks_by_layer, objective_ends
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError

COMMAND, PAGE = "compare", "compare.html"
SIDES = ("first", "second")
SAME_PROBE = ("labels_sha256", "seed")  # of two probes that can be compared


@dataclass(frozen=True)
class Comparison:
    """Two runs beside each other.

    Attributes
    ----------
    page : Path
        One HTML file.
    settings : DataFrame
        ``key``, ``first`` and ``second``: the settings that differ, as text ("" where absent).
    layers : DataFrame
        One row per layer that both have: ``objective_first`` and ``objective_second`` (over the
        last 5 % of blocks), and ``obstacle``, why they don't compare ("" where they do).
    edges : DataFrame
        Per run: shares of edges among first-layer units, ``trained`` and ``initial``.
    probes : DataFrame
        Per features and probe: ``accuracy_first``, ``accuracy_second``, ``difference`` and its
        standard ``error``; empty where there are none that compare.
    notes : list of str
        What doesn't compare, and why.
    """

    page: Path
    settings: pd.DataFrame
    layers: pd.DataFrame
    edges: pd.DataFrame
    probes: pd.DataFrame
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        tables = {
            name: getattr(self, name).astype(object).where(getattr(self, name).notna(), None)
            for name in ("settings", "layers", "edges", "probes")
        }
        records = {name: table.to_dict("records") for name, table in tables.items()}
        return {"page": str(self.page), **records, "notes": self.notes}


def compare(first: Run | str | Path, second: Run | str | Path) -> Comparison:
    """Compare two runs: what was set otherwise, how they trained, what they learned.

    Writes ``FIRST/analysis/compare/`` with a page that is one file.

    Parameters
    ----------
    first, second : Run or path
        Their latest commits are compared.

    Raises
    ------
    RunError
        If a run has no commit, both are the same, or they are of different kinds of images.
    """
    runs = (open_run(first), open_run(second))
    commits = (runs[0].commit(), runs[1].commit())
    check_comparable(runs, commits)
    parameters = {
        "second": str(runs[1].path.resolve()),
        "second_commit": {"number": commits[1].number, "sha256": commit_digest(commits[1])},
    }
    probes, notes = probe_table(runs, commits)
    with new_result(runs[0], COMMAND, commits[0], None, parameters) as draft:
        found = Comparison(
            runs[0].analysis / COMMAND / PAGE,
            differing_settings(runs),
            layer_table(runs, commits),
            edge_table(runs, commits),
            probes,
            [*_notes(runs), *notes],
        )
        write_text(draft.folder / PAGE, _page(runs, commits, found))
    return found


def check_comparable(runs: tuple[Run, Run], commits: tuple[Commit, Commit]) -> None:
    """Refuse to compare a run with itself, or runs that look at different kinds of images.

    Raises
    ------
    RunError
    """
    if commit_digest(commits[0]) == commit_digest(commits[1]):
        raise RunError(
            f"expected two different runs, found the same commit in {runs[0].path} and "
            f"{runs[1].path}: there is nothing to compare"
        )
    kinds = [run.config.images for run in runs]
    for key in ("size", "channels", "dtype"):
        values = [getattr(kind, key) for kind in kinds]
        if values[0] != values[1]:
            raise RunError(
                f"expected runs on the same kind of images, found images.{key} of {values[0]} in "
                f"{runs[0].path} and {values[1]} in {runs[1].path}: their filters and objectives "
                "mean different things; compare what probes say of each (`yfccdask probe`)"
            )


def differing_settings(runs: tuple[Run, Run]) -> pd.DataFrame:
    """The settings that are not the same, one row each; see `Comparison`."""
    trees = [dict(_flat(run.config.model_dump(mode="json"))) for run in runs]
    keys = [*trees[0], *(key for key in trees[1] if key not in trees[0])]
    rows = [
        {"key": key, **{side: tree.get(key, "") for side, tree in zip(SIDES, trees, strict=True)}}
        for key in keys
        if trees[0].get(key, "") != trees[1].get(key, "")
    ]
    return pd.DataFrame(rows, columns=["key", *SIDES])


def layer_table(runs: tuple[Run, Run], commits: tuple[Commit, Commit]) -> pd.DataFrame:
    """The objectives of the layers that both runs have; see `Comparison`."""
    blocks = [blocks_by_layer(run.events()) for run in runs]
    rows = []
    for number in range(1, min(commit.layers for commit in commits) + 1):
        ends = [objective_ends(each.get(number, [])) for each in blocks]
        row = {"layer": number, "obstacle": obstacle(runs, number)}
        row |= {
            f"objective_{side}": end[1] if end else None
            for side, end in zip(SIDES, ends, strict=True)
        }
        rows.append(row)
    return pd.DataFrame(rows)


def obstacle(runs: tuple[Run, Run], number: int) -> str:
    """Why the objectives of a layer (counted from 1) don't compare; "" where they do."""
    geometry = [run.geometry.layers[number - 1] for run in runs]
    if geometry[0].inputs != geometry[1].inputs:
        return f"{geometry[0].inputs:,} inputs against {geometry[1].inputs:,}"
    settings = [run.config.layers[number - 1] for run in runs]
    for key in ("input_deviation", "sparsity"):
        values = [getattr(each, key, None) for each in settings]
        if values[0] != values[1]:
            return f"{key} of {values[0]} against {values[1]}"
    white = [run.config.preprocessing for run in runs]
    if number == 1 and white[0] != white[1]:
        return "preprocessed otherwise"
    return ""


def edge_table(runs: tuple[Run, Run], commits: tuple[Commit, Commit]) -> pd.DataFrame:
    """The shares of edges among both runs' first-layer units; see `Comparison`."""
    rows = []
    for side, run, commit in zip(SIDES, runs, commits, strict=True):
        shares = edge_shares(run, commit=commit)
        rows.append({"run": side, "trained": shares.trained.share, "initial": shares.initial.share})
    return pd.DataFrame(rows)


def probe_table(
    runs: tuple[Run, Run], commits: tuple[Commit, Commit]
) -> tuple[pd.DataFrame, list[str]]:
    """Both runs' probes side by side, and why there are none where there are none."""
    columns = ["features", "probe", "accuracy_first", "accuracy_second", "difference", "error"]
    found = [read_result(run, feature_probes.COMMAND) for run in runs]
    missing = [str(run.path) for run, result in zip(runs, found, strict=True) if result is None]
    if missing:
        note = f"No probes to compare: run `yfccdask probe` for {' and for '.join(missing)}."
        return pd.DataFrame(columns=columns), [note]
    first, second = (result for result in found if result is not None)
    if reasons := list(_other_probe((first, second), runs, commits)):
        note = f"The two runs' probes don't compare: {'; '.join(reasons)}."
        return pd.DataFrame(columns=columns), [note]
    tables = [pd.read_parquet(result.path / feature_probes.TABLE) for result in (first, second)]
    keys = ["features", "probe"]
    both = tables[0].merge(tables[1], on=keys, suffixes=("_first", "_second"))
    both["difference"] = both["accuracy_second"] - both["accuracy_first"]
    both["error"] = np.hypot(both["error_first"], both["error_second"])
    return both[columns], []


def _other_probe(
    results: tuple[Result, Result], runs: tuple[Run, Run], commits: tuple[Commit, Commit]
) -> Iterator[str]:
    """What is not the same in two probes, and makes comparing them nonsense."""
    stores = [(result.store or {}).get("digest") for result in results]
    if stores[0] != stores[1]:
        yield "they are of different stores"
    names = {"labels_sha256": "of other labels or images", "seed": "of another split"}
    for key in SAME_PROBE:
        if results[0].parameters.get(key) != results[1].parameters.get(key):
            yield names[key]
    for run, result, commit in zip(runs, results, commits, strict=True):
        if not result.is_of(commit):
            yield f"that of {run.path} is of an older commit"


def _notes(runs: tuple[Run, Run]) -> list[str]:
    stores = [run.provenance.get("store", {}).get("digest") for run in runs]
    if stores[0] != stores[1]:
        return ["They were trained on different stores, so their curves are over other images."]
    return []


def _flat(tree: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf of a configuration with its key, as text."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, f"{name}.{key}" if name else key)
    elif isinstance(tree, list) and tree and isinstance(tree[0], dict):
        for number, value in enumerate(tree):
            yield from _flat(value, f"{name}.{number}")
    else:
        yield name, "none" if tree is None else str(tree)


def _page(runs: tuple[Run, Run], commits: tuple[Commit, Commit], found: Comparison) -> str:
    names = _names(runs)
    blocks = [blocks_by_layer(run.events()) for run in runs]
    good = found.layers[found.layers["obstacle"] == ""]["layer"]
    pairs = {
        int(number): (blocks[0][number], blocks[1][number])
        for number in good
        if all(each.get(number) for each in blocks)
    }
    script, plots = paired_plots(pairs)
    facts = [facts_of(run, commit, run.events()) for run, commit in zip(runs, commits, strict=True)]
    return fragment(
        "comparison.html",
        names=names,
        found=found,
        facts=[(term, facts[0][term], facts[1][term]) for term in facts[0]],
        mosaics=[filter_mosaics(run, commit)[0] for run, commit in zip(runs, commits, strict=True)],
        plots=plots,
        plot_script=Markup(script),
        bokeh=Markup(Resources(mode="inline", components=["bokeh"]).render()),
    )


def _names(runs: tuple[Run, Run]) -> tuple[str, str]:
    """What to call the runs: their folders' names, with more of the path where these are equal."""
    paths = [run.path.resolve() for run in runs]
    if paths[0].name != paths[1].name:
        return paths[0].name, paths[1].name
    return str(paths[0]), str(paths[1])
