"""Contrast per image, and whitening of whole images by one fitted filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import fft

Array = Any


def normalise_contrast(
    images: Array, mean: Array, deviation: Array, floor: float, full_scale: float, dtype: Any
) -> Array:
    """``(x - mean) / (deviation + floor)`` per image, on a scale where full white is 1.

    Parameters
    ----------
    images : array (image, y, x, channel) of uint8 or uint16
    mean, deviation : arrays (image,)
        Over all pixels and channels of the whole image, in stored units.
    floor : float
        As a share of full scale.
    full_scale : float
        Largest stored value, 255 or 65535.

    Returns
    -------
    array (image, y, x, channel) of ``dtype``

    References
    ----------
    Coates et al. 2013, with 10/255 as the floor.
    """
    gain = 1.0 / (deviation.astype(np.float64) + floor * full_scale)
    gain = np.where(np.isfinite(gain), gain, 0.0)
    shift = (-mean.astype(np.float64) * gain).astype(dtype)[:, None, None, None]
    return images.astype(dtype) * gain.astype(dtype)[:, None, None, None] + shift


def sample_patches(images: Array, corners: Array, patch: int) -> Array:
    """Square patches (patch, y, x, channel) cut out of images (image, y, x, channel).

    ``corners`` (patch, 3) are image, top and left of each.
    """
    return np.stack([images[i, y : y + patch, x : x + patch] for i, y, x in corners])


def second_moment(patches: Array) -> Array:
    """``sum x x^T`` over flattened patches, float64 (D, D)."""
    flat = patches.reshape(len(patches), -1).astype(np.float64)
    return flat.T @ flat


def whitening_filter(moment: Array, patch: int, floor: float) -> Array:
    """The centre of the ZCA transform of sampled patches, as a filter over images.

    Parameters
    ----------
    moment : array (D, D)
        Mean of ``x x^T`` over contrast-normalised patches, D = patch * patch * channel, *without*
        removing each patch's mean: the filter will see images whose patches keep theirs, and a
        fit that removed them would diverge there.
    patch : int
        Height and width of the patches.
    floor : float
        Added to every eigenvalue, as a share of the mean eigenvalue.

    Returns
    -------
    array (y, x, channel_in, channel_out) of float64

    References
    ----------
    ZCA: Bell and Sejnowski 1997. The reading of whitening on whole images is this project's.
    """
    channels = len(moment) // (patch * patch)
    values, vectors = np.linalg.eigh(moment)
    gain = 1.0 / np.sqrt(np.maximum(values, 0) + floor * values.mean())
    centre = ((patch // 2) * patch + patch // 2) * channels
    rows = (vectors[centre : centre + channels] * gain) @ vectors.T
    return rows.reshape(channels, patch, patch, channels).transpose(1, 2, 3, 0).copy()


def reflect_border(images: Array, halo: int) -> Array:
    """Images (image, y, x, channel) with ``halo`` mirrored pixels on every side."""
    return np.pad(images, ((0, 0), (halo, halo), (halo, halo), (0, 0)), mode="reflect")


def filter_images(images: Array, whitening: Array) -> Array:
    """Correlate images with a filter over the pixels where it fits whole.

    Parameters
    ----------
    images : array (image, y, x, channel)
        With a halo of half the filter on every side.
    whitening : array (fy, fx, channel_in, channel_out)

    Returns
    -------
    array (image, y - fy + 1, x - fx + 1, channel_out), in the images' dtype
    """
    height, width = images.shape[1:3]
    fy, fx = whitening.shape[:2]
    shape = (fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True))
    spectrum = fft.rfft2(whitening[::-1, ::-1].transpose(2, 3, 0, 1), shape)
    out = np.empty((len(images), height - fy + 1, width - fx + 1, whitening.shape[3]), images.dtype)
    for start in range(0, len(images), 32):
        planes = np.ascontiguousarray(images[start : start + 32].transpose(0, 3, 1, 2))
        waves = fft.rfft2(planes, shape)
        mixed = np.einsum("ncyx,coyx->noyx", waves, spectrum.astype(waves.dtype))
        full = fft.irfft2(mixed, shape)
        out[start : start + 32] = full[:, :, fy - 1 : height, fx - 1 : width].transpose(0, 2, 3, 1)
    return out
