"""``selectivity``: the best single unit of a layer as a detector of each label.

Unit, threshold and side are chosen on one half of the photographs and judged on the other, so that
taking the best of many units gains nothing by chance. The same is done with the random weights that
training began from: what is no better than these was not learned.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from distributed import Client

from yfccdask.analysis.detector_tally import EXACT_BYTES, Tally
from yfccdask.analysis.labels import Labels, LabelSource, read_labels
from yfccdask.analysis.network_pass import (
    UNITS,
    Network,
    chosen_blocks,
    each_block,
    fetched,
    open_network,
    units_per_image,
)
from yfccdask.analysis.results import Draft, chosen_commit, new_result
from yfccdask.analysis.store_photos import crops_of, drawn_shares
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import DataError, RunError
from yfccdask.numerics.detection import Detectors, balanced_accuracy, label_counts
from yfccdask.numerics.enrichment import chance_of, discovery_rates
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client

COMMAND, TABLE = "selectivity", "labels.parquet"
LEAST, MOST_LABELS = 10, 200  # images with a label in each half; labels
SAVE_SECONDS = 60.0
WEIGHTS = ("trained", "random")
BEST = ("label", "weights", "layer")


def selectivity(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    labels: LabelSource,
    *,
    layers: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    seed: int = 0,
    least: int = LEAST,
    most_labels: int = MOST_LABELS,
    exact_bytes: int = EXACT_BYTES,
    checkpoint: int | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> xr.Dataset:
    """The best single unit as a detector of each label, trained and random weights.

    Writes ``RUN/analysis/selectivity/``: what is returned, and every unit's accuracies.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
    labels : path, "folder" or DataFrame
        As `yfccdask.analysis.labels.read_labels`: id and label; an image may have several.
    layers : sequence of int, optional
        Counted from 1; the top one where not given.
    blocks : sequence of int, optional
        Blocks to look at; all where not given.
    seed : int
        Of the split into halves, by photograph.
    least : int
        Labels on fewer images of a half (or missing on fewer) are left out.
    most_labels : int
        Of more labels the most frequent ones are taken.
    exact_bytes : int
        Up to this size all responses of a layer are held and thresholds are exact; of more,
        histograms are kept.
    checkpoint : int, optional
        A commit's number; the latest where not given.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`.

    Returns
    -------
    Dataset over (label, weights, layer)
        ``accuracy``: balanced accuracy on the judging half, 0.5 by chance; ``chosen_accuracy`` on
        the half that unit, ``threshold`` and ``side`` were chosen on; ``grid_y``, ``grid_x``,
        ``unit``; ``p``: Fisher's exact test on the judging half, one test per label since the unit
        was chosen elsewhere; ``q``: false discovery rate over all labels and layers. Over (label):
        ``images`` with it, and ``positives`` and ``negatives`` in the judging half. ``attrs`` say
        how ids matched, and whether thresholds are exact.

    Raises
    ------
    DataError
        No id of the table is in the store, or no label is on enough images of both halves.
    RunError, StoreError
        If there is no commit, no such layer, or the images are not the configuration's.

    References
    ----------
    Le et al. 2012, section 4; Coates et al. 2013, table 2.
    """
    run, store = open_run(run), open_store(store)
    commit = chosen_commit(run, checkpoint)
    wanted = chosen_blocks(store, None if blocks is None else sorted(set(blocks)))
    numbers = checked_layers(commit, layers)
    found = read_labels(labels, store, wanted)
    half = (drawn_shares(found.images["photo"], seed) >= 0.5).astype(np.int8)
    usable = detectable(found, half, least, most_labels)
    parameters = {
        "labels": found.match["source"],
        "labels_sha256": labels_digest(usable),
        "layers": numbers,
        "blocks": wanted,
        "seed": seed,
        "least": least,
        "exact_bytes": exact_bytes,
    }
    with new_result(run, COMMAND, commit, store, parameters) as draft:
        what = (run, commit, store, usable, half, numbers, wanted, exact_bytes, draft)
        if client is None:
            tallies = with_client(cluster or ClusterRequest(), _passes, *what)
        else:
            tallies = _passes(*what, client=client)
        best = _best_of_all(run, tallies, usable, half, crops_of(store), draft)
        best.attrs |= {"commit": commit.number, "store_digest": store.digest, "seed": seed}
        detector_table(best).to_parquet(draft.folder / TABLE)
    return best


def detector_table(best: xr.Dataset) -> pd.DataFrame:
    """What `selectivity` returns as a table, one row per label, weights and layer."""
    table = best.to_dataframe().reset_index()
    table.attrs = dict(best.attrs)
    return table


def checked_layers(commit: Commit, layers: Sequence[int] | None) -> list[int]:
    """The layers that were asked for in order, the top one where none was.

    Raises
    ------
    RunError
        If the commit has no such layer.
    """
    numbers = [commit.layers] if layers is None else sorted(set(layers))
    if not numbers or not 1 <= numbers[0] <= numbers[-1] <= commit.layers:
        raise RunError(
            f"expected layers from 1 to {commit.layers} in {commit.path}, found {layers}"
        )
    return numbers


def detectable(labels: Labels, half: np.ndarray, least: int, most: int) -> Labels:
    """The labels that are on enough images of both halves, and missing on enough.

    Raises
    ------
    DataError
        If there is none.
    """
    enough = label_counts(labels.members, half).min(axis=(0, 2)) >= max(1, least)
    kept = labels.of([name for name, good in zip(labels.names, enough, strict=True) if good])
    if not kept.names:
        raise DataError(
            f"{labels.match['source']}: expected a label that at least {least} images of each half "
            f"have and at least {least} don't, found none among {len(labels.names)} labels of "
            f"{len(labels.images)} images: label more images, or ask for fewer (--least)"
        )
    return kept.frequent(0, most)


def labels_digest(labels: Labels) -> str:
    """What identifies labels: the SHA-256 of names, rows and who has which."""
    digest = hashlib.sha256("\0".join(labels.names).encode())
    digest.update(labels.rows.tobytes())
    digest.update(np.packbits(labels.members).tobytes())
    return digest.hexdigest()


def _passes(
    run: Run,
    commit: Commit,
    store: BlockStore,
    labels: Labels,
    half: np.ndarray,
    layers: list[int],
    blocks: list[int],
    exact_bytes: int,
    draft: Draft,
    client: Client,
) -> dict[tuple[str, int], Tally]:
    """One pass with the trained weights, and one with the random ones."""
    draft.work.mkdir(exist_ok=True)
    tallies = {}
    for weights in WEIGHTS:
        options: dict[str, Any] = {"commit": commit, "initial": weights == "random"}
        network = open_network(run, store, layers=layers[-1], client=client, **options)
        own = {
            number: Tally(
                units_per_image(run.geometry.layers[number - 1]), labels.members, half, exact_bytes
            )
            for number in layers
        }
        _pass(client, network, own, labels.rows, blocks, draft.work / weights)
        tallies |= {(weights, number): tally for number, tally in own.items()}
    return tallies


def _pass(
    client: Client,
    network: Network,
    tallies: dict[int, Tally],
    rows: np.ndarray,
    blocks: list[int],
    saved: Path,
) -> None:
    """Count all labelled images, from where a killed pass had come to."""
    within = _labelled(network.store, rows, blocks)
    todo = list(within)
    for number, tally in tallies.items():
        tally.load(_file(saved, number))
    start = min(tally.blocks for tally in tallies.values())
    last = time.monotonic()
    build = partial(_responses, network, list(tallies))
    for at, (block, found) in enumerate(each_block(client, build, todo[start:]), start):
        for responses, tally in zip(found, tallies.values(), strict=True):
            if at >= tally.blocks:
                values = fetched(client, responses)
                tally.add(values.reshape(len(values), -1)[within[block]])
        if time.monotonic() - last >= SAVE_SECONDS:
            _save(tallies, saved)
            last = time.monotonic()
    _save(tallies, saved)


def _labelled(store: BlockStore, rows: np.ndarray, blocks: list[int]) -> dict[int, np.ndarray]:
    """Which images of each block, counted within it, are among these rows (ascending)."""
    starts = np.array(blocks) * store.block_size
    edges = np.searchsorted(rows, [*starts, starts[-1] + store.block_size])
    parts = {
        block: rows[slice(*edges[at : at + 2])] - starts[at] for at, block in enumerate(blocks)
    }
    return {block: part for block, part in parts.items() if len(part)}


def _responses(network: Network, layers: list[int], block: int) -> list[da.Array]:
    """The responses of several layers to a block, in the layers' order."""
    found = network.responses(block, layers)
    return [found[number] for number in layers]


def _save(tallies: dict[int, Tally], saved: Path) -> None:
    for number, tally in tallies.items():
        tally.save(_file(saved, number))


def _file(saved: Path, number: int) -> Path:
    return saved.with_name(f"{saved.name}-layer-{number}.npz")


def _best_of_all(
    run: Run,
    tallies: dict[tuple[str, int], Tally],
    labels: Labels,
    half: np.ndarray,
    crops: int,
    draft: Draft,
) -> xr.Dataset:
    """The best units of all passes, and in the draft every unit's accuracies."""
    counts = label_counts(labels.members, half)
    parts: dict[str, list[xr.Dataset]] = {weights: [] for weights in WEIGHTS}
    for (weights, number), tally in tallies.items():
        detectors = tally.detectors()
        layer = run.geometry.layers[number - 1]
        shape = (*layer.grid, layer.units)
        if weights == "trained":
            every = unit_accuracies(detectors, labels.names, counts, shape)
            path = draft.folder / f"layer-{number}.zarr"
            every.to_zarr(path, mode="w", zarr_format=3, consolidated=False)
        best = best_units(detectors, labels.names, counts, shape, crops)
        parts[weights].append(best.expand_dims(weights=np.array([weights], object), layer=[number]))
    merged = xr.concat([xr.concat(each, "layer") for each in parts.values()], "weights")
    dataset = merged.transpose(*BEST).assign(
        images=("label", labels.counts),
        positives=("label", counts[1, :, 0]),
        negatives=("label", counts[1, :, 1]),
    )
    exact = all(tally.exact for tally in tallies.values())
    return _with_rates(dataset).assign_attrs(
        labels=labels.matched_line(),
        thresholds="exact" if exact else "at the edges of histograms' bins",
        long_name="best single units as detectors of labels; 0.5 is chance",
    )


def unit_accuracies(
    detectors: Detectors, names: Sequence[str], counts: np.ndarray, shape: tuple[int, ...]
) -> xr.Dataset:
    """Every unit's balanced accuracies over (grid_y, grid_x, unit, label): ``accuracy`` on the
    judging half, ``chosen_accuracy`` on the other."""
    judged = balanced_accuracy(detectors.hits, detectors.false_alarms, counts[1])
    values = {"accuracy": judged, "chosen_accuracy": detectors.chosen}
    return xr.Dataset(
        {
            name: ((*UNITS, "label"), part.reshape(*shape, -1).astype(np.float32))
            for name, part in values.items()
        },
        coords={"label": np.array(names, object)},
    )


def best_units(
    detectors: Detectors,
    names: Sequence[str],
    counts: np.ndarray,
    shape: tuple[int, ...],
    crops: int = 1,
) -> xr.Dataset:
    """The unit that is best on the choosing half, for every label, and how it is judged.

    ``crops`` of a photograph are no independent images: the test counts them as one.
    """
    unit = detectors.chosen.argmax(axis=0)
    at = (unit, np.arange(len(names)))
    hits, false_alarms = detectors.hits[at], detectors.false_alarms[at]
    fired = [part // crops for part in (hits, hits + false_alarms)]
    chance = chance_of(*fired, counts[1, :, 0] // crops, counts[1].sum(axis=-1) // crops)
    values = {
        "accuracy": balanced_accuracy(hits, false_alarms, counts[1]),
        "chosen_accuracy": detectors.chosen[at],
        "threshold": detectors.threshold[at].astype(np.float64),
        "side": detectors.side[at],
        "hits": hits,
        "false_alarms": false_alarms,
        "p": chance,
        **dict(zip(UNITS, np.unravel_index(unit, shape), strict=True)),
    }
    return xr.Dataset(
        {name: ("label", part) for name, part in values.items()},
        coords={"label": np.array(names, object)},
    )


def _with_rates(dataset: xr.Dataset) -> xr.Dataset:
    """False discovery rates over all labels and layers, for each kind of weights."""
    rates = xr.zeros_like(dataset["p"])
    for weights in WEIGHTS:
        chances = dataset["p"].sel(weights=weights).values
        rates.loc[{"weights": weights}] = discovery_rates(chances.ravel(), chances.size).reshape(
            chances.shape
        )
    return dataset.assign(q=rates)
