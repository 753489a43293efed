"""Units and the photographs that excite them most, as cards for a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from yfccdask.analysis.edge_share import trained_filters
from yfccdask.analysis.pictures import (
    close_up,
    data_uri,
    filter_pictures,
    mosaic,
    photo_tile,
    unit_window,
)
from yfccdask.analysis.strongest_pass import chance_selectivity, selectivity, telling_units
from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run
from yfccdask.errors import StoreError
from yfccdask.geometry import Rectangle

UNITS_SHOWN, UNITS_AT_THE_TOP = 8, 12
TILE_PIXELS = 192  # of a photograph in the file; the page shows it at half that size
SMALL_WINDOW = 0.4  # of the photograph's height: smaller windows are shown close up as well


@dataclass(frozen=True)
class Photo:
    """One of a unit's strongest images, as data URIs, with whom to credit as plain text.

    ``close_up`` shows the unit's window alone, where that is small.
    """

    uri: str
    close_up: str | None
    row: int
    value: float
    label: str


@dataclass(frozen=True)
class UnitCard:
    """A unit with its strongest photographs; ``filter`` is a data URI, for layer 1 only."""

    position: tuple[int, int]
    unit: int
    filter: str | None
    photos: list[Photo]


@dataclass(frozen=True)
class Gallery:
    """A layer's cards; how selective its median living unit is, and a bell curve would be."""

    layer: int
    cards: list[UnitCard]
    selectivity: float | None
    chance: float


@dataclass(frozen=True)
class Credit:
    """Whom to credit for some photographs of the page."""

    credit: str
    licence: str


def layer_gallery(
    run: Run, commit: Commit, store: BlockStore, layer: int, dataset: xr.Dataset
) -> Gallery:
    """What is shown of a layer (counted from 1)."""
    scores = selectivity(dataset).values
    living = scores[np.isfinite(scores)]
    return Gallery(
        layer=layer,
        cards=unit_cards(run, commit, store, layer, dataset),
        selectivity=float(np.median(living)) if living.size else None,
        chance=chance_selectivity(int(dataset.attrs["images"]), dataset.sizes["rank"]),
    )


def unit_cards(
    run: Run, commit: Commit, store: BlockStore, layer: int, dataset: xr.Dataset
) -> list[UnitCard]:
    """Cards of a layer's most telling units (counted from 1)."""
    geometry = run.geometry.layers[layer - 1]
    top = layer == len(run.geometry.layers)
    units = telling_units(dataset, UNITS_AT_THE_TOP if top else UNITS_SHOWN)
    if not units:
        return []
    rows = np.unique([dataset["image"].values[index] for index in units]).tolist()
    photos = dict(zip(rows, store.read(rows), strict=True))
    labels = dict(zip(rows, photo_labels(store, rows), strict=True))
    cards = []
    for index in units:
        window = None if geometry.dense else unit_window(run.geometry, layer - 1, index[:2])
        shown = _photos(dataset, index, photos, labels, window)
        picture = _filter_uri(run, commit, index) if layer == 1 and not geometry.dense else None
        cards.append(UnitCard(index[:2], index[2], picture, shown))
    return cards


def shown_rows(cards: Sequence[UnitCard]) -> list[int]:
    """The rows of all photographs on some cards, each once."""
    return sorted({photo.row for card in cards for photo in card.photos})


def photo_credits(store: BlockStore, rows: Sequence[int]) -> list[Credit]:
    """Whom to credit for these rows, each only once, in alphabetical order."""
    pairs = zip(_texts(store.credits, rows), _texts(store.licences, rows), strict=True)
    return [Credit(*pair) for pair in sorted({pair for pair in pairs if pair[0]})]


def photo_labels(store: BlockStore, rows: Sequence[int]) -> list[str]:
    """What to say of each photograph: its id, its credit and its licence, as plain text."""
    texts = (_texts(read, rows) for read in (store.ids, store.credits, store.licences))
    return [", ".join(part for part in parts if part) for parts in zip(*texts, strict=True)]


def _texts(read: Callable[[Sequence[int]], list[str]], rows: Sequence[int]) -> list[str]:
    """Texts of some rows; empty ones from a store that holds none."""
    try:
        return read(rows)
    except StoreError:
        return [""] * len(rows)


def _photos(
    dataset: xr.Dataset,
    index: tuple[int, int, int],
    photos: dict[int, Any],
    labels: dict[int, str],
    window: Rectangle | None,
) -> list[Photo]:
    rows, values = dataset["image"].values[index], dataset["value"].values[index]
    shown = []
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        tile = data_uri(photo_tile(photos[row], TILE_PIXELS, window), photo=True)
        shown.append(Photo(tile, _close_up(photos[row], window), row, value, labels[row]))
    return shown


def _close_up(photo: Any, window: Rectangle | None) -> str | None:
    if window is None or max(window.height, window.width) > SMALL_WINDOW * photo.shape[0]:
        return None
    return data_uri(close_up(photo, TILE_PIXELS // 2, window), photo=True)


def _filter_uri(run: Run, commit: Commit, index: tuple[int, int, int]) -> str:
    filters = trained_filters(run, commit, index[:2])[index[2]][None]
    zoom = max(1, TILE_PIXELS // filters.shape[1] // 2)
    return data_uri(mosaic(filter_pictures(filters), zoom=zoom))
