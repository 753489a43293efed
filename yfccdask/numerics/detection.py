"""Single units as detectors of labels: a threshold and a side, found on one half of the images.

A unit detects a label if it responds at or above a threshold, or (side -1) below it. Its balanced
accuracy is the mean of the shares of images with the label and without it that it is right about:
0.5 by chance, whatever the label's frequency. The threshold that is best on the first half is
judged on the second.

References
----------
Le et al., "Building high-level features using large scale unsupervised learning", ICML 2012.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

Array = Any
CHOOSING, JUDGING = 0, 1  # halves
BYTES_AT_ONCE = 1 << 24  # of histograms


class Detectors(NamedTuple):
    """Every unit's best detector of every label.

    threshold : (unit, label), the responses' dtype
    side : (unit, label) of int8
        1 if it fires at or above the threshold, -1 if below.
    chosen : (unit, label) of float64
        Balanced accuracy on the half that the threshold was chosen on.
    hits, false_alarms : (unit, label) of int64
        Images of the judging half with the label, and without it, that it fires at.
    """

    threshold: Array
    side: Array
    chosen: Array
    hits: Array
    false_alarms: Array


def label_counts(members: Array, half: Array) -> Array:
    """Images with each label and without it, int64 (half, label, 2)."""
    parts = [members[half == number] for number in (CHOOSING, JUDGING)]
    having = np.array([part.sum(axis=0) for part in parts])
    sizes = np.array([len(part) for part in parts])[:, None]
    return np.stack([having, sizes - having], axis=-1).astype(np.int64)


def balanced_accuracy(hits: Array, false_alarms: Array, counts: Array) -> Array:
    """The mean share of right answers, float64 (unit, label).

    Parameters
    ----------
    hits, false_alarms : int array (unit, label)
    counts : int array (label, 2)
        Images with each label and without it.
    """
    return 0.5 * (hits / counts[:, 0] + 1.0 - false_alarms / counts[:, 1])


def exact_detectors(values: Array, members: Array, half: Array) -> Detectors:
    """Detectors whose thresholds may lie at every response.

    Parameters
    ----------
    values : float array (unit, image)
    members : bool array (image, label)
        Each label must be on at least one image of both halves, and missing on one.
    half : int8 array (image,)
        `CHOOSING` or `JUDGING`.
    """
    members, half = np.ascontiguousarray(members), np.asarray(half, np.int8)
    out = _empty(len(values), members.shape[1], values.dtype)
    counts = label_counts(members, half)
    for unit, row in enumerate(values):
        order = np.argsort(row, kind="stable")
        _scan(row[order], members[order], half[order], counts, unit, *out)
    return out


def binned_detectors(histograms: Array, edges: Array) -> Detectors:
    """Detectors whose thresholds lie at the bins' edges: their counts are exact all the same.

    Parameters
    ----------
    histograms : int array (unit, half, label + 1, bin)
        As `add_to_histograms` fills them.
    edges : float array (unit, bin - 1)
    """
    step = max(1, BYTES_AT_ONCE // histograms[:1].nbytes)  # what is made of them is larger
    parts = [
        _binned_detectors(histograms[start : start + step], edges[start : start + step])
        for start in range(0, len(histograms), step)
    ]
    return Detectors(*(np.concatenate(field) for field in zip(*parts, strict=True)))


def _binned_detectors(histograms: Array, edges: Array) -> Detectors:
    below = np.cumsum(histograms, axis=-1)[..., :-1]  # responses below each edge
    having, all_below = below[:, :, :-1], below[:, :, -1:]
    totals = histograms.sum(axis=-1)[..., None]
    marked, rest = totals[:, :, :-1], totals[:, :, -1:] - totals[:, :, :-1]
    share = 0.5 * (1.0 - having / marked + (all_below - having) / rest)  # right if firing above
    best = np.maximum(share[:, CHOOSING], 1.0 - share[:, CHOOSING])
    at = best.argmax(axis=-1)
    picked = _picker(at)
    side = np.where(picked(share[:, CHOOSING]) >= 0.5, 1, -1).astype(np.int8)
    missed, quiet = picked(having[:, JUDGING]), picked((all_below - having)[:, JUDGING])
    positives, negatives = marked[:, JUDGING, :, 0], rest[:, JUDGING, :, 0]
    return Detectors(
        np.take_along_axis(edges, at, axis=1),
        side,
        picked(best),
        np.where(side > 0, positives - missed, missed),
        np.where(side > 0, negatives - quiet, quiet),
    )


def empty_histograms(units: int, labels: int, bins: int) -> Array:
    """Counts of nothing yet, int32 (unit, half, label + 1, bin); the last label is every image."""
    return np.zeros((units, 2, labels + 1, bins), np.int32)


def add_to_histograms(
    histograms: Array, values: Array, edges: Array, members: Array, half: Array
) -> None:
    """Count some images' responses, in place; in any order, the sums are the same.

    Parameters
    ----------
    histograms : int32 array (unit, half, label + 1, bin)
    values : float array (unit, image)
    edges : float array (unit, bin - 1), ascending
        A response at an edge falls into the bin above it.
    members : bool array (image, label)
    half : int8 array (image,)
    """
    image, label = np.nonzero(members)
    starts = np.searchsorted(image, np.arange(len(members) + 1))
    _count(histograms, values, edges, starts, label, np.asarray(half, np.int8))


def quantile_edges(values: Array, bins: int) -> Array:
    """Edges between ``bins`` bins out of a sample of responses, as dense in the tails as it is.

    Half of them part the sample into equal shares; the others halve the shares left in both tails
    again and again, since rare labels are told apart there.

    Parameters
    ----------
    values : float array (unit, image)
    bins : int

    Returns
    -------
    array (unit, bins - 1) of the same dtype
        Ascending; equal ones where responses are equal.
    """
    even = (bins - 1) // 2
    shares = (np.arange(even) + 1) / (even + 1)
    rest = bins - 1 - even
    tail = 0.5 ** np.linspace(1, np.log2(max(4, values.shape[1])), rest // 2 + 1)[1:]
    levels = np.concatenate([shares, tail, 1 - tail, [0.5] * (rest - 2 * len(tail))])
    edges = np.quantile(values, np.sort(levels), axis=1, method="inverted_cdf")
    return np.ascontiguousarray(edges.T.astype(values.dtype))


def _picker(at: Array) -> Any:
    return lambda array: np.take_along_axis(array, at[..., None], axis=-1)[..., 0]


def _empty(units: int, labels: int, dtype: Any) -> Detectors:
    kinds = (dtype, np.int8, np.float64, np.int64, np.int64)
    return Detectors(*(np.zeros((units, labels), kind) for kind in kinds))


@njit(nogil=True, cache=True)
def _count(histograms, values, edges, starts, labels, half):  # type: ignore[no-untyped-def]
    every = histograms.shape[2] - 1
    for unit in range(values.shape[0]):
        for image in range(values.shape[1]):
            place = np.searchsorted(edges[unit], values[unit, image], side="right")
            part = half[image]
            histograms[unit, part, every, place] += 1
            for k in range(starts[image], starts[image + 1]):
                histograms[unit, part, labels[k], place] += 1


@njit(nogil=True, cache=True)
def _scan(  # type: ignore[no-untyped-def]
    row, members, half, counts, unit, threshold, side, chosen, hits, false_alarms
):
    """All thresholds of one unit: images from the weakest to the strongest."""
    images, labels = members.shape
    below = np.zeros((labels, 2, 2), np.int64)  # label, half, with it or without
    for label in range(labels):
        threshold[unit, label], side[unit, label], chosen[unit, label] = row[0], 1, 0.5
        hits[unit, label], false_alarms[unit, label] = counts[1, label, 0], counts[1, label, 1]
    for i in range(images):
        if i > 0 and row[i] > row[i - 1]:
            for label in range(labels):
                missed = below[label, 0, 0] / counts[0, label, 0]
                quiet = below[label, 0, 1] / counts[0, label, 1]
                share = 0.5 * (1.0 - missed + quiet)
                best = max(share, 1.0 - share)
                if best > chosen[unit, label]:
                    above = share >= 0.5
                    chosen[unit, label], threshold[unit, label] = best, row[i]
                    side[unit, label] = 1 if above else -1
                    with_it, without = below[label, 1, 0], below[label, 1, 1]
                    hits[unit, label] = counts[1, label, 0] - with_it if above else with_it
                    false_alarms[unit, label] = counts[1, label, 1] - without if above else without
        for label in range(labels):
            below[label, half[i], 0 if members[i, label] else 1] += 1
