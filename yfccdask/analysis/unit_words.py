"""``tags``: neurons with words. What is over-represented among each unit's strongest images.

For every living unit and every word, Fisher's exact test (one-sided) asks whether the word is on
more of the unit's strongest photographs than as many drawn at random from all those of the pass
would have. All tests of all units, words and layers count: what is kept has a false discovery rate
of at most ``level`` (Benjamini and Hochberg). Several crops of a photograph count once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from distributed import Client

from yfccdask.analysis.results import chosen_commit, new_result
from yfccdask.analysis.store_photos import first_blocks, listed_photos
from yfccdask.analysis.strongest_pass import SAMPLE_IMAGES, strongest_images
from yfccdask.analysis.unit_statistics import UNITS
from yfccdask.analysis.unit_strips import save_strips
from yfccdask.analysis.word_counts import (
    HIT_COLUMNS,
    Counting,
    WordCounts,
    counted_words,
    place_name,
)
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.metadata.engine import MEMORY
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import DataError
from yfccdask.numerics.enrichment import chance_of, discovery_rates, lift
from yfccdask.training.clusters import ClusterRequest

COMMAND, TABLE = "tags", "words.parquet"
STRONGEST = 100  # images per unit
LEVEL = 0.05
LIST_BYTES, VALUE_BYTES = 1 << 28, 12  # lists of all layers are made if they are no larger
UNITS_AT_ONCE = 20_000
UNITS_SHOWN = 12
COLUMNS = (
    *("layer", *UNITS, "kind", "word", "hits", "drawn", "users", "marked", "photos"),
    *("lift", "p", "q"),
)


def tags(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    metadata: str | os.PathLike[str],
    *,
    k: int = STRONGEST,
    layers: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    counting: Counting | None = None,
    level: float = LEVEL,
    photos: bool = True,
    memory: str = MEMORY,
    checkpoint: int | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> pd.DataFrame:
    """The tags, devices, places and years over-represented among units' strongest images.

    Writes ``RUN/analysis/tags/``: the table as Parquet, and pictures for the report.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
        Its images' ids have to be those of the metadata: numbers at Flickr, or file names as
        Flickr or the release's bucket gives them.
    metadata : path
        What `metadata convert` wrote.
    k : int
        Strongest images per unit.
    layers : sequence of int, optional
        Counted from 1; the top one where not given.
    blocks : sequence of int, optional
        Blocks to look at; the first ones up to 100,000 images where not given.
    counting : Counting, optional
        Which words are tested.
    level : float
        The false discovery rate that is allowed.
    photos : bool
        Keep small pictures of the strongest images for the report.
    memory : str
        How much DuckDB may hold.
    checkpoint : int, optional
        A commit's number; the latest where not given.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`.

    Returns
    -------
    DataFrame
        One row per unit and word that was kept, the surest first: ``layer``, ``grid_y``,
        ``grid_x``, ``unit``; ``kind`` and ``word``; ``hits`` of the ``drawn`` photographs have it,
        of ``users`` users; ``marked`` of all ``photos`` have it; ``lift`` (share among the drawn
        over share in all), ``p`` (of the one test) and ``q`` (false discovery rate). ``attrs`` say
        how many tests were made of how many units and words, and of which commit and store.

    Raises
    ------
    RunError, StoreError
        As `strongest_images`.
    DataError
        There is no converted set, or it knows none of the store's photographs.
    """
    run, store = open_run(run), open_store(store)
    if not 0 < level < 1:
        raise DataError(f"expected a false discovery rate between 0 and 1, found {level}")
    commit, counting = chosen_commit(run, checkpoint), counting or Counting()
    wanted = first_blocks(store, SAMPLE_IMAGES) if blocks is None else sorted(set(blocks))
    numbers = [commit.layers] if layers is None else sorted(set(layers))
    how: dict[str, Any] = {
        "k": k,
        "blocks": wanted,
        "commit": commit,
        "client": client,
        "cluster": cluster,
    }
    lists = strongest_images(run, store, layers=_listed(run, commit.layers, numbers, k), **how)
    chosen = {number: lists[number] for number in numbers}
    parameters = {
        "metadata": str(metadata),
        "k": k,
        "layers": numbers,
        "images": sum(map(store.block_images, wanted)),
        "level": level,
        "counting": vars(counting),
    }
    with new_result(run, COMMAND, commit, store, parameters) as draft:
        table = words_of_units(
            chosen, listed_photos(store, wanted), metadata, counting, level, memory
        )
        table.attrs |= {"commit": commit.number, "store_digest": store.digest, "k": k}
        table.to_parquet(draft.folder / TABLE)
        shown = shown_units(table, UNITS_SHOWN)
        save_strips(draft.folder, run, store, shown, chosen, photos)
    return table


def words_of_units(
    lists: dict[int, xr.Dataset],
    photos: pd.DataFrame,
    metadata: str | os.PathLike[str],
    counting: Counting,
    level: float = LEVEL,
    memory: str = MEMORY,
) -> pd.DataFrame:
    """The words of some layers' units out of their strongest images; see `tags`.

    Parameters
    ----------
    lists : dict of int to Dataset
        Per layer, as `strongest_images` gives them.
    photos : DataFrame
        All images of that pass, as `listed_photos` gives them.
    """
    codes, names = pd.factorize(photos["photo"])
    of_row = pd.Series(codes, index=photos["row"].to_numpy())
    with counted_words(metadata, pd.Series(names, dtype=object), counting, memory=memory) as counts:
        units = sum(int(dataset["alive"].sum()) for dataset in lists.values())
        tested = units * counts.words
        parts = [
            _layer_words(number, dataset, of_row, counts, level)
            for number, dataset in lists.items()
        ]
        facts = {"photos": counts.photos, "unknown_photos": len(names) - counts.photos}
        words = counts.words
    table = pd.concat(parts, ignore_index=True)
    table["q"] = discovery_rates(table["p"].to_numpy(), max(tested, len(table)))
    kept = _surest_first(table[table["q"] <= level])
    return _finished(kept, counting, facts, {"units": units, "words": words, "tested": tested})


def shown_units(table: pd.DataFrame, count: int) -> list[tuple[int, int, int, int]]:
    """Units with sure words, (layer, grid_y, grid_x, unit), at most ``count`` a layer.

    Words take turns: of each word the unit that has it most surely, then its second, and so on.
    """
    columns = ["layer", *UNITS]
    best = table.drop_duplicates(columns)
    turn = best.groupby(["layer", "kind", "word"]).cumcount()
    ordered = best.assign(turn=turn).sort_values(["layer", "turn", "q", "p"], kind="stable")
    ordered = ordered.groupby("layer").head(count)
    return [tuple(map(int, row)) for row in ordered[columns].to_numpy()]  # type: ignore[misc]


def _surest_first(table: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that hangs on nothing but themselves: equally sure words come in theirs."""
    rising = ["layer", *UNITS, "kind", "word"]
    ways = [True, True, False, *[True] * len(rising)]
    return table.sort_values(["q", "p", "lift", *rising], ascending=ways)


def _listed(run: Run, trained: int, numbers: list[int], k: int) -> list[int] | None:
    """The layers to ask lists of: all, if they are small, so that the report finds them too."""
    units = sum(layer.positions * layer.units for layer in run.geometry.layers[:trained])
    return None if units * k * VALUE_BYTES <= LIST_BYTES else numbers


def _layer_words(
    number: int, dataset: xr.Dataset, of_row: pd.Series, counts: WordCounts, level: float
) -> pd.DataFrame:
    """One layer's words whose single test is surer than ``level``; no other can be kept."""
    alive = np.flatnonzero(dataset["alive"].transpose(*UNITS).values)
    images = dataset["image"].transpose(*UNITS, "rank").values.reshape(-1, dataset.sizes["rank"])
    shape = tuple(dataset.sizes[name] for name in UNITS)
    parts = [
        _tested(part, counts, level)
        for start in range(0, len(alive), UNITS_AT_ONCE)
        for part in _drawn(alive[start : start + UNITS_AT_ONCE], images, of_row, counts)
    ]
    empty = pd.DataFrame(columns=[*HIT_COLUMNS, "drawn", "p", "lift"])
    found = pd.concat(parts, ignore_index=True) if parts else empty
    place = np.unravel_index(found["unit"].to_numpy(np.int64), shape)
    return found.assign(layer=number, photos=counts.photos, **dict(zip(UNITS, place, strict=True)))


def _drawn(
    units: np.ndarray, images: np.ndarray, of_row: pd.Series, counts: WordCounts
) -> Iterator[pd.DataFrame]:
    """Hits of some units' words, with how many known photographs were drawn."""
    drawn = pd.DataFrame(
        {
            "unit": np.repeat(units, images.shape[1]),
            "photo": of_row.loc[images[units].ravel()].to_numpy(),
        }
    ).drop_duplicates()
    drawn = drawn[counts.known[drawn["photo"]]]
    sizes = drawn.groupby("unit").size()
    for part in counts.hits(drawn):
        yield part.assign(drawn=sizes.loc[part["unit"]].to_numpy())


def _tested(part: pd.DataFrame, counts: WordCounts, level: float) -> pd.DataFrame:
    columns = [part[name].to_numpy() for name in ("hits", "drawn", "marked")]
    chance = chance_of(*columns, counts.photos)
    return part.assign(p=chance, lift=lift(*columns, counts.photos))[chance <= level]


def _finished(
    table: pd.DataFrame, counting: Counting, facts: dict[str, int], tests: dict[str, int]
) -> pd.DataFrame:
    """The table's columns in order, places in words, and what it is of."""
    table = table.assign(
        word=[
            place_name(word, counting.cell) if kind == "place" else word
            for kind, word in zip(table["kind"], table["word"], strict=True)
        ],
    )
    table = table[list(COLUMNS)].reset_index(drop=True)
    table.attrs = {**facts, **tests, "test": "hypergeometric, one-sided; Benjamini-Hochberg"}
    return table
