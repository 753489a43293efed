"""Visits of chunks that lie in the host's memory, which come to the device group by group.

The groups are those of a chunk that lies on the device, so every bit is the same.
"""

from __future__ import annotations

from typing import Any

from yfccdask.numerics.device.streaming import Hosted, Passage
from yfccdask.numerics.device.visits import (
    DeviceForwarding,
    DeviceTraining,
    flat_positions,
)
from yfccdask.numerics.fields import Pieces
from yfccdask.numerics.states import State

Array = Any


class StreamedTraining(DeviceTraining):
    """A chunk's visit: all mini-batches of a group while it is on the device."""

    def __init__(self, state: Hosted, pieces: Pieces, *how: Any) -> None:
        super().__init__(state.state, pieces, *how)
        self.number, self.made = -1, state.like(self.library)
        target = State(*map(flat_positions, self.made))
        self.passage = Passage(self.library, self.state, state.ready, target, self.groups())

    def begin(self, group: slice) -> None:
        """Turn to the next group, once it has arrived."""
        self.number += 1
        self.turn_to(group, self.passage.arrive(self.number))

    def end(self) -> None:
        """Send the group back."""
        super().end()
        self.passage.depart(self.number)

    def new(self) -> Hosted:
        """The chunk's next version, the last of which is on its way."""
        return Hosted(self.passage.end(), self.made)


class StreamedForwarding(DeviceForwarding):
    """A chunk's forward pass: its weights and alphas only, which need not go back."""

    def __init__(self, state: Hosted, pieces: Pieces, *how: Any) -> None:
        super().__init__(state.state, pieces, *how)
        self.number, nothing = -1, dict.fromkeys(State._fields)
        source = State(**{**nothing, "weights": self.weights, "alpha": self.alphas})
        self.passage = Passage(self.library, source, state.ready, None, self.groups())

    def begin(self, group: slice) -> None:
        """Turn to the next group, once it has arrived."""
        self.number += 1
        own = self.passage.arrive(self.number)
        self.turn_to(group, own.weights, own.alpha)

    def end(self) -> None:
        """The group's slot is free again."""
        self.passage.depart(self.number)
        if self.number == len(self.passage.groups) - 1:
            self.passage.end()
