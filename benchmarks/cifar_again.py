"""Why a layer helps or doesn't: layers 2 and 3 of the first network, trained again with changes.

Each reads what the layers below leave of every image, as it is, rectified in both signs, or
whitened; beside them stand as many numbers that nobody has trained.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.cifar_data import Split
from benchmarks.cifar_features import collect, normalised_fields, probe_parts, responses
from benchmarks.cifar_probe import flattened
from benchmarks.cifar_upper import Upper, learn, respond, untrained
from yfccdask.analysis.network_pass import Network, open_network, units_of_tiles
from yfccdask.config import Config
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import Diverged
from yfccdask.geometry import Field

Array = Any
FITTED = 10_000  # images that linear maps, and what describes responses, are fitted on
FLOOR = 1.0  # of the whitening of a layer's input, in units of the mean eigenvalue


class Again(NamedTuple):
    """A layer, counted from 1, to train again on what it ``reads``, with some keys changed.

    ``trained`` is False for its random weights.
    """

    layer: int
    reads: str
    trained: bool
    changes: dict[str, Any]

    @property
    def below(self) -> tuple[int, bool]:
        """The seed of the network that it is trained above, and whether that is a random one."""
        return 0, False

    @property
    def name(self) -> str:
        """Whose responses are probed."""
        return f"layer {self.layer}"


def third(reads: str = "signed", trained: bool = True, **changes: Any) -> Again:
    """The third layer, changed."""
    return Again(3, reads, trained, changes)


def second(reads: str = "signed", trained: bool = True, **changes: Any) -> Again:
    """The second layer, changed."""
    return Again(2, reads, trained, changes)


LONGER: dict[str, Any] = {"rate": 0.008, "passes": 18}
SLOWLY: dict[str, Any] = {"rate": 0.0005, "passes": 18}
THIRD = {
    "as it was (rate 0.002, 6 passes)": third(rate=0.002, passes=6),
    "its random weights": third(trained=False),
    "18 passes": third(rate=0.002, passes=18),
    "60 passes": third(rate=0.002, passes=60),
    "rate 0.008": third(rate=0.008, passes=6),
    "rate 0.008, 18 passes": third(**LONGER),
    "rate 0.02, 18 passes": third(rate=0.02, passes=18),
    "512 units": third(rate=0.002, passes=6, units=512),
    "512 units, rate 0.008, 18 passes": third(**LONGER, units=512),
    "lambda 0.03": third(rate=0.002, passes=6, sparsity=0.03),
    "lambda 0": third(rate=0.002, passes=6, sparsity=0.0),
    "rate 0.008, 18 passes, sigma 0.0025": third(**LONGER, input_deviation=0.0025),
    "rate 0.008, 18 passes, sigma 0.01": third(**LONGER, input_deviation=0.01),
    "whitened input, rate 0.02, 18 passes": third("whitened", rate=0.02, passes=18),
    "rectified input, random weights": third("rectified", False),
    "rectified input, rate 0.0005, 18 passes": third("rectified", **SLOWLY),
    "rectified input, rate 0.001": third("rectified", rate=0.001, passes=18),
    "rectified and centred input, rate 0.008, 18 passes": third("centred", **LONGER),
    "rectified input, 128 units, rate 0.0005, 18 passes": third("rectified", **SLOWLY, units=128),
}
SECOND = {
    "as it is (64 units, rate 0.005, 6 passes)": second(),
    "its random weights": second(trained=False),
    "18 passes": second(passes=18),
    "rate 0.02": second(rate=0.02),
    "32 units": second(units=32),
    "128 units": second(units=128),
    "rectified input, rate 0.0025": second("rectified", rate=0.0025),
    "rectified input, rate 0.005": second("rectified"),
    "rectified and centred input, rate 0.005": second("centred"),
    "rectified input, random weights": second("rectified", False),
    "rectified input, rate 0.0025, 32 units": second("rectified", rate=0.0025, units=32),
    "rectified input, 32 units, random weights": second("rectified", False, units=32),
}
AGAIN = {f"layer {v.layer}: {name}": v for part in (SECOND, THIRD) for name, v in part.items()}


def both_signs(field: Array) -> Array:
    """A field (image, y, x, map) as max(f, 0) of all maps, then max(-f, 0).

    >>> both_signs(np.array([[1.0, -2.0]])).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """
    return np.concatenate([np.maximum(field, 0), np.maximum(-field, 0)], axis=-1)


def responses_and_fields(network: Network, block: int) -> list[Any]:
    """Every layer's responses, then every layer's field after its LCN."""
    return [*responses(network, block), *normalised_fields(network, block)]


@dataclass(frozen=True)
class Lower:
    """What the layers of a trained network make of the training and of the test images.

    ``parts`` are `responses_and_fields` of both splits.
    """

    run: Run
    data: tuple[Split, Split]
    parts: tuple[Sequence[Array], Sequence[Array]]

    def responses(self, layer: int) -> list[Array]:
        """A layer's responses (image, response) in both splits; of layer 0 the pixels."""
        if layer == 0:
            return [_evened(s.store.read(range(min(FITTED, s.store.images)))) for s in self.data]
        return [flattened(part[layer - 1]) for part in self.parts]

    def fields(self, layer: int, reads: str) -> list[Array]:
        """The field (image, y, x, map) that a layer reads, in both splits.

        It is "signed" as the layer below leaves it, "whitened", "rectified" in both signs, or
        "centred": rectified, less the mean of all its values.
        """
        count = len(self.run.config.layers)
        signed = [part[count + layer - 2] for part in self.parts]
        if reads in ("rectified", "centred"):
            halves = [both_signs(one) for one in signed]
            return halves if reads == "rectified" else [one - halves[0].mean() for one in halves]
        return _whitened(signed) if reads == "whitened" else signed

    @cached_property
    def principal(self) -> tuple[Array, Array]:
        """Variances (input,), falling, and directions (input, input) of layer 3's input field."""
        return directions(flattened(self.fields(3, "signed")[0]))


def lower_layers(run: Run, data: tuple[Split, Split], *, initial: bool = False) -> Lower:
    """Collect what a trained network, or its random weights, makes of both splits."""
    networks = (open_network(run, split.store, initial=initial) for split in data)
    known, tested = (collect(network, responses_and_fields) for network in networks)
    return Lower(run, data, (known, tested))


class Below:
    """The networks of a folder that layers are trained above, one in memory at a time."""

    def __init__(self, folder: Path, data: tuple[Split, Split]) -> None:
        self._folder, self._data = folder, data
        self._last: tuple[Any, Lower] | None = None

    def run(self, seed: int) -> Run:
        """The network of a seed."""
        return open_run(self._folder / f"run-networks-seed-{seed}")

    def of(self, below: tuple[int, bool]) -> Lower:
        """What the network of a seed, or its random weights, makes of the images."""
        if self._last is None or self._last[0] != below:
            self._last = None  # two at once would take twice the memory
            seed, initial = below
            self._last = below, lower_layers(self.run(seed), self._data, initial=initial)
        return self._last[1]


def _evened(images: Array) -> Array:
    """Images (image, y, x, channel) as values (image, value) of one mean and deviation each."""
    flat = flattened(images).astype(np.float32)
    return (flat - flat.mean(axis=1, keepdims=True)) / (flat.std(axis=1, keepdims=True) + 10)


def directions(values: Array) -> tuple[Array, Array]:
    """Variances (value,), falling, and principal directions (value, direction) of values."""
    found, vectors = np.linalg.eigh(np.cov(values.T.astype(np.float64)))
    return found[::-1], vectors[:, ::-1]


def _whitened(fields: Sequence[Array]) -> list[Array]:
    flat = [flattened(field) for field in fields]
    variances, axes = directions(flat[0])
    gains = 1 / np.sqrt(variances + FLOOR * variances.mean())
    map_, mean = ((axes * gains) @ axes.T).astype(np.float32), flat[0].mean(axis=0)
    return [((one - mean) @ map_).reshape(f.shape) for one, f in zip(flat, fields, strict=True)]


def upper_of(variant: Again, config: Config, field: Array) -> Upper:
    """The layer of a variant, over a field (image, y, x, map)."""
    layers = list(config.layers)
    layers[variant.layer - 1] = layers[variant.layer - 1].model_copy(update=variant.changes)
    changed = config.model_copy(update={"layers": tuple(layers)})
    return Upper(changed, variant.layer - 1, Field(*field.shape[1:]))


def judged_again(variant: Again, lower: Lower) -> dict[str, Any]:
    """Train a layer again and probe it alone; a divergence is a result, too."""
    began, asked = time.monotonic(), dict(variant._asdict())
    fields = lower.fields(variant.layer, variant.reads)
    upper = upper_of(variant, lower.run.config, fields[0])
    asked["weights"] = upper.geometry.weights
    try:
        learned = learn(upper, fields[0]) if variant.trained else untrained(upper, fields[0])
    except Diverged:
        return {**asked, "diverged": True}
    found = [by_unit(upper, respond(upper, learned, field)) for field in fields]
    row = {**asked, **probed(found, lower, variant.name, variant.trained)}
    row["costs"] = [round(cost, 7) for cost in learned.costs]
    if variant.layer == 3:
        row |= closeness(learned.state.weights[0, 0], found[0][:FITTED])
    if variant.layer == 3 and variant.reads == "signed":
        row["principal"] = round(100 * overlap(learned.state.weights[0, 0], lower.principal[1]), 1)
    if variant.layer == 2:
        row["linear"] = round(100 * linear_share(lower.responses(1), found), 1)
    return {**row, "seconds": round(time.monotonic() - began)}


def by_unit(upper: Upper, output: Array) -> Array:
    """An output field (image, y, x, map) as responses (image, response), position by position."""
    return flattened(units_of_tiles(output, upper.geometry.tile))


def probed(found: Sequence[Array], lower: Lower, name: str, trained: bool) -> dict[str, Any]:
    """Test accuracy of responses (image, response) in both splits, and how sparse they are."""
    table = probe_parts([[part] for part in found], *lower.data, [name])
    weights = "trained" if trained else "random"
    return {"probe": {weights: table}, "kurtosis": round(kurtosis(found[0][:FITTED]), 2)}


def kurtosis(values: Array) -> float:
    """The median excess kurtosis of values (image, value): 0 for bell curves, 3 for Laplace's."""
    centred = values - values.mean(axis=0)
    fourth, second_ = (np.mean(centred**power, axis=0, dtype=np.float64) for power in (4, 2))
    return float(np.median(fourth / second_**2 - 3))


def overlap(weights: Array, axes: Array) -> float:
    """How much of the space of weights' rows (unit, input) lies in that of the first axes.

    1 where both are the same; for random rows the share of axes that are taken.
    """
    basis = np.linalg.qr(weights.T.astype(np.float64))[0]
    taken = basis.shape[1]
    return float(np.square(basis.T @ axes[:, :taken]).sum() / taken)


def closeness(weights: Array, found: Array) -> dict[str, float]:
    """Whether units are copies of each other, or dead.

    ``closest`` is the median over units (rows of unit norm) of the largest cosine to another unit,
    ``least`` the smallest deviation of a unit's responses (image, unit) over the median one.
    """
    cosines = np.abs(weights @ weights.T)
    np.fill_diagonal(cosines, 0)
    deviations = found.std(axis=0)
    least = deviations.min() / np.median(deviations)
    closest = np.median(cosines.max(axis=1))
    return {"closest": round(float(closest), 2), "least": round(float(least), 2)}


def projections(lower: Lower) -> dict[str, Any]:
    """Probe as many numbers as layer 3 has units, from its input, without any training."""
    fields = [flattened(field) for field in lower.fields(3, "signed")]
    axes, count = lower.principal[1].astype(np.float32), lower.run.config.layers[2].units
    some = np.random.default_rng(0).permutation(fields[0].shape[1])[:count]
    made = {
        "of its inputs, chosen by chance": [field[:, some] for field in fields],
        "first principal components": [field @ axes[:, :count] for field in fields],
        "next principal components": [field @ axes[:, count : 2 * count] for field in fields],
    }
    return {name: probed(parts, lower, "numbers", False) for name, parts in made.items()}


def layer_facts(lower: Lower) -> dict[str, Any]:
    """How sparse responses are, and how linear in the pixels and in those of layers below."""
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    sparse = {
        f"layer {number}": round(kurtosis(lower.responses(number)[0][:FITTED]), 2)
        for number in (1, 2, 3)
    }
    linear = {
        f"{below} to {above}": round(
            100 * linear_share(lower.responses(below), lower.responses(above)), 1
        )
        for below, above in pairs
    }
    return {"kurtosis": sparse, "linear": linear}


def linear_share(known: Sequence[Array], unknown: Sequence[Array]) -> float:
    """How much of a layer's responses is a linear function of others'.

    Parameters
    ----------
    known, unknown : two arrays (image, response) each
        The others' responses, and the layer's, to images that the linear map is fitted on (the
        first `FITTED`) and to other images.

    Returns
    -------
    float
        The share of the variance over the other images, all responses together.
    """
    lower, upper = (part[0][:FITTED].astype(np.float64) for part in (known, unknown))
    means = lower.mean(axis=0), upper.mean(axis=0)
    lower, upper = lower - means[0], upper - means[1]
    square = lower.T @ lower
    square[np.diag_indices_from(square)] += 1e-6 * square.diagonal().mean()
    linear = np.linalg.solve(square, lower.T @ upper)
    rest = unknown[1][:FITTED] - means[1]
    left = rest - (known[1][:FITTED] - means[0]) @ linear
    return float(1 - left.var(axis=0).sum() / rest.var(axis=0).sum())
