"""What a pass for the strongest images has found so far, in one file that is whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from yfccdask.data.durable import replace_file
from yfccdask.numerics.strongest import Strongest, Summary

NAME = "so-far.npz"
PARTS = ("values", "images", "moments")


class Progress(NamedTuple):
    """The summary of every layer (counted from 1) over the first ``done`` blocks of a pass."""

    done: int
    summaries: dict[int, Summary]


def save_progress(work: Path, progress: Progress) -> None:
    """Put it in the place of what was found before."""
    arrays = {"done": np.int64(progress.done)}
    for number, (strongest, moments) in progress.summaries.items():
        for name, array in zip(PARTS, (*strongest, moments), strict=True):
            arrays[f"{name}-{number}"] = array
    replace_file(work / NAME, lambda stream: np.savez(stream, **arrays))


def load_progress(work: Path) -> Progress:
    """What a former session of the same pass has saved; nothing where none has."""
    if not (work / NAME).is_file():
        return Progress(0, {})
    with np.load(work / NAME, allow_pickle=False) as stored:
        numbers = [int(name.split("-")[1]) for name in stored if name.startswith("moments-")]
        found = {number: [stored[f"{part}-{number}"] for part in PARTS] for number in numbers}
        done = int(stored["done"])
    return Progress(
        done, {n: Summary(Strongest(*parts[:2]), parts[2]) for n, parts in found.items()}
    )


def whole_layer(parts: list[list[Summary]]) -> Summary:
    """The summaries of all chunks, row by row of them, as one over the whole grid."""
    rows = [_joined(line, axis=1) for line in parts]
    return _joined(rows, axis=0)


def _joined(parts: list[Summary], axis: int) -> Summary:
    values, images = (
        np.concatenate([part.strongest[place] for part in parts], axis) for place in (0, 1)
    )
    return Summary(
        Strongest(values, images), np.concatenate([part.moments for part in parts], axis)
    )
