"""When a layer starts: after the one below, after some of its blocks, or on a plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from yfccdask.config import Config, Pipeline


def starts_now(pipeline: Pipeline, done: int, visits: int, objectives: Mapping[int, float]) -> bool:
    """Whether the layer above starts at this tick.

    Parameters
    ----------
    pipeline : Pipeline
    done : int
        Visits that the layer below was given at earlier ticks, of ``visits`` in all.
    objectives : mapping
        Its objective by visit (from 0); of the last visits, some may not be known yet.

    References
    ----------
    Ni et al. 2015, section 3.2 (1,000 blocks; when the objective has stabilised).
    """
    if done >= visits:
        return True
    if pipeline.start == "plateau":
        return on_plateau(pipeline, done, objectives)
    return pipeline.start == "after_blocks" and done >= pipeline.after_blocks


def on_plateau(pipeline: Pipeline, done: int, objectives: Mapping[int, float]) -> bool:
    """Whether the objective was level, as far as blocks of ``plateau_lag`` ticks ago show."""
    window, seen = pipeline.plateau_window, done - pipeline.plateau_lag + 1
    if seen < 2 * window:
        return False
    earlier = mean(objectives, seen - 2 * window, seen - window)
    later = mean(objectives, seen - window, seen)
    return earlier - later < pipeline.plateau_improvement * abs(earlier)


def mean(values: Mapping[int, float], start: int, stop: int) -> float:
    """The mean of the values from ``start`` to ``stop``, whatever order they came in."""
    return math.fsum(values[number] for number in range(start, stop)) / (stop - start)


def still_needed(pipeline: Pipeline, done: int) -> int:
    """The first visit whose objective a later decision can look at."""
    return done - pipeline.plateau_lag + 1 - 2 * pipeline.plateau_window


def earliest_starts(config: Config, visits: Sequence[int]) -> list[int]:
    """The tick of every layer's first visit; with plateaus, the first at which it could be.

    ``visits`` are the layers' numbers of visits.
    """
    rule, starts = config.pipeline, [0]
    plateau = 2 * rule.plateau_window + rule.plateau_lag - 1
    waits = {"after_blocks": rule.after_blocks, "plateau": plateau}
    for number in visits[:-1]:
        starts.append(starts[-1] + min(number, waits.get(rule.start, number)))
    return starts
