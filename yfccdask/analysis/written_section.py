"""What `encode` and `export` have written elsewhere, in the report."""

from __future__ import annotations

import json

from yfccdask.analysis.results import Result, read_result
from yfccdask.analysis.sections import Section, fragment
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run

EXPLANATION = """\
A trained network is used by letting it look at images and writing down how strongly each unit
answers: these numbers, its activations, are what a classifier or a search would start from. The
network itself can be handed on too.
"""


def section(run: Run, commit: Commit) -> Section | None:
    """The latest activations and the latest export of a run; None where there is neither."""
    rows = [row for name in ("encode", "export") if (row := _row(run, name))]
    if not rows:
        return None
    body = fragment("written.html", rows=rows, commit=commit.number)
    return Section("written", "Taken out of this run", EXPLANATION, body)


def _row(run: Run, command: str) -> dict[str, str] | None:
    result = read_result(run, command)
    if result is None:
        return None
    made = {"encode": _activations, "export": _network}[command](result)
    return {**made, "commit": str(result.commit["number"])}


def _activations(result: Result) -> dict[str, str]:
    summary = json.loads((result.path / "summary.json").read_text(encoding="utf-8"))
    layers, rate = ", ".join(map(str, summary["layers"])), summary["images_per_second"]
    pace = f", at {rate:,.0f} images per second" if rate else ""
    what = f"activations of layer {layers} for {summary['images']:,} images"
    return {"what": f"{what} ({summary['bytes']:,} bytes{pace})", "path": summary["path"]}


def _network(result: Result) -> dict[str, str]:
    torch = " and as a PyTorch module" if result.parameters["torch"] else ""
    return {"what": f"the network as safetensors{torch}", "path": result.parameters["out"]}
