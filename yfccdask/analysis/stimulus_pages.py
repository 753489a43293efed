"""``stimuli``: every unit's strongest images, as lists and as a gallery of pages.

``RUN/analysis/stimuli/index.html`` leads to the pages; each is one file that loads nothing. The
lists of all units are in ``RUN/analysis/strongest``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client
from markupsafe import Markup

from yfccdask.analysis.edge_share import spread_positions
from yfccdask.analysis.gallery import Look, Unit, UnitCard, photo_credits, shown_rows, unit_cards
from yfccdask.analysis.results import chosen_commit, new_result, read_result, result_folder
from yfccdask.analysis.sections import Section, fragment, other_commit_note
from yfccdask.analysis.strongest_pass import strongest_images
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import StoreError
from yfccdask.training.clusters import ClusterRequest

COMMAND, INDEX = "stimuli", "index.html"
POSITIONS, UNITS_A_PAGE, TILE = 9, 128, 112
LINK = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)


@dataclass(frozen=True)
class Stimuli:
    """What was found and where it is shown.

    ``lists`` are the datasets of `strongest_images`, ``page`` is the gallery's first page,
    ``units`` are those in the gallery, and ``images`` those that were looked at.
    """

    lists: dict[int, xr.Dataset]
    page: Path
    pages: int
    units: int
    images: int


@dataclass(frozen=True)
class _Page:
    """One page of units of one position."""

    layer: int
    position: tuple[int, int]
    units: tuple[Unit, ...]
    number: int  # among the position's pages
    count: int

    @property
    def name(self) -> str:
        y, x = self.position
        return f"layer-{self.layer}-{y}-{x}-{self.number}.html"


def stimuli(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    *,
    k: int = 5,
    layers: Sequence[int] | None = None,
    sample: int | None = None,
    seed: int = 0,
    positions: int = POSITIONS,
    whitened: bool = False,
    photos: bool = True,
    checkpoint: int | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> Stimuli:
    """The k images that excite every unit most, in one pass, and a gallery of them.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
    k : int
        Images per unit.
    layers : sequence of int, optional
        Counted from 1; all that the commit holds where not given.
    sample : int, optional
        Images to look at, rounded up to whole blocks, which ``seed`` chooses. Where not given, the
        first blocks up to 100,000 images.
    seed : int
    positions : int
        Most positions of a layer to show, evenly over its grid, with all their units. The lists
        hold every unit of every position.
    whitened : bool
        Show images as layer 1 sees them.
    photos : bool
        Whether images are shown at all: without, there are only their ids and the responses.
    checkpoint : int, optional
        The number of a commit; the latest where not given.
    client, cluster : optional
        Where to compute, as in `yfccdask.strongest_images`.

    Raises
    ------
    RunError, StoreError
        As `yfccdask.strongest_images`.
    """
    run, store = open_run(run), open_store(store)
    commit = chosen_commit(run, checkpoint)
    blocks = None if sample is None else sampled_blocks(store, sample, seed)
    where: dict[str, Any] = {"client": client, "cluster": cluster, "commit": commit}
    lists = strongest_images(run, store, k=k, layers=layers, blocks=blocks, **where)
    pages = list(_pages(lists, positions))
    look = Look(TILE, whitened, photos)
    shown = sum(len(page.units) for page in pages)
    images = max(int(part.attrs["images"]) for part in lists.values())
    asked = {"k": k, "layers": sorted(lists), "sample": sample, "seed": seed}
    asked |= {"positions": positions, "whitened": whitened, "photos": photos}
    asked |= {"units": shown, "images": images, "pages": len(pages)}
    with new_result(run, COMMAND, commit, store, asked) as draft:
        context = {"run": run.path.resolve().name, "commit": commit.number, "asked": asked}
        context |= {"store": store.path, "layers": _layers(pages)}
        write_text(draft.folder / INDEX, fragment("stimuli_index.html", **context))
        for place, page in enumerate(pages):
            cards = unit_cards(run, commit, store, page.layer, lists[page.layer], page.units, look)
            around = _neighbours(pages, place) | {"page": page, "cards": cards}
            around |= {"credits": _page_credits(store, cards)}
            write_text(draft.folder / page.name, fragment("stimuli_page.html", **context, **around))
    return Stimuli(lists, result_folder(run, COMMAND) / INDEX, len(pages), shown, images)


def sampled_blocks(store: BlockStore, sample: int, seed: int) -> list[int]:
    """Blocks that hold at least ``sample`` images in all, chosen by ``seed``, in order.

    Raises
    ------
    StoreError
        If fewer than one is asked for.
    """
    if sample < 1:
        raise StoreError(f"expected a sample of at least 1 image, found {sample}")
    order = np.random.default_rng([seed, 0x57]).permutation(store.blocks)
    edges = np.cumsum([store.block_images(int(block)) for block in order])
    count = int(np.searchsorted(edges, min(sample, store.images))) + 1
    return sorted(int(block) for block in order[:count])


def section(run: Run, commit: Commit) -> Section | None:
    """Where the whole gallery is, in the report."""
    result = read_result(run, COMMAND)
    if result is None:
        return None
    units, images, pages = (result.parameters[name] for name in ("units", "images", "pages"))
    text = (
        f"The strongest images of {units:,} units, found among {images:,}, are shown on {pages:,} "
        "pages beside this report: open analysis/stimuli/index.html in the run's folder. The lists "
        "of all units are in analysis/strongest, as Zarr."
    )
    note = other_commit_note(result, commit)
    return Section(COMMAND, "The whole gallery", text, Markup(""), note)


def _pages(lists: dict[int, xr.Dataset], positions: int) -> Iterator[_Page]:
    for layer, dataset in lists.items():
        grid, units = (dataset.sizes["grid_y"], dataset.sizes["grid_x"]), dataset.sizes["unit"]
        count = -(-units // UNITS_A_PAGE)
        for position in spread_positions(grid, positions):
            for number in range(count):
                shown = range(units)[number * UNITS_A_PAGE : (number + 1) * UNITS_A_PAGE]
                chosen = tuple((*position, unit) for unit in shown)
                yield _Page(layer, position, chosen, number + 1, count)


def _layers(pages: Sequence[_Page]) -> dict[int, list[_Page]]:
    found: dict[int, list[_Page]] = {}
    for page in pages:
        found.setdefault(page.layer, []).append(page)
    return found


def _neighbours(pages: Sequence[_Page], place: int) -> dict[str, Any]:
    before = pages[place - 1].name if place else None
    return {"before": before, "after": pages[place + 1].name if place + 1 < len(pages) else None}


def _page_credits(store: BlockStore, cards: Sequence[UnitCard]) -> list[dict[str, str]]:
    """Whom to credit on a page, under which licence, and where the photograph was found."""
    found = []
    for item in photo_credits(store, shown_rows(cards)):
        link = LINK.search(item.credit)
        found.append(
            {"credit": item.credit, "licence": item.licence, "link": link.group() if link else ""}
        )
    return found
