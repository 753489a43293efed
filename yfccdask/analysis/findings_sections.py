"""The report's sections about words and labels: ``tags``, ``selectivity`` and ``probe``."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pandas as pd

from yfccdask.analysis import feature_probes, unit_detectors, unit_words
from yfccdask.analysis.metadata.hostile_texts import displayable
from yfccdask.analysis.results import Result, read_result
from yfccdask.analysis.sections import Section, fragment, other_commit_note
from yfccdask.analysis.unit_strips import Strip, load_strips
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run

WORDS_PER_UNIT, LABELS_SHOWN, TEXT_LETTERS = 8, 40, 60
ABOUT_WORDS = """\
Nobody told the network what is on a photograph. Here its units meet what people wrote about
theirs: for every unit, the tags, devices, places and years that are on more of its strongest
images than chance allows.

"12 of 40, 6.1 times as often" means: of the 40 photographs that excite the unit most, 12 have
the word, which is 6.1 times the share in all photographs. All units and words that were tried
count; at most {level} of what is listed is expected to be there by chance. Photographs of one
person often share words and looks, so a word of few users says little. A word that is not listed
may still belong to a unit: a list of strongest images is short."""
ABOUT_DETECTORS = """\
For each label, the one unit of a layer that tells it best by answering above (or below) a
threshold. Unit and threshold were chosen on one half of the photographs; what is shown was
measured on the other half, so that the choice among many units gains nothing. 50 % is chance,
whatever the label's frequency.

Random weights are the same network before training. A unit that is no better than these has
learned nothing about the label, however good it is: some labels are told by brightness alone."""
ABOUT_PROBES = """\
A probe is a simple classifier that is trained with labels on top of the network, which was
trained without. The more often it is right, the more plainly the layers' responses show what the
labels are about. Raw pixels and the same network with its random initial weights are what to
compare with.

"Linear" is a logistic regression, "neighbours" asks the most similar images. All choices were
made on images that the shares below do not come from; ± is one standard error."""


def words_section(run: Run, commit: Commit) -> Section | None:
    """What ``tags`` found; None where it was not run."""
    result = read_result(run, unit_words.COMMAND)
    if result is None:
        return None
    table = pd.read_parquet(result.path / unit_words.TABLE)
    cards = _word_cards(table, load_strips(result.path))
    layers: dict[int, list[dict[str, Any]]] = {}
    for card in cards:
        layers.setdefault(card["strip"].layer, []).append(card)
    context = {"layers": layers, "facts": table.attrs, "found": len(table)}
    body = fragment("tags.html", dense=_dense_layers(run), **context)
    about = ABOUT_WORDS.format(level=f"{100 * result.parameters['level']:g} %")
    return _section(result, commit, "Neurons with words", about, body)


def detectors_section(run: Run, commit: Commit) -> Section | None:
    """What ``selectivity`` found; None where it was not run."""
    result = read_result(run, unit_detectors.COMMAND)
    if result is None:
        return None
    table = pd.read_parquet(result.path / unit_detectors.TABLE)
    layers = {layer: detector_rows(part) for layer, part in table.groupby("layer", sort=True)}
    context = {"layers": layers, "facts": table.attrs, "most": LABELS_SHOWN}
    body = fragment("selectivity.html", dense=_dense_layers(run), **context)
    return _section(result, commit, "Single units as detectors", ABOUT_DETECTORS, body)


def probes_section(run: Run, commit: Commit) -> Section | None:
    """What ``probe`` found; None where it was not run."""
    result = read_result(run, feature_probes.COMMAND)
    if result is None:
        return None
    table = pd.read_parquet(result.path / feature_probes.TABLE)
    body = fragment("probe.html", rows=probe_rows(table), facts=table.attrs)
    title = "What a classifier can read out of the features"
    return _section(result, commit, title, ABOUT_PROBES, body)


def detector_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One layer's labels, the best detected first: trained row and random accuracy of each."""
    trained = table[table["weights"] == "trained"].set_index("label")
    random = table[table["weights"] == "random"].set_index("label")["accuracy"]
    rows = trained.sort_values("accuracy", ascending=False, kind="stable").head(LABELS_SHOWN)
    return [
        {**row, "label": shown_text(str(label)), "random": float(random[label])}
        for label, row in rows.to_dict("index").items()
    ]


def probe_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per set of features, in the probes' order: ``name``, ``width``, and the fits."""
    rows: dict[Hashable, dict[str, Any]] = {}
    for row in table.to_dict("records"):
        own = rows.setdefault(
            row["features"], {"name": row["features"], "width": row["width"], "fits": {}}
        )
        own["fits"][row["probe"]] = row
    return list(rows.values())


def shown_text(text: str) -> str:
    """A user's text for a page or a terminal: no control characters, and not too long."""
    clean = displayable(text)
    return clean if len(clean) <= TEXT_LETTERS else f"{clean[: TEXT_LETTERS - 1]}…"


def _dense_layers(run: Run) -> set[int]:
    return {number for number, layer in enumerate(run.geometry.layers, 1) if layer.dense}


def _section(result: Result, commit: Commit, title: str, about: str, body: Any) -> Section:
    return Section(result.command, title, about, body, other_commit_note(result, commit))


def _word_cards(table: pd.DataFrame, strips: list[Strip]) -> list[dict[str, Any]]:
    """The units that are shown, with their surest words."""
    columns = ["layer", "grid_y", "grid_x", "unit"]
    by_unit = dict(tuple(table.groupby(columns, sort=False)))
    return [
        {
            "strip": strip,
            "words": [
                {**row, "word": shown_text(str(row["word"]))}
                for row in by_unit[strip.place].head(WORDS_PER_UNIT).to_dict("records")
            ],
        }
        for strip in strips
    ]
