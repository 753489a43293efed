"""How much a filter looks like an edge: local in space, and of one orientation."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
EDGE_SHARE = 0.6
ORIENTATIONS = 36
HALF_ANGLE = np.pi / 8  # 22.5 degrees


def principal_plane(filters: Array) -> Array:
    """Filters (filter, y, x, channel) projected onto their strongest principal component.

    The component over channels with the most energy; for one channel the filter itself.

    Returns
    -------
    array (filter, y, x)
    """
    flat = filters.reshape(len(filters), -1, filters.shape[-1]).astype(np.float64)
    _, vectors = np.linalg.eigh(np.swapaxes(flat, 1, 2) @ flat)
    return (flat @ vectors[:, :, -1:])[..., 0].reshape(filters.shape[:3])


def localisation(planes: Array, window: int = 8) -> Array:
    """The largest share of a filter's energy within one window.

    ``max over windows of sum_{window} w^2 / sum w^2``

    Parameters
    ----------
    planes : array (filter, y, x)
    window : int
        Height and width in pixels (the whole filter where that is smaller).

    Returns
    -------
    array (filter,)
        In 0..1; 0 for a filter of zeros.
    """
    energy = np.asarray(planes, np.float64) ** 2
    total = energy.sum(axis=(1, 2))
    sides = (min(window, energy.shape[1]), min(window, energy.shape[2]))
    windows = np.lib.stride_tricks.sliding_window_view(energy, sides, axis=(1, 2))
    largest = windows.sum(axis=(3, 4)).max(axis=(1, 2))
    return np.divide(largest, total, out=np.zeros_like(total), where=total > 0)


def orientation(planes: Array) -> tuple[Array, Array]:
    """The largest share of a filter's spectrum within 22.5 degrees of one orientation.

    With P the power of the filter's discrete Fourier transform without its mean,
    ``max over theta of sum_{|angle(f) - theta| <= 22.5 deg} P(f) / sum P(f)``, angles modulo 180
    degrees, theta in steps of 5 degrees.

    Parameters
    ----------
    planes : array (filter, y, x)

    Returns
    -------
    share : array (filter,)
        In 0..1 (a quarter for white noise).
    angle : array (filter,)
        The orientation of the best theta in radians, 0..pi: the direction across the edge.
    """
    planes = np.asarray(planes, np.float64)
    height, width = planes.shape[1:]
    power = np.abs(np.fft.fft2(planes)) ** 2
    power[:, 0, 0] = 0
    fy, fx = np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij")
    angles = np.arctan2(fy, fx)
    thetas = np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS
    apart = np.abs((angles[None] - thetas[:, None, None] + np.pi / 2) % np.pi - np.pi / 2)
    near = (apart <= HALF_ANGLE + 1e-9).astype(np.float64)
    within = np.tensordot(power, near, axes=([1, 2], [1, 2]))
    total = power.sum(axis=(1, 2))
    best = within.argmax(axis=1)
    largest = within[np.arange(len(within)), best]
    share = np.divide(largest, total, out=np.zeros_like(total), where=total > 0)
    return share, thetas[best]


def edges(filters: Array) -> Array:
    """Which filters are edges: > 60 % local in 8 x 8 pixels *and* > 60 % of one orientation.

    Parameters
    ----------
    filters : array (filter, y, x, channel)
        Weights in the whitened input's space.

    Returns
    -------
    array (filter,) of bool
    """
    planes = principal_plane(filters)
    share, _ = orientation(planes)
    return (localisation(planes) > EDGE_SHARE) & (share > EDGE_SHARE)
