"""LCN's window, and how a rectangle's rows and columns lie in both passes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = Any
Span = tuple[int, int]


class ContrastWindow(NamedTuple):
    """A Gaussian window, what happens at the border, and what becomes of signs.

    ``rectified`` is whether the normalised field's positive and negative parts are maps of their
    own: ``max(f, 0)`` of all maps, then ``max(-f, 0)`` of all.
    """

    size: int
    spread: float
    valid: bool
    rectified: bool = False

    @property
    def signs(self) -> int:
        """Maps of the normalised field per map of the field."""
        return 2 if self.rectified else 1

    @property
    def radius(self) -> int:
        return self.size // 2

    def taps(self) -> Array:
        """The window along one axis, float64 (size,), adding up to 1."""
        offsets = np.arange(self.size) - self.radius
        taps = np.exp(-0.5 * (offsets / self.spread) ** 2)
        return taps / taps.sum()

    def centres(self, length: int) -> tuple[Span, Span]:
        """First and last centre of the first pass and of the second, over ``length`` rows."""
        if not self.valid:
            return (0, length), (0, length)
        radius = self.radius
        return (radius, length - radius), (2 * radius, length - 2 * radius)

    def reads(self, span: Span, length: int) -> Span:
        """Input rows that the output rows ``span`` need; output row 0 is the first one kept."""
        first = self.centres(length)[1][0]
        reach = 2 * self.radius
        return max(0, span[0] + first - reach), min(length, span[1] + first + reach)

    def kept(self, span: Span, length: int) -> Span:
        """Where the output rows ``span`` lie in the input."""
        first = self.centres(length)[1][0]
        return span[0] + first, span[1] + first


class Planes(NamedTuple):
    """What a rectangle of output pixels is normalised by: two arrays (image, row, column)."""

    mean: Array
    sigma: Array


class Axis(NamedTuple):
    """A rectangle's rows (or columns) in both passes, as spans of the input field's."""

    read: Span
    inner: Span
    kept: Span
    inner_scales: Array
    kept_scales: Array


def axis_of(window: ContrastWindow, span: Span, length: int) -> Axis:
    """The rows (or columns) that the output's ``span`` needs, of ``length``."""
    (low, high), kept = window.centres(length)[0], window.kept(span, length)
    inner = max(low, kept[0] - window.radius), min(high, kept[1] + window.radius)
    scales = _scales(window, inner, (0, length)), _scales(window, kept, (low, high))
    return Axis(window.reads(span, length), inner, kept, *scales)


def _scales(window: ContrastWindow, centres: Span, domain: Span) -> Array:
    """One over what the taps within ``domain`` add up to, for every centre, float64."""
    taps, radius = window.taps(), window.radius
    sums = [
        taps[max(0, domain[0] - centre + radius) : domain[1] - centre + radius].sum()
        for centre in range(*centres)
    ]
    return 1 / np.array(sums)


def whole_output(window: ContrastWindow, length: int) -> Span:
    """All output rows (or columns) of a field of ``length``."""
    low, high = window.centres(length)[1]
    return 0, high - low
