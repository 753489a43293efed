"""The RICA cost of an untied layer, its gradient, and one step of descent."""

from __future__ import annotations

from typing import Any, NamedTuple

from yfccdask.backend import array_module

Array = Any


class Gradient(NamedTuple):
    """The derivatives of the cost, shaped like what they are taken by."""

    weights: Array
    alpha: Array
    offset: Array


def cost_and_gradient(
    weights: Array,
    alpha: Array,
    offset: Array,
    patches: Array,
    *,
    sparsity: float,
    epsilon: float,
) -> tuple[Array, Gradient]:
    """The cost of every position's mini-batch and its gradient, as plain batched products.

    ``z = W x``, ``s = alpha z``, ``r = W^T s + b - x`` and
    ``J = sum r^2 + sparsity * sum sqrt(s^2 + epsilon)``. This is the readable form; training
    uses `yfccdask.numerics.local_visits.train_visit`, which fuses it with the step.

    Parameters
    ----------
    weights : array (position, unit, input)
        Rows of unit norm.
    alpha : scalar or array (position,)
        Scale of the code.
    offset : array (position, input)
    patches : array (position, image, input)
    sparsity : float
        lambda, the weight of the sparsity term.
    epsilon : float
        Smoothing of the absolute value, in units of the code squared.

    Returns
    -------
    cost : array (position,)
        Summed over the mini-batch, not averaged.
    gradient : Gradient
        weights (position, unit, input), alpha (position,), offset (position, input).

    References
    ----------
    Ni et al. 2015 (arXiv 1502.03409), section 3.1; Coates et al. 2013. ``epsilon`` and one alpha
    per position are this project's reading.

    Examples
    --------
    >>> import numpy as np
    >>> weights, patches = np.eye(2)[None], np.ones((1, 3, 2))
    >>> cost, _ = cost_and_gradient(
    ...     weights, 1.0, np.zeros((1, 2)), patches, sparsity=0.0, epsilon=1e-2)
    >>> cost
    array([0.])
    """
    xp = array_module(weights)
    scale = xp.broadcast_to(xp.asarray(alpha), weights.shape[:1])[:, None, None]
    transposed = xp.swapaxes(weights, 1, 2)
    z = patches @ transposed
    s = scale * z
    r = s @ weights + offset[:, None, :] - patches
    magnitude = xp.sqrt(s * s + epsilon)
    cost = (r * r).sum(axis=(1, 2)) + sparsity * magnitude.sum(axis=(1, 2))
    g = 2 * (r @ transposed) + sparsity * s / magnitude
    by_weights = xp.swapaxes(scale * g, 1, 2) @ patches + 2 * (xp.swapaxes(s, 1, 2) @ r)
    return cost, Gradient(by_weights, (g * z).sum(axis=(1, 2)), 2 * r.sum(axis=1))


def descend(
    parameter: Array, momentum: Array, gradient: Array, *, images: int, decay: float, rate: float
) -> tuple[Array, Array]:
    """One step: ``M <- decay M + gradient / images``, ``parameter <- parameter - rate M``.

    Returns the new parameter and the new momentum; the inputs stay as they are.
    """
    momentum = decay * momentum + gradient / images
    return parameter - rate * momentum, momentum


def normalise_rows(weights: Array) -> Array:
    """Weights with every row (last axis) scaled to unit L2 norm."""
    xp = array_module(weights)
    return weights / xp.sqrt((weights * weights).sum(axis=-1, keepdims=True))
