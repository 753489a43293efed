"""A `yfccdask` command in a process of its own, as a person types it, and what it took."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.ingest_kills import kill_tree

PAUSE = 0.1  # seconds between two looks


@dataclass
class Session:
    """What a command said (--json), and what its processes took from their start to their end.

    ``marks`` are the most memory in MB that the client has had, and the largest of all others.
    """

    said: dict[str, Any]
    seconds: float
    processor_seconds: float
    marks: dict[str, int]


def watched(*words: str) -> Session:
    """Run a command to its end."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        process = psutil.Popen(command_line(*words), stdout=out)
        marks, spent = {"client": 0, "worker": 0}, {}
        while process.poll() is None:
            for each in with_children(process):
                place = "client" if each.pid == process.pid else "worker"
                mark, spent_there = _looked_at(each)
                marks[place] = max(marks[place], mark)
                spent[each.pid] = max(spent_there, spent.get(each.pid, 0.0))
            time.sleep(PAUSE)
        _refuse_failed(process.returncode, words)
        out.seek(0)
        return Session(json.loads(out.read()), time.monotonic() - began, sum(spent.values()), marks)


def killed(*words: str, when: Callable[[], bool]) -> int:
    """Kill a command and all processes below it with kill -9; how many there were, 0 if none."""
    process = subprocess.Popen(command_line(*words), stdout=subprocess.DEVNULL)
    while not when():
        if process.poll() is not None:
            return 0
        time.sleep(0.01)
    return kill_tree(process)


def command_line(*words: str) -> list[str]:
    """A command with one worker whose output is JSON."""
    return [sys.executable, "-m", "yfccdask", *words, "--workers", "1", "--json"]


def with_children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _looked_at(process: psutil.Process) -> tuple[int, float]:
    """Memory's high-water mark in MB and processor seconds so far; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        marks = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        times = process.cpu_times()
        return (marks[0] // 1000 if marks else 0), times.user + times.system
    except (psutil.NoSuchProcess, OSError):
        return 0, 0.0


def _refuse_failed(code: int, words: tuple[str, ...]) -> None:
    if code:
        raise SystemExit(f"expected `yfccdask {words[0]}` to end well, found exit code {code}")
