"""Other readings of the paper's network: what it leaves open, and what each choice gives.

The paper prints 5184 filters, a layer 2 output of 62 x 62 x 24, and over 15 billion parameters.
Each reading here is a geometry; its weights are counted from it.
"""

from __future__ import annotations

from collections.abc import Callable

from yfccdask.config import Config, DenseLayer, LocalLayer, load_config, network_geometry
from yfccdask.geometry import Field, LayerGeometry, dense_layer, local_layer
from yfccdask.training.planning.records import Reading

PAPER = "paper"


def is_paper(config: Config) -> bool:
    """Whether a configuration's geometry has the weights of the preset ``paper``."""
    found = [layer.weights for layer in network_geometry(config).layers]
    return found == [layer.weights for layer in network_geometry(load_config(PAPER)).layers]


def alternative_readings(config: Config) -> tuple[Reading, ...]:
    """The other readings of the paper's network, if that is what a configuration says; else none.

    Examples
    --------
    >>> [reading.total for reading in alternative_readings(load_config("paper"))][0]
    13139312640
    """
    return tuple(make(config) for make in READINGS) if is_paper(config) else ()


def _local(config: Config, number: int, field: Field) -> LayerGeometry:
    """A local layer of the configuration over another field, without its LCN's trim."""
    layer = config.layers[number]
    assert isinstance(layer, LocalLayer)
    return local_layer(
        field, window=layer.window, stride=layer.stride, units=layer.units, tile=layer.tile
    )


def _dense(config: Config, field: Field) -> LayerGeometry:
    layer = config.layers[2]
    assert isinstance(layer, DenseLayer)
    return dense_layer(field, units=layer.units, leaf=layer.leaf)


def _reading(name: str, text: str, *layers: LayerGeometry) -> Reading:
    return Reading(name, text, tuple(layer.weights for layer in layers))


def _untrimmed(config: Config) -> tuple[LayerGeometry, LayerGeometry]:
    """Layers 1 and 2 where LCN trims nothing: layer 2 then has 69 x 69 positions, not 62 x 62."""
    first = network_geometry(config).layers[0]
    return first, _local(config, 1, first.output)


def _one_pixel_each(layer: LayerGeometry) -> Field:
    """The output if the printed size counts pixels: one per position."""
    return Field(*layer.grid, layer.maps)


def _literal(config: Config) -> Reading:
    first, second = _untrimmed(config)
    printed = _one_pixel_each(network_geometry(config).layers[1])
    text = f"LCN trims nothing; the dense layer reads the printed {printed}"
    return _reading("no trim, literal input", text, first, second, _dense(config, printed))


def _no_trim(config: Config) -> Reading:
    first, second = _untrimmed(config)
    text = f"LCN trims nothing; the dense layer reads {second.output}"
    return _reading("no trim", text, first, second, _dense(config, second.output))


def _trim_literal(config: Config) -> Reading:
    first, second, _ = network_geometry(config).layers
    printed = _one_pixel_each(second)
    text = f"LCN trims layer 1; the dense layer reads the printed {printed}"
    return _reading("trim, literal input", text, first, second, _dense(config, printed))


def _trim_once(config: Config) -> Reading:
    first, second, _ = network_geometry(config).layers
    text = f"LCN trims layer 1 alone; the dense layer reads {second.output}"
    return _reading("trim after layer 1", text, first, second, _dense(config, second.output))


def _coates(config: Config) -> Reading:
    """Coates et al. 2013: three local layers over 200 x 200 pixels, valid pooling and LCN of 5.

    Windows are not published as such: these are the only uniform ones that give their 11.2 billion.
    """
    del config
    pool, lcn = 5, 5
    trim = (pool - 1) + 2 * (lcn - 1)

    def after(layer: LayerGeometry) -> Field:
        out = layer.output
        return Field(out.height - trim, out.width - trim, out.maps)

    first = local_layer(Field(200, 200, 3), window=20, stride=4, units=288)
    second = local_layer(after(first), window=32, stride=4, units=288)
    third = local_layer(after(second), window=32, stride=4, units=288)
    text = "200 x 200 x 3 pixels, windows of 20 and 32, valid pooling and LCN of 5 pixels"
    return _reading("Coates et al. 2013", text, first, second, third)


READINGS: tuple[Callable[[Config], Reading], ...] = (
    _literal,
    _no_trim,
    _trim_literal,
    _trim_once,
    _coates,
)
