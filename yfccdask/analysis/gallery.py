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
from yfccdask.analysis.unit_statistics import chance_selectivity, selectivity, telling_units
from yfccdask.data.blocks import BlockStore
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run
from yfccdask.errors import StoreError
from yfccdask.geometry import Rectangle
from yfccdask.numerics.whole_network import WholeNetwork, contrast_of, whitened
from yfccdask.training.inputs import contrast_scale

Unit = tuple[int, int, int]
UNITS_SHOWN, UNITS_AT_THE_TOP = 8, 12
TILE_PIXELS = 192  # of a photograph in the file; the page shows it at half that size
SMALL_WINDOW = 0.4  # of the photograph's height: smaller windows are shown close up as well


@dataclass(frozen=True)
class Look:
    """How images are shown: ``tile`` pixels high, as layer 1 sees them (``whitened``), or not."""

    tile: int = TILE_PIXELS
    whitened: bool = False
    photos: bool = True


@dataclass(frozen=True)
class Photo:
    """One of a unit's strongest images, as data URIs, with whom to credit as plain text.

    ``uri`` is empty where images are not to be shown; ``close_up`` shows the unit's window alone,
    where that is small.
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
    """What is shown of a layer (counted from 1): its most telling units."""
    scores = selectivity(dataset).values
    living = scores[np.isfinite(scores)]
    top = layer == len(run.geometry.layers)
    units = telling_units(dataset, UNITS_AT_THE_TOP if top else UNITS_SHOWN)
    return Gallery(
        layer=layer,
        cards=unit_cards(run, commit, store, layer, dataset, units),
        selectivity=float(np.median(living)) if living.size else None,
        chance=chance_selectivity(int(dataset.attrs["images"]), dataset.sizes["rank"]),
    )


def unit_cards(
    run: Run,
    commit: Commit,
    store: BlockStore,
    layer: int,
    dataset: xr.Dataset,
    units: Sequence[Unit],
    look: Look | None = None,
) -> list[UnitCard]:
    """Cards of some units (grid_y, grid_x, unit) of a layer (counted from 1)."""
    if not units:
        return []
    geometry, look = run.geometry.layers[layer - 1], look or Look()
    rows = np.unique([dataset["image"].values[index] for index in units]).tolist()
    shown = dict.fromkeys(rows)
    if look.photos:
        pixels = store.read(rows)
        shown = dict(
            zip(rows, whitened_photos(run, pixels) if look.whitened else pixels, strict=True)
        )
    labels = dict(zip(rows, photo_labels(store, rows), strict=True))
    has_filters = layer == 1 and not geometry.dense
    filters = _filter_uris(run, commit, units) if has_filters else {}
    cards = []
    for index in units:
        window = None if geometry.dense else unit_window(run.geometry, layer - 1, index[:2])
        photos = _photos(dataset, index, shown, labels, window, look.tile)
        cards.append(UnitCard(index[:2], index[2], filters.get(index), photos))
    return cards


def whitened_photos(run: Run, images: Any) -> Any:
    """Photographs (image, y, x, channel) as layer 1 sees them, uint8; mid grey is 0."""
    scale = contrast_scale(run.config)
    front = WholeNetwork(scale.floor, scale.full, run.whitening(), ())
    return filter_pictures(whitened(front, contrast_of(front, images)))


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
    index: Unit,
    shown: dict[int, Any],
    labels: dict[int, str],
    window: Rectangle | None,
    side: int,
) -> list[Photo]:
    rows, values = dataset["image"].values[index], dataset["value"].values[index]
    photos = []
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        image, tile, close = shown[row], "", None
        if image is not None:
            tile = data_uri(photo_tile(image, side, window), photo=True)
            close = _close_up(image, window, side)
        photos.append(Photo(tile, close, row, value, labels[row]))
    return photos


def _close_up(photo: Any, window: Rectangle | None, side: int) -> str | None:
    if window is None or max(window.height, window.width) > SMALL_WINDOW * photo.shape[0]:
        return None
    return data_uri(close_up(photo, side // 2, window), photo=True)


def _filter_uris(run: Run, commit: Commit, units: Sequence[Unit]) -> dict[Unit, str]:
    """The filters of first-layer units, each position's read once."""
    found = {}
    for place in dict.fromkeys(unit[:2] for unit in units):
        filters = trained_filters(run, commit, place)
        zoom = max(1, TILE_PIXELS // filters.shape[1] // 2)
        for unit in (unit for unit in units if unit[:2] == place):
            one = filters[unit[2]][None]
            found[unit] = data_uri(mosaic(filter_pictures(one), zoom=zoom))
    return found
