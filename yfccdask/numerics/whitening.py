"""Contrast per image, and whitening of whole images by one fitted filter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from scipy import fft

Array = Any
TOGETHER = 8  # images per transform, so that its buffers stay in the cache


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
    gain, shift = contrast_factors(mean, deviation, floor, full_scale, dtype)
    out = np.empty(images.shape, dtype)
    _scale_and_shift(images, gain, shift, out)
    return out


def contrast_factors(
    mean: Array, deviation: Array, floor: float, full_scale: float, dtype: Any
) -> tuple[Array, Array]:
    """Gain and shift (image,) of `normalise_contrast`; a blank image without a floor has gain 0."""
    divisor = deviation.astype(np.float64) + floor * full_scale
    gain = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor > 0).astype(dtype)
    return gain, (-mean.astype(np.float64) * gain).astype(dtype)


@njit(nogil=True, cache=True)
def _scale_and_shift(images: Array, gain: Array, shift: Array, out: Array) -> None:
    for i in range(images.shape[0]):
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                for c in range(images.shape[3]):
                    out[i, y, x, c] = gain[i] * out.dtype.type(images[i, y, x, c]) + shift[i]


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
    divisor = np.sqrt(np.maximum(values, 0) + floor * values.mean())
    gain = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor > 0)
    centre = ((patch // 2) * patch + patch // 2) * channels
    rows = (vectors[centre : centre + channels] * gain) @ vectors.T
    return rows.reshape(channels, patch, patch, channels).transpose(1, 2, 3, 0).copy()


@njit(nogil=True, cache=True)
def _to_planes(images: Array, top: int, left: int, planes: Array) -> None:
    """Fill planes (image, channel, y, x); what lies outside the images is mirrored."""
    rows, columns = images.shape[1], images.shape[2]
    for i in range(planes.shape[0]):
        for y in range(planes.shape[2]):
            row = _mirrored(y - top, rows)
            for x in range(planes.shape[3]):
                column = _mirrored(x - left, columns)
                for c in range(planes.shape[1]):
                    planes[i, c, y, x] = images[i, row, column, c]


@njit(nogil=True, cache=True, inline="always")
def _mirrored(index: int, length: int) -> int:
    if index < 0:
        return -index
    return index if index < length else 2 * (length - 1) - index


@njit(nogil=True, cache=True)
def _mix(waves: Array, spectrum: Array, out: Array) -> None:
    """``out[n, o] = sum_c spectrum[c, o] waves[n, c]`` at every frequency."""
    for n in range(waves.shape[0]):
        for o in range(spectrum.shape[1]):
            for y in range(waves.shape[2]):
                for x in range(waves.shape[3]):
                    total = spectrum[0, o, y, x] * waves[n, 0, y, x]
                    for c in range(1, waves.shape[1]):
                        total += spectrum[c, o, y, x] * waves[n, c, y, x]
                    out[n, o, y, x] = total


@njit(nogil=True, cache=True)
def _from_planes(planes: Array, top: int, left: int, out: Array) -> None:
    for i in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                for c in range(out.shape[3]):
                    out[i, y, x, c] = planes[i, c, y + top, x + left]


def filter_images(
    images: Array, whitening: Array, mirror: tuple[tuple[int, int], ...] = ((0, 0), (0, 0))
) -> Array:
    """Correlate images with a filter over the pixels where it fits whole.

    Parameters
    ----------
    images : array (image, y, x, channel)
        With a halo of half the filter on every side, but for the pixels of ``mirror``.
    whitening : array (fy, fx, channel_in, channel_out)
    mirror : ((top, bottom), (left, right))
        Halo pixels to be made by mirroring the images at that side.

    Returns
    -------
    array (image, y - fy + 1, x - fx + 1, channel_out), in the images' dtype
        With y and x counted with the mirrored pixels.
    """
    (top, bottom), (left, right) = mirror
    height, width = images.shape[1] + top + bottom, images.shape[2] + left + right
    fy, fx, channels, maps = whitening.shape
    shape = (fft.next_fast_len(height, real=True), fft.next_fast_len(width, real=True))
    spectrum = fft.rfft2(whitening[::-1, ::-1].transpose(2, 3, 0, 1), shape)
    out = np.empty((len(images), height - fy + 1, width - fx + 1, maps), images.dtype)
    planes = np.empty((TOGETHER, channels, height, width), images.dtype)
    mixed = np.empty((TOGETHER, maps, shape[0], shape[1] // 2 + 1), _complex(images.dtype))
    spectrum = spectrum.astype(mixed.dtype)
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER]
        _to_planes(some, top, left, planes[: len(some)])
        _mix(fft.rfft2(planes[: len(some)], shape), spectrum, mixed[: len(some)])
        full = fft.irfft2(mixed[: len(some)], shape)
        _from_planes(full, fy - 1, fx - 1, out[start : start + TOGETHER])
    return out


def _complex(dtype: Any) -> Any:
    return np.result_type(dtype, np.complex64)
