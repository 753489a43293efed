"""Makes docs/pictures/lineage.png: ``PYTHONPATH=. python docs/make_lineage_picture.py``.

Draws what ``python -m benchmarks.lineage`` has recorded in ``benchmarks/results/lineage.json``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import NumeralTickFormatter
from bokeh.resources import INLINE

from tests.dashboard.browser import chromium, open_plots
from yfccdask.dashboard.live.plot_style import calm_figure

DOCS = Path(__file__).parent
RESULTS = DOCS.parent / "benchmarks" / "results" / "lineage.json"
SIDES = {"scheduler": "#0f766e", "fullest worker": "#b45309"}
PLOTS = (("Tasks that are remembered", (1, 3), 1), ("Memory of the process, MB", (2, 4), 1e6))
WIDTH, HEIGHT = 900, 260


def plot(samples: np.ndarray, title: str, numbers: tuple[int, int], unit: float) -> Any:
    """One plot against blocks; ``samples`` are (sample, size), the first size is blocks."""
    shown = calm_figure(title, HEIGHT, x_axis_label="blocks trained")
    for number, (name, colour) in zip(numbers, SIDES.items(), strict=True):
        values = samples[:, number] / unit
        shown.line(samples[:, 0], values, legend_label=name, color=colour, line_width=1.5)
    shown.y_range.start = 0
    shown.xaxis.formatter = NumeralTickFormatter(format="0,0")
    shown.legend.border_line_color = None
    shown.add_layout(shown.legend[0], "right")
    return shown


def make() -> None:
    """Draw both, and take a picture."""
    samples = np.array(json.loads(RESULTS.read_text())["samples"], float)
    page = file_html(column(*(plot(samples, *each) for each in PLOTS), width=WIDTH), INLINE)
    with tempfile.TemporaryDirectory() as folder, chromium(WIDTH + 20, 2 * HEIGHT + 140) as browser:
        path = Path(folder) / "lineage.html"
        path.write_text(page, encoding="utf-8")
        open_plots(browser, path.as_uri())
        browser.save_screenshot(str(DOCS / "pictures" / "lineage.png"))


if __name__ == "__main__":
    make()
