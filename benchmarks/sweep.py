"""What makes edges appear: ``python -m benchmarks.sweep``, a table for docs/learning.md.

Trains 2 x 2 positions of 96 units on 18,900 colour crops of the sample photographs, once per
setting, and prints the share of units that are edges.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.edges import crops
from benchmarks.recording import record
from yfccdask.analysis.edge_share import edge_shares
from yfccdask.config import load_config
from yfccdask.training.start import train

CONFIG = Path(__file__).with_name("sweep.yaml")
SETTINGS = [  # input deviation, rate, floor of the whitening
    (0.3, 0.01, 0.1),
    (0.2, 0.005, 0.1),
    (0.1, 0.005, 0.1),
    (0.1, 0.02, 0.1),
    (0.1, 0.005, 0.3),
    (0.05, 0.007, 0.01),
    (0.05, 0.007, 0.1),
    (0.05, 0.007, 0.2),
    (0.05, 0.007, 0.5),
    (0.03, 0.007, 0.2),
]


def main() -> None:
    """Train with every setting; print and record the shares."""
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        store = crops(folder, load_config(CONFIG).images.size, 3, 18_900)
        for number, (deviation, rate, floor) in enumerate(SETTINGS):
            changes = [
                f"layers.0.input_deviation={deviation}",
                f"layers.0.rate={rate}",
                f"preprocessing.whitening.floor={floor}",
            ]
            run = train(load_config(CONFIG, changes), store, folder / f"run-{number}")
            share = edge_shares(run).trained.share
            rows.append({"deviation": deviation, "rate": rate, "floor": floor, "edges": share})
            print(f"| {deviation} | {rate} | {floor} | {share:.0%} |", flush=True)
    print(record("sweep", {"runs": rows}))


if __name__ == "__main__":
    main()
