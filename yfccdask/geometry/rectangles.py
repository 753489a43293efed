"""Fields of pixels and maps, and rectangles of pixels or of positions within them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from yfccdask.errors import GeometryError


@dataclass(frozen=True)
class Field:
    """A layer's whole input or output: ``height`` x ``width`` pixels of ``maps`` values."""

    height: int
    width: int
    maps: int

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.maps) < 1:
            raise GeometryError(f"expected a field of at least 1 x 1 x 1, found {self}")

    @property
    def size(self) -> int:
        """Number of values for one image."""
        return self.height * self.width * self.maps

    def __str__(self) -> str:
        return f"{self.height} x {self.width} x {self.maps}"


@dataclass(frozen=True, order=True)
class Rectangle:
    """Rows ``top:bottom`` and columns ``left:right``, of pixels or of positions."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rectangle as an index of an array's two spatial axes."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def meets(self, other: Rectangle) -> bool:
        """Whether the two share at least one element."""
        rows = max(self.top, other.top) < min(self.bottom, other.bottom)
        return rows and max(self.left, other.left) < min(self.right, other.right)

    def overlap(self, other: Rectangle) -> Rectangle:
        """The part that both share; ask ``meets`` first."""
        return Rectangle(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )

    def seen_from(self, other: Rectangle) -> Rectangle:
        """This rectangle in coordinates that start at the other's top left corner."""
        return Rectangle(
            self.top - other.top,
            self.bottom - other.top,
            self.left - other.left,
            self.right - other.left,
        )

    def grown(self, halo: int, within: Rectangle) -> Rectangle:
        """The rectangle with ``halo`` more on every side, clipped to ``within``."""
        wide = Rectangle(self.top - halo, self.bottom + halo, self.left - halo, self.right + halo)
        return wide.overlap(within)

    def positions(self) -> Iterator[tuple[int, int]]:
        """Every (row, column), row by row."""
        for row in range(self.top, self.bottom):
            for column in range(self.left, self.right):
                yield row, column


def spans(length: int, step: int) -> tuple[tuple[int, int], ...]:
    """Cut ``range(length)`` into (start, stop) pieces of ``step``; the last may be shorter."""
    if step < 1:
        raise GeometryError(f"expected pieces of at least 1 element, found {step}")
    return tuple((start, min(start + step, length)) for start in range(0, length, step))
