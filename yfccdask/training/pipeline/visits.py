"""What each layer trains on, in which order and at what rate: the configuration alone says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from yfccdask.config import Config, Learning
from yfccdask.geometry import LayerGeometry
from yfccdask.numerics.local_visits import Objective, Rates


@dataclass(frozen=True)
class Visit:
    """One layer's training on one data block.

    ``layer``, ``sweep`` (the pass over the store) and ``block`` count from 0; ``first_step`` is the
    number of mini-batches that the layer has trained on before, of ``steps`` in all.
    """

    layer: int
    sweep: int
    block: int
    mini_batches: int
    first_step: int
    steps: int

    @property
    def first(self) -> bool:
        """Whether the layer starts with this visit."""
        return self.first_step == 0

    @property
    def last(self) -> bool:
        """Whether the layer has finished after this visit."""
        return self.first_step + self.mini_batches == self.steps


def block_order(seed: int, sweep: int, blocks: int) -> list[int]:
    """The order of the blocks in one pass: a permutation seeded by (seed, pass)."""
    return [int(block) for block in np.random.default_rng([seed, sweep]).permutation(blocks)]


def layer_visits(config: Config, layer: int, block_images: Sequence[int]) -> Iterator[Visit]:
    """Every visit of a layer in order; blocks shorter than a mini-batch are left out."""
    batches = [images // config.batching.mini_batch for images in block_images]
    passes = config.layers[layer].passes
    steps, step = passes * sum(batches), 0
    for sweep in range(passes):
        for block in block_order(config.seed, sweep, len(batches)):
            if batches[block]:
                yield Visit(layer, sweep, block, batches[block], step, steps)
                step += batches[block]


class Upcoming:
    """Visits that are given out one by one, and the one that comes after them.

    Attributes
    ----------
    ahead : Visit or None
        The next one, None at the end.

    Examples
    --------
    >>> upcoming = Upcoming(iter("ab"))
    >>> upcoming.ahead, next(upcoming), upcoming.ahead, next(upcoming), upcoming.ahead
    ('a', 'a', 'b', 'b', None)
    """

    def __init__(self, visits: Iterator[Visit]) -> None:
        self._rest = visits
        self.ahead = next(visits, None)

    def __next__(self) -> Visit:
        if self.ahead is None:
            raise StopIteration
        given, self.ahead = self.ahead, next(self._rest, None)
        return given


def visit_numbers(config: Config, block_images: Sequence[int]) -> list[int]:
    """Every layer's number of visits."""
    whole = sum(images >= config.batching.mini_batch for images in block_images)
    return [layer.passes * whole for layer in config.layers]


def unused_images(block_images: Sequence[int], mini_batch: int) -> int:
    """Images that no whole mini-batch of their block holds."""
    return sum(images % mini_batch for images in block_images)


def objective_of(learning: Learning) -> Objective:
    """A layer's objective in the units of its scaled input."""
    deviation = learning.input_deviation
    return Objective(learning.sparsity, learning.epsilon * deviation**2, learning.momentum)


def rates_of(learning: Learning, layer: LayerGeometry, visit: Visit) -> tuple[Rates, ...]:
    """The rates of a visit's mini-batches, falling linearly to 0 over all of the layer's steps.

    The weights' rate is in units of 1/sigma^2; alpha's is in units of (1 - momentum) / E||x||^2
    (alpha diverges first if its rate ignores the inputs' norm), with E||x||^2 = D sigma^2.
    """
    variance, calm = learning.input_deviation**2, 1 - learning.momentum
    first = Rates(
        learning.rate / variance,
        learning.offset_rate * calm,
        learning.alpha_rate * calm / (layer.inputs * variance),
    )
    left = [1 - (visit.first_step + step) / visit.steps for step in range(visit.mini_batches)]
    return tuple(Rates(*(rate * share for rate in first)) for share in left)
