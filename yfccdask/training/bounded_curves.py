"""Curves of any length in a bounded number of points, and marks on them: what a page draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_BINS = 480  # points of a curve
MOST_MARKS = 60  # marks of one kind on it
SMOOTHED_SHARE = 40  # of a curve's points are averaged into one by `Curve.smoothed`
Bin = tuple[float, float, float]


@dataclass
class Curve:
    """Values in bins of equal width: mean, least and largest of each.

    Every bin holds ``width`` values. Once there are ``most`` bins, neighbours are joined and the
    width doubles. A curve that is begun again from an earlier value forgets what came after
    it.

    Examples
    --------
    >>> curve = Curve(most=4)
    >>> curve.add(0, [6.0, 4.0, 2.0, 2.0, 1.0])
    >>> curve.width, curve.bins
    (2, [(5.0, 4.0, 6.0), (2.0, 2.0, 2.0)])
    """

    most: int = MOST_BINS
    width: int = 1
    bins: list[Bin] = field(default_factory=list)
    rest: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Values that were added."""
        return len(self.bins) * self.width + len(self.rest)

    def add(self, first: int, values: Iterable[float]) -> None:
        """Add values, the first of which is number ``first`` (from 0)."""
        if first < self.count:
            self._forget_from(first)
        for value in values:
            self.rest.append(float(value))
            if len(self.rest) == self.width:
                self._close_bin()

    def _close_bin(self) -> None:
        rest, self.rest = self.rest, []
        self.bins.append((sum(rest) / len(rest), min(rest), max(rest)))
        if len(self.bins) == 2 * (self.most // 2):
            pairs = zip(self.bins[::2], self.bins[1::2], strict=True)
            self.bins = [_joined(*pair) for pair in pairs]
            self.width *= 2

    def _forget_from(self, first: int) -> None:
        """Forget the values from one on; part of a bin is taken to have been its mean."""
        kept, part = divmod(first, self.width)
        if kept < len(self.bins):
            self.rest = [self.bins[kept][0]] * part
            del self.bins[kept:]
        else:
            del self.rest[part:]

    def middles(self) -> list[float]:
        """The numbers of the values in the bins' middles."""
        return [(number + 0.5) * self.width for number in range(len(self.bins))]

    def smoothed(self) -> list[float]:
        """The running mean of the bins' means, shorter at both ends."""
        means = [mean for mean, _, _ in self.bins]
        reach = max(1, len(means) // SMOOTHED_SHARE)
        sums = [0.0]
        for mean in means:
            sums.append(sums[-1] + mean)
        spans = [(max(0, n - reach), min(len(means), n + reach + 1)) for n in range(len(means))]
        return [(sums[stop] - sums[start]) / (stop - start) for start, stop in spans]


def _joined(one: Bin, other: Bin) -> Bin:
    return (one[0] + other[0]) / 2, min(one[1], other[1]), max(one[2], other[2])


@dataclass
class Marks:
    """Places on a curve, in rising order; of too many, every second one is let go of.

    Attributes
    ----------
    every : int
        One of so many is kept.
    """

    most: int = MOST_MARKS
    every: int = 1
    places: list[int] = field(default_factory=list)
    seen: int = 0

    def add(self, place: int) -> None:
        """Add a place; those beyond it are forgotten: the curve was begun again before them."""
        self.places = [old for old in self.places if old < place]
        if self.seen % self.every == 0:
            self.places.append(place)
        self.seen += 1
        if len(self.places) > self.most:
            self.places = self.places[::2]
            self.every *= 2
