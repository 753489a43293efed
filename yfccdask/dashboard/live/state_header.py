"""In words: which run, in which state, how far; and why it ended."""

from __future__ import annotations

from bokeh.models import Div

from yfccdask.dashboard.live.component import Component
from yfccdask.dashboard.live.plot_style import FONT, INK
from yfccdask.dashboard.live.readings import Reading
from yfccdask.training.control.html_status import NO_RUN, status_html


class StateHeader(Component):
    """The run's state, as `yfccdask.attach` shows it in a notebook."""

    def __init__(self) -> None:
        style = {"font-family": FONT, "font-size": "13px", "color": INK, "width": "100%"}
        self.root = Div(text=NO_RUN, styles=style, sizing_mode="stretch_width", disable_math=True)

    def update(self, reading: Reading) -> None:
        """Say how far the run is."""
        text = status_html(reading.run)
        if self.root.text != text:
            self.root.text = text
