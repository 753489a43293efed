"""Progress of a run as a widget in a notebook."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from yfccdask.data.plain_texts import escaped
from yfccdask.training.control.html_status import BAD, layer_colour, rate_text

try:
    import ipywidgets
except ModuleNotFoundError:  # only notebooks need it
    ipywidgets = None

Event = dict[str, Any]
SAID = 4  # last lines below the bars


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel, and can show widgets."""
    if ipywidgets is None or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return getattr(shell, "kernel", None) is not None


def show_in_notebook(widget: Any) -> None:
    """Display a widget below the cell that runs."""
    sys.modules["IPython"].display.display(widget)


class WidgetDisplay:
    """Turns a run's events into bars, one for each layer, and a few lines below them.

    Attributes
    ----------
    widget : ipywidgets.VBox
        To be displayed; it is updated from whichever thread gives the events.
    """

    def __init__(self) -> None:
        self.bars: list[Any] = []
        self.texts: list[Any] = []
        self.images: list[int] = []
        self.said: deque[str] = deque(maxlen=SAID)
        self.words = ipywidgets.HTML()
        self.widget = ipywidgets.VBox([self.words])

    def __call__(self, event: Event) -> None:
        """Show an event."""
        shown = getattr(self, f"_{event.get('event', 'connect')}", None)
        if shown is not None:
            shown(event)

    def _connect(self, event: Event) -> None:
        self._say(f"scheduler {event['scheduler']}, {event['workers']} workers")

    def _start(self, event: Event) -> None:
        self._begin(event["visits"], [0] * len(event["visits"]))

    def _attach(self, event: Event) -> None:
        layers = event["layers"]
        self._begin([each["of"] for each in layers], [each["blocks"] for each in layers])
        self._say(f"{event['run']}: {event['state']} on {event['workers']} workers")

    def _resume(self, event: Event) -> None:
        self._begin(event["visits"], event["done"])
        self._say(f"going on from commit {event['commit']} at tick {event['tick']}")

    def _begin(self, visits: list[int], done: list[int]) -> None:
        self.images = [0] * len(visits)
        style = [{"bar_color": layer_colour(n)} for n in range(1, len(visits) + 1)]
        self.bars = [
            ipywidgets.IntProgress(
                value=blocks, max=of, description=f"layer {number}", style=style[number - 1]
            )
            for number, (blocks, of) in enumerate(zip(done, visits, strict=True), start=1)
        ]
        self.texts = [ipywidgets.HTML() for _ in visits]
        pairs = zip(self.bars, self.texts, strict=True)
        self.widget.children = (*(ipywidgets.HBox(pair) for pair in pairs), self.words)

    def _block(self, event: Event) -> None:
        number, terms = event["layer"] - 1, len(event["sparsity"])
        bar = self.bars[number]
        bar.value += 1
        self.images[number] += event["images"]
        objective = (sum(event["reconstruction"]) + sum(event["sparsity"])) / terms
        text = f"{bar.value:,} of {bar.max:,} blocks, objective {objective:.4g}"
        if event["seconds"]:
            text += f", {rate_text(self.images[number] / event['seconds'])} images/s"
        self.texts[number].value = text

    def _commit(self, event: Event) -> None:
        self._say(f"commit {event['number']} after tick {event['tick']}")

    def _warning(self, event: Event) -> None:
        self._say(f"warning: {event['text']}", bad=True)

    def _lost(self, event: Event) -> None:
        self._say(f"lost: {event['text']}", bad=True)

    def _pause(self, event: Event) -> None:
        self._say(f"paused at tick {event['tick']}; yfccdask.attach(...).resume() goes on")

    def _unpause(self, event: Event) -> None:
        self._say(f"going on at tick {event['tick']}")

    def _end(self, event: Event) -> None:
        failed = event["reason"] == "failed"
        self._say(f"{event['reason']} {event.get('text', '')}".rstrip(), bad=failed)

    def _say(self, text: str, bad: bool = False) -> None:
        colour = f" style='color:{BAD}'" if bad else ""
        self.said.append(f"<div{colour}>{escaped(text)}</div>")
        self.words.value = "".join(self.said)
