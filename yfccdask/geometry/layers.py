"""Layers as integers: field -> positions -> tiles -> field, for any window, stride and tile."""

from __future__ import annotations

from dataclasses import dataclass

from yfccdask.errors import GeometryError
from yfccdask.geometry.rectangles import Field, Rectangle

FLOP_PER_WEIGHT = 10  # five matrix products of 2 K D operations (the paper's gradient)


@dataclass(frozen=True)
class LayerGeometry:
    """One layer: a grid of positions, each with its own weights (K, D).

    Attributes
    ----------
    input : Field
        The field that the layer reads.
    window, stride : int
        Every position reads ``window`` x ``window`` pixels; neighbours are ``stride`` apart.
        A dense layer is the one position whose window is the whole field.
    grid : (int, int)
        Positions per column and per row.
    tile : (int, int)
        Output pixels that every position writes.
    maps : int
        Output maps; ``units`` (K) = tile height * tile width * maps.
    lcn_window, lcn_mode
        Local contrast normalisation of the output: ``lcn_mode`` "valid" trims
        ``2 * (lcn_window - 1)`` pixels (two passes), "same" trims none, "none" is no LCN.
    leaf : int
        Inputs per leaf of a dense layer (0 for a local one).
    signs : int
        2 where LCN leaves positive and negative parts as maps of their own, else 1.
    """

    input: Field
    window: tuple[int, int]
    stride: int
    grid: tuple[int, int]
    tile: tuple[int, int]
    maps: int
    lcn_window: int = 1
    lcn_mode: str = "none"
    leaf: int = 0
    signs: int = 1

    @property
    def dense(self) -> bool:
        """Whether this is the special case of one position over the whole field."""
        return self.leaf > 0

    @property
    def positions(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def inputs(self) -> int:
        """D, the values in one window."""
        return self.window[0] * self.window[1] * self.input.maps

    @property
    def units(self) -> int:
        """K, the rows of one position's weights."""
        return self.tile[0] * self.tile[1] * self.maps

    @property
    def weights(self) -> int:
        return self.positions * self.units * self.inputs

    @property
    def parameters(self) -> int:
        """Weights, offsets and alphas."""
        return self.weights + self.positions * (self.inputs + 1)

    @property
    def flop_per_image(self) -> int:
        """Floating-point operations of one training step, per image."""
        return FLOP_PER_WEIGHT * self.weights

    @property
    def output(self) -> Field:
        """The field of tiles, before normalisation."""
        return Field(self.grid[0] * self.tile[0], self.grid[1] * self.tile[1], self.maps)

    @property
    def trim(self) -> int:
        """Pixels that LCN takes off each dimension of the output."""
        return 2 * (self.lcn_window - 1) if self.lcn_mode == "valid" else 0

    @property
    def normalised(self) -> Field:
        """The field that leaves the layer: its output after LCN."""
        out = self.output
        if min(out.height, out.width) <= self.trim:
            raise GeometryError(
                f"lcn.window: expected a window whose two passes trim less than the layer's "
                f"output of {out}, found a trim of {self.trim} pixels: use a smaller lcn.window "
                "or lcn.mode same"
            )
        return Field(out.height - self.trim, out.width - self.trim, self.signs * out.maps)

    @property
    def all_positions(self) -> Rectangle:
        return Rectangle(0, self.grid[0], 0, self.grid[1])

    def window_region(self, positions: Rectangle) -> Rectangle:
        """The pixels of the input field that a rectangle of positions reads."""
        top, left = positions.top * self.stride, positions.left * self.stride
        bottom = (positions.bottom - 1) * self.stride + self.window[0]
        right = (positions.right - 1) * self.stride + self.window[1]
        return Rectangle(top, bottom, left, right)

    def tile_region(self, positions: Rectangle) -> Rectangle:
        """The pixels of the output field that a rectangle of positions writes."""
        height, width = self.tile
        return Rectangle(
            positions.top * height,
            positions.bottom * height,
            positions.left * width,
            positions.right * width,
        )


def _steps(length: int, window: int, stride: int, axis: str) -> int:
    if window > length:
        raise GeometryError(
            f"window: expected at most the input field's {axis} of {length}, found {window}"
        )
    steps, rest = divmod(length - window, stride)
    if rest:
        raise GeometryError(
            f"window: expected windows of {window} at stride {stride} to cover the input field's "
            f"{axis} of {length} exactly, found {rest} pixels left over: "
            f"change window, stride, or the field by {rest} or {stride - rest} pixels"
        )
    return steps + 1


def _maps(units: int, tile: tuple[int, int]) -> int:
    maps, rest = divmod(units, tile[0] * tile[1])
    if rest or maps < 1:
        raise GeometryError(
            f"units: expected a multiple of the tile's {tile[0]} x {tile[1]} pixels, found {units}"
        )
    return maps


def local_layer(
    field: Field,
    *,
    window: int,
    stride: int,
    units: int,
    tile: tuple[int, int] = (4, 4),
    lcn_window: int = 1,
    lcn_mode: str = "none",
    signs: int = 1,
) -> LayerGeometry:
    """An untied locally connected layer over ``field``.

    Raises
    ------
    GeometryError
        If the windows do not cover the field exactly, the units do not fill the tile, or LCN
        leaves nothing of the output.

    Examples
    --------
    >>> local_layer(Field(300, 300, 3), window=16, stride=4, units=384).grid
    (72, 72)
    """
    grid = (
        _steps(field.height, window, stride, "height"),
        _steps(field.width, window, stride, "width"),
    )
    given = (field, (window, window), stride, grid, tile, _maps(units, tile))
    layer = LayerGeometry(*given, lcn_window, lcn_mode, signs=signs)
    layer.normalised  # noqa: B018  (checks that LCN leaves something)
    return layer


def dense_layer(field: Field, *, units: int, leaf: int) -> LayerGeometry:
    """A dense layer: one position whose window is the whole ``field``."""
    window = (field.height, field.width)
    return LayerGeometry(field, window, 1, (1, 1), (1, 1), units, leaf=leaf)


@dataclass(frozen=True)
class NetworkGeometry:
    """The layers of a network in order; each reads what the one before leaves."""

    layers: tuple[LayerGeometry, ...]

    @property
    def weights(self) -> int:
        return sum(layer.weights for layer in self.layers)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def flop_per_image(self) -> int:
        return sum(layer.flop_per_image for layer in self.layers)
