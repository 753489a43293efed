"""What every benchmark writes beside its figures: the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from yfccdask.backend import blas_description
from yfccdask.training.provenance import versions

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_GB": round(memory / 1e9, 1),
        "system": platform.platform(),
    }


def record(name: str, figures: dict[str, Any]) -> Path:
    """Write a benchmark's figures to ``benchmarks/results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    whole = {**figures, "machine": machine(), "versions": versions(), "blas": blas_description()}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return path
