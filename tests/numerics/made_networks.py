"""Small networks of random weights, with every part that a network can have."""

import numpy as np

from yfccdask.numerics.contrast import ContrastWindow
from yfccdask.numerics.whole_network import WholeLayer, WholeNetwork


def made_layer(rng, grid, units, inputs, window, tile, stride, contrast, floor, scale=0.7):
    weights = rng.normal(size=(*grid, units, inputs))
    weights /= np.linalg.norm(weights, axis=-1, keepdims=True)
    alpha = rng.uniform(0.5, 1.5, grid)
    return WholeLayer(
        weights, alpha, scale, (window, window), (tile, tile), stride, contrast, floor
    )


def made_network(rng, valid=(True, False), floor=1e-4, signs=1):
    """Images of 12 x 12 x 2 through two local layers, each with LCN, and a dense one; float64.

    With 2 ``signs`` the second layer reads the first one's field rectified.
    """
    windows = [ContrastWindow(3, 0.8, valid[0], signs == 2), ContrastWindow(3, 0.8, valid[1])]
    first = made_layer(rng, (5, 5), 8, 32, 4, 2, 2, windows[0], floor)  # 10 x 10 x 2
    side = 6 if valid[0] else 10
    grid = side // 2 - 1
    second = made_layer(rng, (grid, grid), 12, 32 * signs, 4, 2, 2, windows[1], floor, 0.3)
    side = 2 * grid - (4 if valid[1] else 0)
    dense = made_layer(rng, (1, 1), 5, side * side * 3, side, 1, 1, None, 0.0)
    whitening = rng.normal(size=(5, 5, 2, 2)) / 5
    return WholeNetwork(0.04, 255.0, whitening, (first, second, dense))
