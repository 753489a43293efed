"""From a configuration to the integers of its network."""

from __future__ import annotations

from yfccdask.config.schema import Config, DenseLayer, Layer
from yfccdask.errors import GeometryError
from yfccdask.geometry import Field, LayerGeometry, NetworkGeometry, dense_layer, local_layer


def image_field(config: Config) -> Field:
    """The field of one image of the store."""
    return Field(config.images.size, config.images.size, config.images.channels)


def network_geometry(config: Config) -> NetworkGeometry:
    """Every layer's geometry, each over the normalised output of the one before.

    Raises
    ------
    GeometryError
        Naming the layer and the key, if windows do not cover a field or LCN leaves nothing.
    """
    field, white = image_field(config), config.preprocessing.whitening
    if white is not None and white.patch > config.images.size:
        raise GeometryError(
            f"preprocessing.whitening.patch: expected at most images.size of "
            f"{config.images.size}, found {white.patch}"
        )
    layers: list[LayerGeometry] = []
    for index, layer in enumerate(config.layers):
        try:
            layers.append(_layer(layer, field))
        except GeometryError as error:
            raise GeometryError(f"layers.{index}.{error}") from None
        field = layers[-1].normalised
    return NetworkGeometry(tuple(layers))


def _layer(layer: Layer, field: Field) -> LayerGeometry:
    if isinstance(layer, DenseLayer):
        return dense_layer(field, units=layer.units, leaf=layer.leaf)
    return local_layer(
        field,
        window=layer.window,
        stride=layer.stride,
        units=layer.units,
        tile=layer.tile,
        lcn_window=layer.lcn.window if layer.lcn else 1,
        lcn_mode=layer.lcn.mode if layer.lcn else "none",
        signs=2 if layer.lcn and layer.lcn.rectify == "both" else 1,
    )
