"""Whether something occurs more often in a few draws than in all there is, for many questions.

Draws without replacement: the hypergeometric distribution's upper tail (Fisher's exact test,
one-sided). Of many such tests, those with a false discovery rate of at most q are kept, after
Benjamini and Hochberg.

References
----------
Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 57, 1995.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import hypergeom

Array = Any


def chance_of(hits: Array, drawn: Array, marked: Array, total: Array) -> Array:
    """The chance that ``drawn`` items out of ``total`` hold ``hits`` or more of the marked ones.

    Parameters
    ----------
    hits, drawn, marked, total : int arrays that broadcast
        ``hits`` of the ``drawn`` items are marked, ``marked`` of all ``total`` ones.

    Returns
    -------
    array of float64
        In (0, 1]; 1 where there are no hits.

    Examples
    --------
    >>> float(chance_of(2, 2, 2, 4))  # both draws of four hit both marked ones: 1 in 6
    0.16666666666666666
    """
    hits, drawn, marked, total = np.broadcast_arrays(hits, drawn, marked, total)
    tail = hypergeom.sf(hits - 1, total, marked, drawn)
    return np.where(hits <= 0, 1.0, np.clip(tail, np.finfo(float).tiny, 1.0))


def lift(hits: Array, drawn: Array, marked: Array, total: Array) -> Array:
    """How many times as often as by chance: the share among the drawn over the share in all."""
    return (np.asarray(hits) / drawn) / (np.asarray(marked) / total)


def discovery_rates(chances: Array, tested: int) -> Array:
    """The least false discovery rate at which each test would be kept (its q value).

    Parameters
    ----------
    chances : float array (test,)
        The p values that are at hand; those left out are larger than all that matter.
    tested : int
        How many tests were made in all, those left out among them.

    Returns
    -------
    float64 (test,)
        Never below ``chances``.

    Examples
    --------
    >>> discovery_rates(np.array([0.03, 0.001, 0.02]), 4).round(3).tolist()
    [0.04, 0.004, 0.04]
    """
    chances = np.asarray(chances, np.float64)
    if tested < len(chances):
        raise ValueError(f"expected at least {len(chances)} tests in all, found {tested}")
    order = np.argsort(chances, kind="stable")
    ratios = chances[order] * tested / np.arange(1, len(chances) + 1)
    least = np.minimum.accumulate(ratios[::-1])[::-1]
    out = np.empty_like(chances)
    out[order] = np.minimum(least, 1.0)
    return out
