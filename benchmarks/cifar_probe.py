"""A linear probe of frozen features: exact ridge regression on labels, in one pass over images.

The classifier is scikit-learn's `RidgeClassifier` with one target per label; only sums over images
are kept, so that any number of images and several strengths of regularisation cost one pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve

Array = Any
STRENGTHS = tuple(10.0**power for power in (-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5))
BATCH, SAMPLE = 2000, 8000  # images whose features are made at once; that scale features


def rectified(responses: Array) -> Array:
    """Features (image, 2 * response): ``max(s, 0)`` and ``max(-s, 0)`` of responses (image, ...).

    Nothing is pooled: filters that share no weights differ from place to place.

    >>> rectified(np.array([[1.0, -2.0]])).tolist()
    [[1.0, 0.0, 0.0, 2.0]]
    """
    flat = responses.reshape(len(responses), -1)
    return np.concatenate([np.maximum(flat, 0), np.maximum(-flat, 0)], axis=1)


def features_of(parts: Sequence[Array], rows: slice, rectify: bool) -> Array:
    """All layers' features (image, feature) of some images."""
    make = rectified if rectify else flattened
    return np.concatenate([make(part[rows]) for part in parts], axis=1)


def flattened(values: Array) -> Array:
    """Values (image, ...) as they are, (image, value)."""
    return values.reshape(len(values), -1)


@dataclass(frozen=True)
class Scaling:
    """Brings features to zero mean, and every group (a layer) to a mean variance of 1.

    ``mean`` and ``deviation`` are (feature,), the latter the same within a group.
    """

    mean: Array
    deviation: Array

    def __call__(self, features: Array) -> Array:
        return (features - self.mean) / self.deviation


def scaling_of(features: Array, groups: Sequence[slice]) -> Scaling:
    """The scaling that features (image, feature) of some images ask for."""
    mean = features.mean(axis=0, dtype=np.float64)
    variance = np.square(features - mean.astype(features.dtype)).mean(axis=0, dtype=np.float64)
    deviation = np.empty_like(mean)
    for group in groups:
        deviation[group] = np.sqrt(variance[group].mean()) or 1.0
    return Scaling(mean.astype(features.dtype), deviation.astype(features.dtype))


@dataclass
class Sums:
    """What ridge regression needs to know of images: float64 sums over them.

    Attributes
    ----------
    images : int
    features : array (feature,)
    products : array (feature, feature)
    targets : array (feature, label)
        Sums of the features of each label's images.
    counts : array (label,)
    """

    images: int
    features: Array
    products: Array
    targets: Array
    counts: Array

    def add(self, features: Array, labels: Array) -> None:
        """Add some images' features (image, feature) and labels (image,)."""
        one_hot = np.eye(len(self.counts), dtype=features.dtype)[labels]
        self.images += len(features)
        self.features += features.sum(axis=0, dtype=np.float64)
        self.products += features.T @ features
        self.targets += features.T @ one_hot
        self.counts += one_hot.sum(axis=0)


def no_images(features: int, labels: int) -> Sums:
    """Sums over no image yet."""
    empty = np.zeros((features, labels))
    square = np.zeros((features, features))
    return Sums(0, np.zeros(features), square, empty, np.zeros(labels))


@dataclass(frozen=True)
class Classifier:
    """Scores of labels are ``features @ weights + offset``; the highest wins."""

    weights: Array
    offset: Array

    def predict(self, features: Array) -> Array:
        """The labels of features (image, feature), int64 (image,)."""
        return (features @ self.weights + self.offset).argmax(axis=1)


def fit(sums: Sums, strength: float, columns: Array) -> Classifier:
    """The ridge classifier on some of the features, for a strength per image.

    Targets are 1 for an image's label and -1 for the others, the offset is not penalised: the
    same as `sklearn.linear_model.RidgeClassifier` with ``alpha = strength * images``.
    """
    mean, share = sums.features[columns] / sums.images, 2 * sums.counts / sums.images - 1
    square = sums.products[np.ix_(columns, columns)]
    square -= sums.images * np.outer(mean, mean)
    square[np.diag_indices_from(square)] += strength * sums.images
    targets = 2 * sums.targets[columns] - sums.features[columns, None]  # sum x y, y = +1 or -1
    targets -= sums.images * np.outer(mean, share)
    factor = cho_factor(square, lower=True, overwrite_a=True, check_finite=False)
    weights = cho_solve(factor, targets, check_finite=False)
    return Classifier(weights.astype(np.float32), (share - mean @ weights).astype(np.float32))


@dataclass(frozen=True)
class Features:
    """Scaled features of all images, made a batch at a time.

    ``parts`` are each layer's responses (image, ...), ``scaling`` is of the images fitted on.
    """

    parts: Sequence[Array]
    scaling: Scaling
    rectify: bool = True

    def of(self, rows: slice) -> Array:
        """Features (image, feature) of some images."""
        return self.scaling(features_of(self.parts, rows, self.rectify))

    def batches(self, start: int, stop: int) -> Iterable[slice]:
        """The images from ``start`` to ``stop``, a batch at a time."""
        return (slice(at, min(at + BATCH, stop)) for at in range(start, stop, BATCH))


def groups_of(parts: Sequence[Array], rectify: bool) -> list[slice]:
    """Which features come of which layer's responses (image, ...)."""
    sizes = [(2 if rectify else 1) * part[0].size for part in parts]
    edges = np.cumsum([0, *sizes])
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


@dataclass(frozen=True)
class Score:
    """How a probe did: shares of right labels, and the strength that validation chose."""

    test: float
    validation: float
    strength: float
    features: int


def probe(
    trained: Sequence[Array],
    labels: Array,
    tested: Sequence[Array],
    answers: Array,
    *,
    validation: int,
    names: Sequence[str],
    rectify: bool = True,
) -> dict[str, Score]:
    """Probe every layer alone, and all together as "all" where there are several.

    Parameters
    ----------
    trained, tested : sequences of arrays (image, ...)
        Every layer's responses to the labelled images and to the test images.
    labels, answers : int64 arrays (image,)
    validation : int
        Labelled images, the last ones, that choose the strength; the classifier that is tested is
        fitted again on all of them.
    names : sequence of str
        One per layer.
    rectify : bool
        Whether features are responses rectified in both signs, or the values themselves.

    Returns
    -------
    dict of str to Score
    """
    groups, kept = groups_of(trained, rectify), len(labels) - validation
    sample = features_of(trained, slice(0, min(kept, SAMPLE)), rectify)
    scaling = scaling_of(sample, groups)
    known, unknown = Features(trained, scaling, rectify), Features(tested, scaling, rectify)
    chosen = {name: np.arange(g.start, g.stop) for name, g in zip(names, groups, strict=True)}
    if len(groups) > 1:
        chosen["all"] = np.arange(groups[-1].stop)
    sums = no_images(groups[-1].stop, int(labels.max()) + 1)
    sums = _added(sums, known, labels, 0, kept)
    best = {name: _best(sums, known, labels, kept, columns) for name, columns in chosen.items()}
    sums = _added(sums, known, labels, kept, len(labels))
    return {
        name: _tested(sums, unknown, answers, columns, best[name])
        for name, columns in chosen.items()
    }


def _tested(
    sums: Sums, features: Features, answers: Array, columns: Array, best: tuple[float, float]
) -> Score:
    right, strength = best
    classifier = fit(sums, strength, columns)
    test = _accuracy(classifier, features, answers, 0, columns)
    return Score(test, right, strength, len(columns))


def _added(sums: Sums, features: Features, labels: Array, start: int, stop: int) -> Sums:
    for rows in features.batches(start, stop):
        sums.add(features.of(rows), labels[rows])
    return sums


def _best(
    sums: Sums, features: Features, labels: Array, start: int, columns: Array
) -> tuple[float, float]:
    """The validation accuracy and the strength that reaches it, the larger strength of equals.

    From strong to weak; it stops where two weaker ones in turn are worse.
    """
    best, worse = (-1.0, STRENGTHS[-1]), 0
    for strength in reversed(STRENGTHS):
        right = _accuracy(fit(sums, strength, columns), features, labels, start, columns)
        worse = 0 if right > best[0] else worse + 1
        best = max(best, (right, strength), key=lambda found: found[0])
        if worse == 2:
            break
    return best


def _accuracy(
    classifier: Classifier, features: Features, labels: Array, start: int, columns: Array
) -> float:
    """The share of right labels among the images from ``start`` on."""
    right = 0
    for rows in features.batches(start, len(labels)):
        right += int((classifier.predict(features.of(rows)[:, columns]) == labels[rows]).sum())
    return right / (len(labels) - start)
