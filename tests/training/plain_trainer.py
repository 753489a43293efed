"""A whole network trained in plain NumPy, sequentially or staggered: the oracle of a run.

One file, no Dask, no chunks; loops as the paper's text reads. Only the initial weights, the order
of the blocks and the rates come from the package: they are definitions, not computations.
"""

import numpy as np

from tests.numerics import naive
from yfccdask.config import LocalLayer, network_geometry
from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.counter_random import initial_weights
from yfccdask.training.pipeline.visits import layer_visits, objective_of, rates_of


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
    out = np.stack([naive.local_contrast(image, window, lcn.floor) for image in out])
    if lcn.rectify == "none":
        return out
    return np.concatenate([np.maximum(out, 0), np.maximum(-out, 0)], axis=-1)


def initial_states(config, number, layer):
    states = {}
    for p, index in enumerate(np.ndindex(layer.grid)):
        w = initial_weights(config.seed, number, p, layer.units, layer.inputs, np.float64)
        zeros = np.zeros(layer.inputs)
        alpha = config.layers[number].alpha
        states[index] = (w, zeros, alpha, np.zeros_like(w), zeros, 0.0)
    return states


def visit_block(config, layer, states, field, scale, visit):
    """All mini-batches of one block at every position."""
    settings, size = config.layers[visit.layer], config.batching.mini_batch
    states = dict(states)
    for step, rates in enumerate(rates_of(settings, layer, visit)):
        batch = scale * field[step * size : (step + 1) * size]
        for index in states:
            patches = patches_of(layer, batch, *index)
            states[index] = naive.step(states[index], patches, objective_of(settings), rates)
    return states


def stacked(layer, states):
    names = ["weights", "offset", "alpha"]
    names += [f"{name}_momentum" for name in names]
    parts = {}
    for number, name in enumerate(names):
        values = np.stack([np.asarray(state[number]) for state in states.values()])
        parts[name] = values.reshape(*layer.grid, *values.shape[1:])
    return parts


def plain_training(config, images, block_size, filter_):
    """Train on images (image, y, x, channel); returns each layer's six arrays.

    Weights of layers that have finished have no momentum.

    At every tick the copies that feed the layers above are renewed where it is their turn; then
    every layer that is on its way trains on its next block.
    """
    blocks = [images[start : start + block_size] for start in range(0, len(images), block_size)]
    pixels = [whitened(config, block, filter_) for block in blocks]
    layers = network_geometry(config).layers
    todo = [list(layer_visits(config, n, [len(b) for b in blocks])) for n in range(len(layers))]
    staggered = config.pipeline.start == "after_blocks"
    states, copies, scales, starts, tick = {}, {}, {}, {0: 0}, 0
    while len(starts) < len(layers) or any(tick < starts[n] + len(todo[n]) for n in starts):
        for n in range(1, len(layers)):
            done = tick - starts[n - 1] if n - 1 in starts else -1
            wait = min(config.pipeline.after_blocks, len(todo[n - 1]))
            if n not in starts and done == (wait if staggered else len(todo[n - 1])):
                starts[n] = tick
        for n in range(len(layers) - 1):
            if n + 1 in starts:
                ended = tick >= starts[n] + len(todo[n])
                if ended or (tick - starts[n + 1]) % config.pipeline.sync_every == 0:
                    copies[n] = states[n]
        new = {}
        for n in starts:
            if not 0 <= tick - starts[n] < len(todo[n]):
                continue
            visit = todo[n][tick - starts[n]]
            field = pixels[visit.block]
            for below in range(n):
                trained = stacked(layers[below], copies[below])
                field = forward(config, below, layers[below], trained, scales[below], field)
            if n not in states:
                scales[n] = config.layers[n].input_deviation / field.std()
                states[n] = initial_states(config, n, layers[n])
            new[n] = visit_block(config, layers[n], states[n], field, scales[n], visit)
        states |= new
        tick += 1
    found = [stacked(layer, states[n]) for n, layer in enumerate(layers)]
    return [parts | {"weights_momentum": 0 * parts["weights"]} for parts in found]
