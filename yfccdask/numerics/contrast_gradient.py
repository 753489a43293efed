"""Local contrast normalisation of whole fields as plain products, and its gradient.

The readable form of `yfccdask.numerics.contrast`: each pass' window is two small matrices, one over
rows and one over columns, whose rows are re-weighted where the border cuts the window. Their
transposes are all that the backward pass needs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from yfccdask.numerics.contrast import ContrastWindow

Array = Any
Span = tuple[int, int]


class Smoothing(NamedTuple):
    """One pass' window over a field: planes (image, y, x) become ``rows @ plane @ columns.T``."""

    rows: Array
    columns: Array

    def __call__(self, planes: Array) -> Array:
        return self.rows @ planes @ self.columns.T

    def transposed(self, planes: Array) -> Array:
        """The gradient by the planes that went in, from the one by what came out."""
        return self.rows.T @ planes @ self.columns


class Passes(NamedTuple):
    """Both passes over a field of one size, and where their centres lie."""

    first: Smoothing
    second: Smoothing
    inner: tuple[slice, slice]
    kept: tuple[slice, slice]  # within inner
    rectified: bool


class Normalised(NamedTuple):
    """A field's normalisation, and what its gradient needs.

    out, v : (image, y, x, map), v over the first pass' centres; out has twice the maps if rectified
    sigma : (image, y, x)
    divisor : (image, y, x), ``max(c, sigma)``
    c : (image,), no less than the floor
    """

    out: Array
    v: Array
    sigma: Array
    divisor: Array
    c: Array


def contrast_passes(window: ContrastWindow, size: tuple[int, int], dtype: Any) -> Passes:
    """The passes of a window over a field of ``size`` (height, width)."""
    (low, high), (left, right) = (_axis_matrices(window, length, dtype) for length in size)
    spans = [window.centres(length) for length in size]
    inner = tuple(slice(*first) for first, _ in spans)
    kept = tuple(slice(second[0] - first[0], second[1] - first[0]) for first, second in spans)
    first, second = Smoothing(low, left), Smoothing(high, right)
    return Passes(first, second, (inner[0], inner[1]), (kept[0], kept[1]), window.rectified)


def _axis_matrices(window: ContrastWindow, length: int, dtype: Any) -> tuple[Array, Array]:
    inner, kept = window.centres(length)
    first = _matrix(window, inner, (0, length))
    return first.astype(dtype), _matrix(window, kept, inner).astype(dtype)


def _matrix(window: ContrastWindow, centres: Span, domain: Span) -> Array:
    """The taps around every centre over the indices of ``domain``, each row adding up to 1."""
    offsets = np.arange(*domain)[None, :] - np.arange(*centres)[:, None] + window.radius
    inside = (offsets >= 0) & (offsets < window.size)
    rows = np.where(inside, window.taps()[np.clip(offsets, 0, window.size - 1)], 0.0)
    return rows / rows.sum(axis=1, keepdims=True)


def normalised(field: Array, passes: Passes, floor: float) -> Normalised:
    """Normalise a whole field (image, y, x, map): ``out = v / max(c, sigma)``.

    ``c`` is the mean of sigma over each image's field, no less than ``floor``.

    References
    ----------
    Jarrett et al. 2009.
    """
    mean = passes.first(field.mean(axis=-1))
    v = field[:, passes.inner[0], passes.inner[1]] - mean[..., None]
    sigma = np.sqrt(np.maximum(passes.second((v * v).mean(axis=-1)), 0))
    c = np.maximum(sigma.mean(axis=(1, 2)), floor).astype(field.dtype)
    divisor = np.maximum(sigma, c[:, None, None])
    out = v[:, passes.kept[0], passes.kept[1]] / divisor[..., None]
    if passes.rectified:
        out = np.concatenate([np.maximum(out, 0), np.maximum(-out, 0)], axis=-1)
    return Normalised(out, v, sigma, divisor, c)


def normalised_gradient(by_out: Array, one: Normalised, passes: Passes, floor: float) -> Array:
    """The gradient by the field (image, y, x, map), from the one by its normalisation.

    Where ``c`` and sigma are the same to the last bit the one through sigma is taken; where a
    rectified field is 0, there is none.
    """
    maps = one.v.shape[-1]
    kept = (slice(None), *passes.kept)
    by_divisor = -(by_out * one.out).sum(axis=-1) / one.divisor
    if passes.rectified:
        by_out = by_out * (one.out > 0)
        by_out = by_out[..., :maps] - by_out[..., maps:]
    own = one.sigma >= one.c[:, None, None]
    mean_of = np.where(own, 0, by_divisor).mean(axis=(1, 2)) * (one.c > floor)
    by_sigma = np.where(own, by_divisor, 0) + mean_of[:, None, None]
    by_square = np.divide(by_sigma, 2 * one.sigma, out=np.zeros_like(by_sigma), where=one.sigma > 0)
    by_v = (2 / maps) * one.v * passes.second.transposed(by_square)[..., None]
    by_v[kept] += by_out / one.divisor[..., None]
    by_mean = passes.first.transposed(-by_v.sum(axis=-1)) / maps
    by_field = np.repeat(by_mean[..., None], maps, axis=-1)
    by_field[:, passes.inner[0], passes.inner[1]] += by_v
    return by_field
