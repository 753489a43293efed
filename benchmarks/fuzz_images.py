"""100,000 broken JPEGs: ``python -m benchmarks.fuzz_images [HOW MANY] [STATE]``.

Each must give pixels of the right shape or be rejected with a category, within a time and a
memory. A process of its own decodes them; one that dies or hangs is counted and replaced. What is
known is kept in STATE (``benchmarks/results/fuzz_images.state.json``) every 500 files, and a later
call goes on there. Every file follows from its number: `image_mutations.mutated`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.image_mutations import mutated
from benchmarks.recording import RESULTS, record
from benchmarks.watched_decoding import Answer, WatchedDecoder
from yfccdask.data.decoding import Cut

COUNT, EVERY = 100_000, 500
SECONDS, MEMORY_MB = 20.0, 512.0
CUT = Cut(32)


def make(number: int) -> bytes:
    return mutated(number)[1]


def load(path: Path) -> dict[str, Any]:
    """What an earlier call has found, or nothing yet."""
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    return {"next": 0, "outcomes": {}, "bad": [], "slowest_s": 0.0, "memory_MB": 0.0}


def save(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_suffix(".partial")
    with fresh.open("w") as stream:
        stream.write(json.dumps(state, indent=1))
        stream.flush()
        os.fsync(stream.fileno())
    fresh.replace(path)


def note(state: dict[str, Any], number: int, answer: Answer) -> None:
    """Add one answer to what is known."""
    outcomes = Counter(state["outcomes"])
    outcomes[answer.outcome] += 1
    state["outcomes"] = dict(outcomes)
    if answer.bad or answer.memory_mb > MEMORY_MB:
        state["bad"].append({"number": number, "done": mutated(number)[0], **asdict(answer)})
    state["slowest_s"] = max(state["slowest_s"], answer.seconds)
    state["memory_MB"] = max(state["memory_MB"], answer.memory_mb)
    state["next"] = number + 1


def fuzz(count: int, path: Path) -> dict[str, Any]:
    """Go on from what is known to `count` files."""
    state = load(path)
    decoder = WatchedDecoder(make, CUT, SECONDS)
    try:
        for number in range(state["next"], count):
            note(state, number, decoder.ask(number))
            if state["next"] % EVERY == 0:
                save(path, state)
    finally:
        decoder.close()
        save(path, state)
    return state


def main() -> None:
    """Fuzz, print, record; exit code 1 when a file was bad."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else RESULTS / "fuzz_images.state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    state = fuzz(count, path)
    print(json.dumps(state, indent=1))
    if state["next"] >= COUNT:
        print(record("fuzz_images", state))
        path.unlink()
    sys.exit(1 if state["bad"] else 0)


if __name__ == "__main__":
    main()
