"""What happened beside training: commits and what they took, losses, pauses, warnings."""

from __future__ import annotations

import html
import time
from typing import Any

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, DatetimeTickFormatter, Div, HoverTool

from yfccdask.dashboard.live.component import Component, set_data
from yfccdask.dashboard.live.plot_style import (
    FONT,
    INK,
    LOST,
    calm_figure,
    waiting_label,
)
from yfccdask.dashboard.live.readings import Reading
from yfccdask.dashboard.live.throughput import CLOCK, SHORTEST_SPAN
from yfccdask.data.plain_texts import plain_label

HEIGHT = 150
SHOWN = 14  # incidents in words, the newest first
LONGEST_TEXT = 240
COMMITS, LOSSES = ("time", "seconds", "number"), ("time", "text")
COMMIT_COLOUR = "#0f766e"
BAD = ("lost", "diverged", "warning")


class Incidents(Component):
    """Seconds of every commit, a red line for every loss, and the last ones in words."""

    def __init__(self) -> None:
        self.commits = ColumnDataSource({name: [] for name in COMMITS})
        self.losses = ColumnDataSource({name: [] for name in LOSSES})
        self.plot = calm_figure("Commits", HEIGHT, x_axis_type="datetime")
        self.waiting = waiting_label(self.plot, "no commit yet")
        self._draw()
        style = {"font-family": FONT, "font-size": "12px", "color": INK, "width": "100%"}
        self.words = Div(text="", styles=style, sizing_mode="stretch_width", disable_math=True)
        self.root = column(self.plot, self.words, sizing_mode="stretch_width")

    def _draw(self) -> None:
        plot = self.plot
        plot.segment("time", 0, "time", "seconds", source=self.commits, color=COMMIT_COLOUR)
        dots = plot.scatter("time", "seconds", source=self.commits, color=COMMIT_COLOUR, size=7)
        plot.vspan("time", source=self.losses, line_color=LOST, line_width=2)
        tips = [("commit", "@number"), ("seconds", "@seconds{0.00}")]
        plot.add_tools(HoverTool(renderers=[dots], tooltips=tips))
        plot.xaxis.formatter = DatetimeTickFormatter(**CLOCK)
        plot.yaxis.axis_label = "seconds"
        plot.y_range.start, plot.x_range.min_interval = 0, SHORTEST_SPAN
        plot.yaxis.ticker.desired_num_ticks = 3

    def update(self, reading: Reading) -> None:
        """Show the incidents that are kept."""
        incidents = reading.history["incidents"] if reading.history else []
        commits = [each for each in incidents if each["event"] == "commit"]
        losses = [each for each in incidents if each["event"] == "lost"]
        self.waiting.visible = not commits
        set_data(self.commits, columns_of(commits, COMMITS))
        set_data(self.losses, columns_of(losses, LOSSES))
        self.plot.title.text = commits_title(reading.run)
        text = incidents_html(incidents[: -SHOWN - 1 : -1])
        if self.words.text != text:
            self.words.text = text


def columns_of(events: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Fields of events as columns; times in milliseconds."""
    data = {name: [event[name] for event in events] for name in names}
    return data | {"time": [1000 * seconds for seconds in data["time"]]}


def commits_title(run: dict[str, Any]) -> str:
    """How many commits and losses, and what commits cost."""
    lost = f"workers lost: {run.get('lost', 0)}"
    if not run.get("commit"):
        return f"Commits: none yet; {lost}"
    share = run.get("commit_share")
    cost = "" if share is None else f", {100 * share:.1f} % of this session's time"
    return f"Commits: the last is number {run['commit']['number']}{cost}; {lost}"


def incidents_html(incidents: list[dict[str, Any]]) -> str:
    """Incidents as a table: time of day, kind and words, which are escaped."""
    rows = []
    for event in incidents:
        at = time.strftime("%H:%M:%S", time.localtime(event["time"]))
        colour = LOST if event["event"] in BAD else INK
        cells = (at, event["event"], words_of(event))
        text = "".join(
            f"<td style='vertical-align:top;padding-right:12px'>{html.escape(cell)}</td>"
            for cell in cells
        )
        rows.append(f"<tr style='color:{colour}'>{text}</tr>")
    return f"<table>{''.join(rows)}</table>"


def words_of(event: dict[str, Any]) -> str:
    """What there is to say of an incident, in one plain line.

    Examples
    --------
    >>> words_of({"event": "commit", "number": 3, "tick": 47, "seconds": 0.5})
    'number 3 after tick 47, 0.50 s'
    >>> words_of({"event": "end", "reason": "failed", "text": "disk full"})
    'failed: disk full'
    """
    kind, text = event["event"], str(event.get("text", ""))
    if kind == "commit":
        text = f"number {event['number']} after tick {event['tick']}, {event['seconds']:.2f} s"
    elif kind == "resume":
        text = f"from commit {event['commit']} at tick {event['tick']}"
    elif kind in ("pause", "unpause"):
        text = f"at tick {event['tick']}"
    elif kind == "end":
        text = f"{event['reason']}: {text}" if text else event["reason"]
    return plain_label(text, LONGEST_TEXT)
