"""A whole network trained layer after layer in plain NumPy: the oracle of a run.

One file, no Dask, no chunks; loops as the paper's text reads. Only the initial weights, the order
of the blocks and the rates come from the package: they are definitions, not computations.
"""

import numpy as np

from tests.numerics import naive
from yfccdask.config import LocalLayer, network_geometry
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.counter_random import initial_weights
from yfccdask.training.schedule import layer_visits, objective_of, rates_of


def whitened(config, images, filter_):
    """Contrast per image, then the filter over mirrored borders, pixel by pixel."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean = flat.mean(axis=1).astype(np.float32).astype(np.float64)
    deviation = flat.std(axis=1).astype(np.float32).astype(np.float64)
    floor = config.preprocessing.contrast_floor * 255
    field = (flat - mean[:, None]) / (deviation[:, None] + floor)
    field = field.reshape(images.shape)
    half = filter_.shape[0] // 2
    padded = np.pad(field, ((0, 0), (half, half), (half, half), (0, 0)), mode="reflect")
    out = np.zeros_like(field)
    size = images.shape[1]
    for dy in range(filter_.shape[0]):
        for dx in range(filter_.shape[1]):
            out += padded[:, dy : dy + size, dx : dx + size] @ filter_[dy, dx]
    return out


def patches_of(layer, field, i, j):
    top, left = i * layer.stride, j * layer.stride
    window = field[:, top : top + layer.window[0], left : left + layer.window[1]]
    return window.reshape(len(field), -1)


def forward(config, number, layer, trained, scale, field):
    """A layer's output for images, normalised image by image."""
    out = np.zeros((len(field), layer.output.height, layer.output.width, layer.maps))
    for i, j in np.ndindex(layer.grid):
        w, alpha = trained["weights"][i, j], trained["alpha"][i, j]
        code = alpha * (scale * patches_of(layer, field, i, j)) @ w.T
        rows = slice(i * layer.tile[0], (i + 1) * layer.tile[0])
        columns = slice(j * layer.tile[1], (j + 1) * layer.tile[1])
        out[:, rows, columns] = code.reshape(len(field), *layer.tile, layer.maps)
    settings = config.layers[number]
    if not isinstance(settings, LocalLayer) or settings.lcn is None:
        return out
    lcn = settings.lcn
    window = ContrastWindow(lcn.window, lcn.spread or lcn.window / 4, lcn.mode == "valid")
    return np.stack([naive.local_contrast(image, window, lcn.floor) for image in out])


def train_layer(config, number, layer, field, block_images, block_size):
    """All visits of one layer; returns its state and the scale of its input."""
    settings = config.layers[number]
    visits = list(layer_visits(config, number, block_images))
    first = slice(visits[0].block * block_size, visits[0].block * block_size + block_size)
    scale = settings.input_deviation / field[first][: block_images[visits[0].block]].std()
    states = {}
    for p, index in enumerate(np.ndindex(layer.grid)):
        w = initial_weights(config.seed, number, p, layer.units, layer.inputs, np.float64)
        zeros = np.zeros(layer.inputs)
        states[index] = (w, zeros, settings.alpha, np.zeros_like(w), zeros, 0.0)
    size = config.batching.mini_batch
    for visit in visits:
        for step, rates in enumerate(rates_of(settings, layer, visit)):
            start = visit.block * block_size + step * size
            batch = scale * field[start : start + size]
            for index in states:
                patches = patches_of(layer, batch, *index)
                states[index] = naive.step(states[index], patches, objective_of(settings), rates)
    return stacked(layer, states), scale


def stacked(layer, states):
    names = ["weights", "offset", "alpha"]
    names += [f"{name}_momentum" for name in names]
    parts = {}
    for number, name in enumerate(names):
        values = np.stack([np.asarray(state[number]) for state in states.values()])
        parts[name] = values.reshape(*layer.grid, *values.shape[1:])
    return parts


def plain_training(config, images, block_size, filter_):
    """Train every layer on images (image, y, x, channel); returns each layer's six arrays."""
    counts = [min(block_size, len(images) - b) for b in range(0, len(images), block_size)]
    field, results = whitened(config, images, filter_), []
    for number, layer in enumerate(network_geometry(config).layers):
        trained, scale = train_layer(config, number, layer, field, counts, block_size)
        results.append(trained)
        field = forward(config, number, layer, trained, scale, field)
    return results
