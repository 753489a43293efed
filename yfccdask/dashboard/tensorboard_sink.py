"""A run's curves for TensorBoard, through TensorBoard's own writer."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from yfccdask.data.runs import Run, open_run
from yfccdask.errors import RunError

try:
    from tensorboard.summary import Writer
except ModuleNotFoundError:  # said where somebody asks for it
    Writer = None

Event = dict[str, Any]
TERMS = ("reconstruction", "sparsity")


class TensorBoardSink:
    """Writes a run's events as scalars; give it to ``on_event``, or `replay` a run into it.

    Each layer's objective, averaged over a block, by mini-batch; seconds of commits by number.
    A run that is resumed may write a mini-batch twice: TensorBoard shows the last.

    Parameters
    ----------
    folder : path
        TensorBoard's log directory for this run.

    Raises
    ------
    RunError
        If the package tensorboard isn't there.

    Examples
    --------
    >>> with TensorBoardSink("logs/run-1") as sink:  # doctest: +SKIP
    ...     run = yfccdask.train("demo", "blocks", "run-1", on_event=sink)
    >>> with TensorBoardSink("logs/run-0") as sink:  # doctest: +SKIP
    ...     sink.replay("run-0")
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if Writer is None:
            raise RunError(
                "expected the package tensorboard for its logs, found none: "
                "pip install 'yfccdask[tensorboard]'"
            )
        self.writer = Writer(os.fspath(folder))

    def __call__(self, event: Event) -> None:
        """Write what an event says, if it says anything in numbers."""
        if event.get("event") == "block":
            self._write_block(event)
        elif event.get("event") == "commit":
            self._write("commits/seconds", event["seconds"], event["number"], event["time"])

    def _write_block(self, event: Event) -> None:
        layer, first = f"layer {event['layer']}", event["first_mini_batch"]
        last = first + len(event["sparsity"]) - 1
        for term in TERMS:
            self._write(f"{layer}/{term}", float(np.mean(event[term])), last, event["time"])

    def _write(self, name: str, value: float, step: int, at: float) -> None:
        self.writer.add_scalar(name, value, step, wall_time=at)

    def replay(self, run: Run | str | Path) -> None:
        """Write all events of a run that is on disk."""
        for event in open_run(run).events():
            self(event)

    def close(self) -> None:
        """Write what is still to be written."""
        self.writer.close()

    def __enter__(self) -> TensorBoardSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
