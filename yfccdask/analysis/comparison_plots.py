"""Curves of two runs in one plot each, as Bokeh draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.embed import components
from markupsafe import Markup

from yfccdask.analysis.curve_plots import MOST_POINTS, empty_plot, is_logarithmic, smoothed
from yfccdask.data.events import Event

COLOURS = ("#0f766e", "#b45309")  # of the first run and of the second
TERMS = ("reconstruction", "sparsity")
Pair = tuple[Sequence[Event], Sequence[Event]]


def paired_plots(blocks: dict[int, Pair]) -> tuple[str, dict[int, list[Markup]]]:
    """One script, and every layer's plots' places in the page, from both runs' blocks."""
    plots = {
        (number, term): _term_plot(pair, term) for number, pair in blocks.items() for term in TERMS
    }
    if not plots:
        return "", {}
    script, places = components(list(plots.values()))
    divided = dict(zip(plots, places, strict=True))
    return script, {number: [Markup(divided[number, term]) for term in TERMS] for number in blocks}


def _term_plot(pair: Pair, term: str) -> Any:
    curves = [np.concatenate([np.asarray(each[term], float) for each in part]) for part in pair]
    kind = "log" if is_logarithmic(np.concatenate(curves)) else "linear"
    title = f"{term.capitalize()}{' (logarithmic axis)' if kind == 'log' else ''}"
    plot = empty_plot(title, "mini-batches", kind)
    for values, colour in zip(curves, COLOURS, strict=True):
        steps, wide = np.arange(len(values)), smoothed(values, len(values) // 40)
        shown = slice(None, None, max(1, len(values) // MOST_POINTS))
        plot.line(steps[shown], values[shown], color=colour, alpha=0.2, line_width=1)
        plot.line(steps[shown], wide[shown], color=colour, line_width=2)
    return plot
