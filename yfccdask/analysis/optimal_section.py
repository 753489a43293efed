"""Optimal inputs in the report."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from yfccdask.analysis.optimal_inputs import COMMAND, stored_optima, unit_of, unit_pictures
from yfccdask.analysis.pictures import as_image, data_uri
from yfccdask.analysis.sections import Section, fragment, other_commit_note
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run

PIXELS = 160  # least height of a picture in the file
EXPLANATION = """\
What would a unit most like to see? For each of these units a computer drew the picture that it
answers to most strongly, starting from noise and changing the picture step by step so that the
answer grows. All pictures have the same contrast, so none wins by being brighter. Mid grey means
nothing, and each picture is scaled to its own strongest point.

The number says how much more strongly the unit answers to this picture than to the best photograph
at the same contrast. These pictures are no photographs: the network has never seen anything like
them. A unit whose picture looks like noise has learned no pattern that an eye can see.
"""


def section(run: Run, commit: Commit) -> Section | None:
    """The optimal inputs that `optimal` has left with a run."""
    found = stored_optima(run)
    if found is None:
        return None
    result, datasets = found
    layers = [
        {"number": number, "cards": _cards(run, number, dataset), "ratio": _median(dataset)}
        for number, dataset in datasets.items()
    ]
    body = fragment("optimal.html", layers=layers, norm=result.parameters["norm"])
    note = other_commit_note(result, commit)
    return Section(COMMAND, "What a unit would most like to see", EXPLANATION, body, note)


def _cards(run: Run, layer: int, dataset: xr.Dataset) -> list[dict[str, Any]]:
    dense = run.geometry.layers[layer - 1].dense
    cards = []
    ratios = _ratios(dataset)
    for choice, picture in enumerate(unit_pictures(run, layer, dataset)):
        y, x, unit = unit_of(dataset, choice)
        zoom = max(1, -(-PIXELS // picture.shape[0]))
        large = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
        ratio = ratios[choice] if np.isfinite(ratios[choice]) else None
        name = f"Unit {unit}" if dense else f"Row {y}, column {x}, unit {unit}"
        cards.append({"name": name, "uri": data_uri(as_image(large)), "ratio": ratio})
    return cards


def _ratios(dataset: xr.Dataset) -> np.ndarray:
    """How much stronger than the best photograph; not a number where none excites the unit."""
    best = dataset["photo_response"].values
    return np.divide(
        dataset["response"].values, best, out=np.full(best.shape, np.nan), where=best > 0
    )


def _median(dataset: xr.Dataset) -> float | None:
    ratios = _ratios(dataset)
    known = ratios[np.isfinite(ratios)]
    return float(np.median(known)) if known.size else None
