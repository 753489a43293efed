"""``probe``: what a classifier can read out of frozen features, beside pixels and random weights.

The network has seen no label. A probe is a simple classifier trained on its responses: the more of
a label's meaning the layers have made plain, the more often it is right. Raw pixels and the same
network with the random weights that training began from are the baselines that count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client, as_completed

from yfccdask.analysis.labels import Labels, LabelSource, read_labels
from yfccdask.analysis.network_pass import chosen_blocks, open_network, units_per_image
from yfccdask.analysis.probing_features import (
    FeatureSet,
    chosen_units,
    extract_pixels,
    extract_responses,
    pixel_features,
)
from yfccdask.analysis.probing_fits import PROBES, TEST, TRAIN, VALIDATE, Fit, check_available
from yfccdask.analysis.results import Draft, chosen_commit, new_result
from yfccdask.analysis.store_photos import drawn_shares
from yfccdask.analysis.unit_detectors import checked_layers, labels_digest
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import DataError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import with_client

COMMAND, TABLE = "probe", "probes.parquet"
TRAIN_SHARE, VALIDATION_SHARE = 0.6, 0.2  # of the photographs; the rest tests
FEATURE_BYTES = 1 << 29
MOST_UNITS = 8192  # of a layer
LEAST = 10  # images of a class
WEIGHTS = {"layer": False, "random": True}  # a feature set's name: whether weights are initial
Job = tuple[FeatureSet, str]


@dataclass(frozen=True)
class Exam:
    """What all probes are asked: the images (rows ascending), their classes and their part.

    ``said`` are sentences about what was left out.
    """

    labels: Labels
    classes: np.ndarray
    split: np.ndarray
    said: tuple[str, ...]

    @property
    def rows(self) -> np.ndarray:
        return self.labels.rows


def probe(
    run: Run | str | Path,
    store: BlockStore | str | Path,
    labels: LabelSource,
    *,
    layers: Sequence[int] | None = None,
    blocks: Sequence[int] | None = None,
    baselines: bool = True,
    seed: int = 0,
    feature_bytes: int = FEATURE_BYTES,
    most_units: int = MOST_UNITS,
    checkpoint: int | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
) -> xr.Dataset:
    """Linear and nearest-neighbour probes of every layer, of all together, and of two baselines.

    Features are the responses of every position's units, rectified in both signs and not pooled.
    Writes ``RUN/analysis/probe/``.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path
    labels : path, "folder" or DataFrame
        As `yfccdask.analysis.labels.read_labels`; images with exactly one label are used.
    layers : sequence of int, optional
        Counted from 1; all that the commit holds where not given.
    blocks : sequence of int, optional
        Blocks to look at; all where not given.
    baselines : bool
        Probe raw pixels and the random weights that training began from, too.
    seed : int
        Of the split (by photograph: 60 % train, 20 % validate, 20 % test) and of what is drawn.
    feature_bytes : int
        What the largest set of features may take; of more images as many as fit are drawn. A fit
        takes some three times as much of a worker's memory.
    most_units : int
        Of a layer with more units so many are drawn; pixels are averaged to twice as many.
    checkpoint : int, optional
        A commit's number; the latest where not given.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`. The run's folder must be visible
        to the workers, as it is for training.

    Returns
    -------
    Dataset over (features, probe)
        ``accuracy`` on the test images; ``error``, its standard error, counting photographs;
        ``validation`` accuracy; ``chosen``, the linear probe's C or the number of neighbours. Over
        (features): ``width``, the number of features. ``attrs``: how many images trained,
        validated and tested, the accuracy of always saying the most frequent class (``chance``),
        how ids matched, and what was left out (``said``).

    Raises
    ------
    DataError
        scikit-learn is not installed, no id of the table is in the store, or there are not two
        classes with enough images.
    RunError, StoreError
        If there is no commit, no such layer, or the images are not the configuration's.

    References
    ----------
    Coates, Lee and Ng 2011, for rectifying in both signs.
    """
    check_available()
    run, store = open_run(run), open_store(store)
    commit = chosen_commit(run, checkpoint)
    wanted = chosen_blocks(store, None if blocks is None else sorted(set(blocks)))
    numbers = checked_layers(commit, range(1, commit.layers + 1) if layers is None else layers)
    found = read_labels(labels, store, wanted)
    units = {
        number: chosen_units(
            units_per_image(run.geometry.layers[number - 1]), most_units, seed + number
        )
        for number in numbers
    }
    widest = max(2 * sum(map(len, units.values())), pixel_features(store, 2 * most_units))
    exam = exam_of(found, seed, feature_bytes // (4 * widest))
    parameters = {
        "labels": found.match["source"],
        "labels_sha256": labels_digest(exam.labels),
        "layers": numbers,
        "baselines": baselines,
        "seed": seed,
        "feature_bytes": feature_bytes,
        "most_units": most_units,
    }
    with new_result(run, COMMAND, commit, store, parameters) as draft:
        pixels = 2 * most_units if baselines else None
        what = (run, commit, store, exam, units, pixels, draft)
        if client is None:
            sets, fits = with_client(cluster or ClusterRequest(), _probed, *what)
        else:
            sets, fits = _probed(*what, client=client)
        drawn = _drawn_units(run, units)
        dataset = probe_dataset(sets, fits, exam, (*exam.said, *drawn))
        dataset.attrs |= {"commit": commit.number, "store_digest": store.digest, "seed": seed}
        table = dataset.to_dataframe().reset_index()
        table.attrs = dict(dataset.attrs)
        table.to_parquet(draft.folder / TABLE)
    return dataset


def exam_of(labels: Labels, seed: int, most_images: int) -> Exam:
    """Which images are asked about, and which part each has.

    Raises
    ------
    DataError
        If there are not two classes with enough images.
    """
    said = []
    single = labels.single()
    if others := len(labels.images) - len(single.images):
        said.append(f"{others:,} images with several labels or none were left out.")
    single = _drawn(single, seed, most_images)
    if len(single.images) < len(labels.images) - others:
        total = len(labels.images) - others
        said.append(f"{len(single.images):,} of {total:,} images were drawn: more don't fit.")
    share = drawn_shares(single.images["photo"], seed)
    split = np.select(
        [share < TRAIN_SHARE, share < TRAIN_SHARE + VALIDATION_SHARE], [TRAIN, VALIDATE], TEST
    )
    good = _usable_classes(single, split)
    if left := [name for name, use in zip(single.names, good, strict=True) if not use]:
        said.append(f"{len(left):,} classes of too few images were left out.")
    if good.sum() < 2:
        raise DataError(
            f"{labels.match['source']}: expected at least two classes of {LEAST} images each, in "
            f"all of the three parts (train, validate, test), found {int(good.sum())}: label more "
            "images"
        )
    kept = single.of([name for name, use in zip(single.names, good, strict=True) if use])
    inside = kept.members.any(axis=1)
    images = kept.images[inside].reset_index(drop=True)
    kept = Labels(kept.names, images, kept.members[inside], kept.match)
    return Exam(kept, kept.members.argmax(axis=1), split[inside], tuple(said))


def probe_dataset(
    sets: Sequence[FeatureSet], fits: dict[tuple[str, str], Fit], exam: Exam, said: Sequence[str]
) -> xr.Dataset:
    """The fits of all features and probes as `probe` returns them."""
    test = exam.split == TEST
    photos = exam.labels.images["photo"][test].nunique()
    names = [each.name for each in sets]
    values = {
        field: (
            ("features", "probe"),
            np.array([[getattr(fits[name, kind], field) for kind in PROBES] for name in names]),
        )
        for field in Fit._fields
    }
    dataset = xr.Dataset(
        {**values, "width": ("features", [each.width for each in sets])},
        coords={"features": np.array(names, object), "probe": np.array(list(PROBES), object)},
    )
    accuracy = dataset["accuracy"]
    counts = np.bincount(exam.classes[test])
    return dataset.assign(error=np.sqrt(accuracy * (1 - accuracy) / photos)).assign_attrs(
        long_name="share of right answers on test images",
        classes=len(exam.labels.names),
        images=len(exam.classes),
        trained_on=int((exam.split == TRAIN).sum()),
        validated_on=int((exam.split == VALIDATE).sum()),
        tested_on=int(test.sum()),
        tested_photographs=int(photos),
        chance=float(counts.max() / counts.sum()),
        labels=exam.labels.matched_line(),
        said=list(said),
    )


def _drawn(labels: Labels, seed: int, most: int) -> Labels:
    """At most so many images: those of the photographs that come first in a seeded order."""
    if len(labels.images) <= most:
        return labels
    order = np.argsort(drawn_shares(labels.images["photo"], seed + 1), kind="stable")
    keep = np.sort(order[:most])
    images = labels.images.iloc[keep].reset_index(drop=True)
    return Labels(labels.names, images, labels.members[keep], labels.match)


def _usable_classes(labels: Labels, split: np.ndarray) -> np.ndarray:
    """Which classes have enough images, and some in every part, bool (label,)."""
    parts = [labels.members[split == part].any(axis=0) for part in (TRAIN, VALIDATE, TEST)]
    return np.all(parts, axis=0) & (labels.counts >= LEAST)


def _drawn_units(run: Run, units: dict[int, np.ndarray]) -> list[str]:
    totals = {number: units_per_image(run.geometry.layers[number - 1]) for number in units}
    return [
        f"{len(units[number]):,} of layer {number}'s {total:,} units were drawn."
        for number, total in totals.items()
        if len(units[number]) < total
    ]


def _probed(
    run: Run,
    commit: Commit,
    store: BlockStore,
    exam: Exam,
    units: dict[int, np.ndarray],
    pixels: int | None,
    draft: Draft,
    client: Client,
) -> tuple[list[FeatureSet], dict[tuple[str, str], Fit]]:
    """Extract features and fit all probes to them, going on from what is there.

    ``pixels`` is how many of these there may be; None for no baselines.
    """
    draft.work.mkdir(exist_ok=True)
    sets = []
    if pixels is not None:
        path = draft.work / "pixels.npy"
        factor = extract_pixels(store, exam.rows, path, pixels)
        name = "pixels" if factor == 1 else f"pixels, averaged over {factor} x {factor}"
        sets.append(FeatureSet(name, (path,), False, pixel_features(store, pixels)))
    for name, initial in WEIGHTS.items():
        if initial and pixels is None:
            continue
        options: dict[str, Any] = {"commit": commit, "initial": initial, "client": client}
        network = open_network(run, store, layers=max(units), **options)
        files = extract_responses(client, network, exam.rows, units, draft.work, name)
        sets += _layer_sets(name, files, units)
    return sets, dict(_fitted(client, sets, exam, draft.work / "fits"))


def _layer_sets(
    name: str, files: dict[int, Path], units: dict[int, np.ndarray]
) -> list[FeatureSet]:
    """Every layer's features, and all layers' together."""
    sets = [
        FeatureSet(f"{name} {number}", (path,), True, 2 * len(units[number]))
        for number, path in files.items()
    ]
    if len(files) > 1:
        every = f"{name} {' + '.join(map(str, files))}"
        width = sum(each.width for each in sets)
        sets.append(FeatureSet(every, tuple(files.values()), True, width))
    return sets


def _fitted(
    client: Client, sets: Sequence[FeatureSet], exam: Exam, folder: Path
) -> Iterator[tuple[tuple[str, str], Fit]]:
    """Fit on the cluster, one probe per worker at a time; what was fitted before is read."""
    folder.mkdir(exist_ok=True)
    jobs = [(each, kind) for each in sets for kind in PROBES]
    todo = []
    for number, (each, kind) in enumerate(jobs):
        path = folder / f"{number}.json"
        if path.exists():
            yield (each.name, kind), Fit(*json.loads(path.read_text(encoding="utf-8")))
        else:
            todo.append((path, each, kind))
    waiting = iter(todo)
    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    named = {_submitted(client, exam, *job): job for job in islice(waiting, workers)}
    under_way = as_completed(named, loop=client.loop)
    for future in under_way:
        path, each, kind = named.pop(future)
        fit = Fit(*future.result())
        write_text(path, json.dumps(list(fit)))
        yield (each.name, kind), fit
        for job in islice(waiting, 1):
            new = _submitted(client, exam, *job)
            named[new] = job
            under_way.add(new)


def _submitted(client: Client, exam: Exam, path: Path, features: FeatureSet, kind: str) -> Any:
    return client.submit(fit_features, features, kind, exam.classes, exam.split, pure=False)


def fit_features(
    features: FeatureSet, kind: str, classes: np.ndarray, split: np.ndarray
) -> tuple[float, ...]:
    """Task: load a set of features and fit one probe to it; the fields of `Fit`."""
    return tuple(PROBES[kind](features.load(split), classes, split))
