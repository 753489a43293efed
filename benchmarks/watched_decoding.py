"""Decoding in a process of its own, watched: its time, its memory and whether it survives."""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.image_mutations import seeds
from yfccdask.data.decoding import Cut, Rejected, decode
from yfccdask.data.decoding.rejections import CATEGORIES


@dataclass(frozen=True)
class Answer:
    """What became of one file: "decoded", a category, or what went wrong."""

    outcome: str
    detail: str
    seconds: float
    memory_mb: float
    bad: bool


class WatchedDecoder:
    """A process that decodes what it is sent, and is ended when it takes too long.

    Parameters
    ----------
    make : callable
        Makes the bytes of a file from what is sent; a function of a module.
    cut : Cut
        What to cut.
    patience : float
        Seconds that one file may take.
    """

    def __init__(self, make: Callable[..., bytes], cut: Cut, patience: float):
        self.make, self.cut, self.patience = make, cut, patience
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.line, theirs = spawn.Pipe()
        given = (theirs, self.make, self.cut)
        self.process = spawn.Process(target=_serve, args=given, daemon=True)
        self.process.start()
        theirs.close()
        if not self.line.poll(120) or self.line.recv() != "ready":
            raise RuntimeError("expected the decoding process to start within 120 s")

    def ask(self, item: object) -> Answer:
        """Decode one file there; a process that dies or hangs is an answer too."""
        self.line.send(item)
        try:
            if self.line.poll(self.patience):
                answer: Answer = self.line.recv()
                return answer
            outcome = "hung"
        except (EOFError, OSError):
            outcome = "crashed"
        self.close()
        detail = f"exit code {self.process.exitcode}"
        self._start()
        return Answer(outcome, detail, self.patience, 0.0, True)

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.line.close()


def _serve(line: Connection, make: Callable[..., bytes], cut: Cut) -> None:
    warnings.simplefilter("ignore")  # Pillow's about hostile EXIF and sizes
    decode(seeds()[0], "warm", Cut(32))
    idle = _peak()
    line.send("ready")
    while True:
        item = line.recv()
        content = make(item)
        _forget_peak()
        start = time.perf_counter()
        outcome, detail, bad = judge(content, cut)
        seconds = time.perf_counter() - start
        line.send(Answer(outcome, detail, seconds, _peak() - idle, bad))


def judge(content: bytes, cut: Cut) -> tuple[str, str, bool]:
    """Decode a file: what came of it, detail, and whether that must not be."""
    shape = (cut.crops, cut.size, cut.size, cut.channels)
    try:
        images = decode(content, "id", cut).images
    except Rejected as why:
        return why.category, why.reason, why.category not in CATEGORIES
    except BaseException as error:
        return type(error).__name__, str(error)[:200], True
    wrong = images.shape != shape or images.dtype != np.uint8
    return ("wrong pixels", f"{images.shape}", True) if wrong else ("decoded", "", False)


def _forget_peak() -> None:
    """Let Linux count the peak of this process anew."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Peak resident memory of this process since the last `_forget_peak`, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6
