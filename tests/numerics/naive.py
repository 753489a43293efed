"""The mathematics as loops, as the paper's text reads: the oracle of every fast path."""

import numpy as np


def cost(weights, alpha, offset, patches, sparsity, epsilon):
    """J of one position: weights (K, D), patches (n, D); any dtype, complex included."""
    total = 0
    for x in patches:
        s = alpha * (weights @ x)
        r = weights.T @ s + offset - x
        total = total + np.sum(r * r) + sparsity * np.sum(np.sqrt(s * s + epsilon))
    return total


def gradient(weights, alpha, offset, patches, sparsity, epsilon):
    """dJ by weights, alpha and offset, image by image."""
    by_weights, by_offset = np.zeros_like(weights), np.zeros_like(offset)
    by_alpha = 0.0
    for x in patches:
        z = weights @ x
        s = alpha * z
        r = weights.T @ s + offset - x
        g = 2 * weights @ r + sparsity * s / np.sqrt(s * s + epsilon)
        by_weights += alpha * np.outer(g, x) + 2 * np.outer(s, r)
        by_alpha += np.sum(g * z)
        by_offset += 2 * r
    return by_weights, by_alpha, by_offset


def step(state, patches, objective, rates):
    """One mini-batch of one position; state is (W, b, alpha, MW, Mb, Malpha)."""
    w, b, a, mw, mb, ma = state
    n = len(patches)
    by_w, by_a, by_b = gradient(w, a, b, patches, objective.sparsity, objective.epsilon)
    mw = objective.momentum * mw + by_w / n
    mb = objective.momentum * mb + by_b / n
    ma = objective.momentum * ma + by_a / n
    w = w - rates.weights * mw
    w = w / np.sqrt((w * w).sum(axis=1, keepdims=True))
    return w, b - rates.offset * mb, a - rates.alpha * ma, mw, mb, ma


def local_contrast(y, window, floor):
    """LCN of one image (row, column, map), pixel by pixel."""
    taps = np.outer(window.taps(), window.taps())
    r = window.radius

    def smooth(plane):
        out = np.zeros_like(plane)
        for i, j in np.ndindex(plane.shape):
            total = weight = 0.0
            for di in range(-r, r + 1):
                for dj in range(-r, r + 1):
                    if 0 <= i + di < plane.shape[0] and 0 <= j + dj < plane.shape[1]:
                        total += taps[di + r, dj + r] * plane[i + di, j + dj]
                        weight += taps[di + r, dj + r]
            out[i, j] = total / weight
        return out

    inner = slice(r, -r if r else None) if window.valid else slice(None)
    v = (y - smooth(y.mean(axis=-1))[..., None])[inner, inner]
    sigma = np.sqrt(smooth((v * v).mean(axis=-1)))[inner, inner]
    return v[inner, inner] / np.maximum(max(sigma.mean(), floor), sigma)[..., None]
