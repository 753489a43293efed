"""Why the second layer adds little: what if it read rectified responses?

Between layers there is only LCN, so a second layer's responses are nearly linear in the pixels
again. Here the first layer's normalised field is written to a block store of its own, as 16-bit
"photographs" with a channel per map, signed or rectified in both signs (twice the channels), and
the second layer is trained on that as a first one, by the same commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cifar_data import Split
from benchmarks.cifar_features import collect, normalised_fields, probe_parts
from benchmarks.cifar_probe import flattened
from yfccdask.analysis.network_pass import open_network
from yfccdask.config import Config, parse_config
from yfccdask.data import BlockStore, open_store, write_store
from yfccdask.data.runs import Run

Array = Any
KINDS = {"signed": "what the second layer reads today", "rectified": "in both signs"}
FITTED = 10_000  # images that the linear map between layers is fitted on
REACH = 8.0  # deviations of the first layer's field that 16 bits hold; the few beyond are cut


def as_pixels(field: Array, kind: str, unit: float) -> Array:
    """A field (image, y, x, map) as uint16: 0 at the bottom of the scale, or in its middle.

    ``unit`` is the field's deviation; "rectified" gives the maps of max(s, 0), then of max(-s, 0).
    """
    scaled = field / np.float32(unit * REACH)
    if kind == "rectified":
        scaled = np.concatenate([np.maximum(scaled, 0), np.maximum(-scaled, 0)], axis=-1)
    else:
        scaled = (scaled + 1) / 2
    return np.rint(np.clip(scaled, 0, 1) * 65535).astype(np.uint16)


def stacked(run: Run, split: Split, kind: str, folder: Path) -> Split:
    """A split as a trained first layer's normalised field, in a store of its own."""
    path = folder / f"{kind}-{Path(split.store.path).name}"
    if path.exists():
        return replace(split, store=open_store(path))
    field = collect(open_network(run, split.store, layers=1), normalised_fields)[0]
    pixels = as_pixels(field, kind, field_deviation(run))
    return replace(split, store=write_store(pixels, path))


def field_deviation(run: Run) -> float:
    """The deviation of the field that a run's second layer reads, as it was measured."""
    return run.config.layers[1].input_deviation / float(run.commit().state["scales"][1])


def second_layer(run: Run, store: BlockStore) -> Config:
    """The run's second layer as the first one over a store of stacked fields.

    The contrast's floor is so high that all images are scaled alike.
    """
    tree = run.config.model_dump(mode="json")
    tree["images"] = {"size": store.size, "channels": store.channels, "dtype": "uint16"}
    tree["preprocessing"] = {"contrast_floor": 1000.0, "whitening": None}
    tree["layers"] = [tree["layers"][1]]
    return parse_config(tree, "the second layer on stacked fields")


def probe_stacked(
    lower: Run, upper: Run, data: tuple[Split, Split], fields: tuple[Split, Split]
) -> dict[str, Any]:
    """Probe the second layer alone and beside the first one, and its random weights."""
    below = [collect(open_network(lower, split.store, layers=1)) for split in data]
    found = {}
    for initial in (False, True):
        above = [collect(open_network(upper, s.store, initial=initial)) for s in fields]
        parts = [[*below[n], *above[n]] for n in (0, 1)]
        table: dict[str, Any] = probe_parts(parts, *data, ["layer 1", "layer 2"])
        table["linear"] = round(100 * linear_share(parts[0], parts[1]), 1)
        found["random" if initial else "trained"] = table
    return found


def linear_share(known: Sequence[Array], unknown: Sequence[Array]) -> float:
    """How much of a second layer's responses is a linear function of the first layer's.

    Parameters
    ----------
    known, unknown : two arrays (image, ...) each
        Both layers' responses to images that the linear map is fitted on, and to others.

    Returns
    -------
    float
        The share of the variance over the other images, all responses together.
    """
    lower, upper = (flattened(part[:FITTED]).astype(np.float64) for part in known)
    means = lower.mean(axis=0), upper.mean(axis=0)
    lower, upper = lower - means[0], upper - means[1]
    square = lower.T @ lower
    square[np.diag_indices_from(square)] += 1e-6 * square.diagonal().mean()
    linear = np.linalg.solve(square, lower.T @ upper)
    rest = flattened(unknown[1]) - means[1]
    left = rest - (flattened(unknown[0]) - means[0]) @ linear
    return float(1 - left.var(axis=0).sum() / rest.var(axis=0).sum())
