"""Linear and nearest-neighbour probes of features, with scikit-learn (extra `probe`).

Features are standardised by the training images. How strongly the linear probe is regularised, and
how many neighbours are asked, is chosen on the validation images; with that, the probe is fitted
to both and judged on the test images, which were looked at for nothing else.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from yfccdask.errors import DataError

try:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestNeighbors
except ImportError:  # the extra `probe` is not installed
    LogisticRegression = None

TRAIN, VALIDATE, TEST = 0, 1, 2
STRENGTHS = tuple(10.0**power for power in range(-6, 3))  # C, from strong to weak
NEIGHBOURS = (1, 3, 10, 30)
PATIENCE = 2  # weaker regularisations that may be no better before the search ends
ITERATIONS = 300


class Fit(NamedTuple):
    """How a probe did on the test images.

    accuracy, validation : float
        Shares of right answers on the test images, and on the validation images when chosen.
    chosen : float
        The linear probe's C, or the number of neighbours.
    """

    accuracy: float
    validation: float
    chosen: float


def check_available() -> None:
    """Raise a DataError if scikit-learn isn't there."""
    if LogisticRegression is None:
        raise DataError(
            "expected the package scikit-learn for probes, found none: "
            "pip install 'yfccdask[probe]'"
        )


def rectified(values: np.ndarray) -> np.ndarray:
    """Both signs as features of their own: max(s, 0) and max(-s, 0), (image, 2 * unit).

    >>> rectified(np.array([[1.0, -2.0]])).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """
    return np.concatenate([np.maximum(values, 0), np.maximum(-values, 0)], axis=1)


def standardise(features: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Features (image, feature) at mean 0 and deviation 1 on the training images, in place.

    Features that don't vary there become 0.
    """
    mean = features[train].mean(axis=0, dtype=np.float64)
    deviation = features[train].std(axis=0, dtype=np.float64)
    features -= mean.astype(features.dtype)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    features *= scale.astype(features.dtype)
    return features


def linear_probe(features: np.ndarray, classes: np.ndarray, split: np.ndarray) -> Fit:
    """A multinomial logistic regression.

    Parameters
    ----------
    features : float array (image, feature)
        Standardised.
    classes : int array (image,)
    split : int array (image,)
        `TRAIN`, `VALIDATE` or `TEST`.
    """
    train, judged = split == TRAIN, split == VALIDATE
    guess = np.bincount(classes[judged]).max() / judged.sum()  # by the most frequent class alone
    model, best, worse = _logistic(STRENGTHS[0]), (-1.0, 0.0), 0
    for strength in STRENGTHS:
        model.C = strength
        _fit(model, features[train], classes[train])
        share = float((model.predict(features[judged]) == classes[judged]).mean())
        best, worse = ((share, strength), 0) if share > best[0] else (best, worse + 1)
        if worse >= PATIENCE and best[0] > guess:
            break
    known = split != TEST
    final = _fit(_logistic(best[1]), features[known], classes[known])
    right = final.predict(features[split == TEST]) == classes[split == TEST]
    return Fit(float(right.mean()), *best)


def neighbour_probe(features: np.ndarray, classes: np.ndarray, split: np.ndarray) -> Fit:
    """The most frequent class among the nearest images, by the cosine of their features.

    Parameters as for `linear_probe`. Of equally frequent classes the nearest image's wins.
    """
    train, known = split == TRAIN, split != TEST
    counts = [number for number in NEIGHBOURS if number <= train.sum()]
    near = _nearest(features[train], features[split == VALIDATE], counts[-1])
    shares = [
        float((votes(classes[train][near[:, :k]]) == classes[split == VALIDATE]).mean())
        for k in counts
    ]
    best = int(np.argmax(shares))
    near = _nearest(features[known], features[split == TEST], counts[best])
    right = votes(classes[known][near]) == classes[split == TEST]
    return Fit(float(right.mean()), shares[best], float(counts[best]))


def votes(classes: np.ndarray) -> np.ndarray:
    """The most frequent class of every row (image, neighbour), nearest first; ties to the nearer.

    >>> votes(np.array([[2, 1, 1], [3, 0, 1]])).tolist()
    [1, 3]
    """
    counts = (classes[:, :, None] == classes[:, None, :]).sum(axis=2)
    return np.take_along_axis(classes, counts.argmax(axis=1)[:, None], axis=1)[:, 0]


PROBES = {"linear": linear_probe, "neighbours": neighbour_probe}


def _logistic(strength: float) -> Any:
    return LogisticRegression(C=strength, max_iter=ITERATIONS, tol=1e-3, warm_start=True)


def _fit(model: Any, features: np.ndarray, classes: np.ndarray) -> Any:
    """Fit; after so many iterations a weakly regularised model is near enough to its optimum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(features, classes)


def _nearest(among: np.ndarray, features: np.ndarray, count: int) -> np.ndarray:
    search = NearestNeighbors(n_neighbors=count, algorithm="brute", metric="cosine").fit(among)
    return np.asarray(search.kneighbors(features, return_distance=False))
