"""Mutated rows through both metadata parsers: ``python -m benchmarks.fuzz_metadata``.

Every row must become, through the compiled parser and the plain one, the same row or a reject of
the same reason. Batches are numbered; what was checked is kept in ``--state``, so that a call that
was stopped goes on. A batch that fails is written beside it, and named.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path
from typing import Any

from benchmarks.recording import record
from tests.data.metadata.made_rows import json_lines, made_lines
from tests.data.metadata.mutations import mutated
from tests.data.metadata.oracle import as_batch, parsed
from yfccdask.data.durable import write_text
from yfccdask.data.metadata.block_parsing import parse_block
from yfccdask.data.metadata.layouts import BY_COLUMNS, JSON_LINES, Layout
from yfccdask.data.metadata.rejects import WORDS

ROWS = 1000
LAYOUTS = [*BY_COLUMNS.values(), JSON_LINES]


def batch_of(number: int) -> tuple[list[bytes], Layout]:
    """The lines of a batch; JSON every fourth time."""
    layout = LAYOUTS[number % len(LAYOUTS)]
    if layout is JSON_LINES:
        lines = json_lines(ROWS, number, dirt=0.2)
    else:
        lines = made_lines(ROWS, number, dirt=0.2, layout=layout)
    return mutated(lines, random.Random(number)), layout


def difference(lines: list[bytes], layout: Layout) -> str:
    """What the two parsers disagree on; "" if nothing."""
    batch, outcomes = parse_block(b"\n".join(lines) + b"\n", layout)
    rows, reasons = parsed(lines, layout)
    found = [WORDS[outcome] for outcome in outcomes.tolist()]
    if found != reasons:
        pairs = enumerate(zip(found, reasons, strict=True))
        return next(f"line {n}: {a} / {b}" for n, (a, b) in pairs if a != b)
    if batch.num_rows + sum(map(bool, found)) != len(lines):
        return "rows in are not rows out and rejects"
    wanted = as_batch(rows)
    return ", ".join(n for n in wanted.schema.names if not batch[n].equals(wanted[n]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--state", type=Path, default=Path("fuzz_metadata.json"))
    options = parser.parse_args()
    state: dict[str, Any] = {"batches": 0, "rows": 0, "rejects": 0, "failures": [], "seconds": 0.0}
    if options.state.exists():
        state = json.loads(options.state.read_text())
    while state["rows"] < options.rows:
        begun, number = time.perf_counter(), state["batches"]
        lines, layout = batch_of(number)
        found = difference(lines, layout)
        if found:
            options.state.with_suffix(f".batch-{number}").write_bytes(b"\n".join(lines))
            state["failures"].append({"batch": number, "difference": found})
        state["rejects"] += sum(map(bool, parsed(lines, layout)[1]))
        state["batches"], state["rows"] = number + 1, state["rows"] + len(lines)
        state["seconds"] += time.perf_counter() - begun
        write_text(options.state, json.dumps(state))
    print(json.dumps(state, indent=1))
    record("fuzz_metadata", state)
    if state["failures"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
