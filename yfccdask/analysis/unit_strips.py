"""A unit's strongest photographs side by side in one small picture, kept with an analysis."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr
from PIL import Image

from yfccdask.analysis.gallery import photo_labels
from yfccdask.analysis.pictures import data_uri, photo_tile, unit_window
from yfccdask.data.blocks import BlockStore
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run

SHOWN, SIDE, GAP = 5, 112, 3  # photographs, and their pixels
FILE = "shown.json"
Place = tuple[int, int, int, int]  # layer, grid_y, grid_x, unit


@dataclass(frozen=True)
class Strip:
    """A unit that is shown: its strongest photographs as a data URI ("" if there are none to be).

    ``labels`` are id, credit and licence of each as plain text.
    """

    layer: int
    grid_y: int
    grid_x: int
    unit: int
    picture: str = ""
    labels: list[str] = field(default_factory=list)

    @property
    def place(self) -> Place:
        return self.layer, self.grid_y, self.grid_x, self.unit


def save_strips(
    folder: Path,
    run: Run,
    store: BlockStore,
    units: Sequence[Place],
    lists: dict[int, xr.Dataset],
    photos: bool = True,
) -> None:
    """Keep the strips of some units in a folder; without ``photos`` only which units these are.

    Parameters
    ----------
    lists : dict of int to Dataset
        Per layer, as `strongest_images` gives them.
    """
    strips = [
        photo_strip(run, store, place, lists[place[0]]) if photos else Strip(*place)
        for place in units
    ]
    write_text(folder / FILE, json.dumps([asdict(strip) for strip in strips], indent=1) + "\n")


def load_strips(folder: Path) -> list[Strip]:
    """The strips that a folder holds."""
    stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return [Strip(**strip) for strip in stored]


def photo_strip(run: Run, store: BlockStore, place: Place, dataset: xr.Dataset) -> Strip:
    """A unit's strongest photographs; the window of a local layer's unit is outlined."""
    layer, *index = place
    rows = dataset["image"].transpose("grid_y", "grid_x", "unit", "rank").values[tuple(index)]
    rows = rows[:SHOWN].tolist()
    geometry = run.geometry.layers[layer - 1]
    window = None if geometry.dense else unit_window(run.geometry, layer - 1, (index[0], index[1]))
    tiles = [photo_tile(photo, SIDE, window) for photo in store.read(rows)]
    picture = data_uri(_side_by_side(tiles), photo=True)
    return Strip(*place, picture, photo_labels(store, rows))


def _side_by_side(tiles: Sequence[Any]) -> Any:
    canvas = Image.new("RGB", (len(tiles) * (SIDE + GAP) - GAP, SIDE), "white")
    for number, tile in enumerate(tiles):
        canvas.paste(tile, (number * (SIDE + GAP), 0))
    return canvas
