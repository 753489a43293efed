"""How far a run is, as HTML: for notebooks, and above the pages of the dashboard."""

from __future__ import annotations

from typing import Any

from yfccdask.data.plain_texts import escaped

GOOD, WAITING, BAD, INK, PALE = "#0f766e", "#b45309", "#be123c", "#334155", "#64748b"
STATE_COLOURS = {
    "running": GOOD, "finished": GOOD, "failed": BAD, "recovering": BAD,
    "paused": WAITING, "pausing": WAITING, "stopping": WAITING, "stopped": WAITING,
}  # fmt: skip
LAYER_COLOURS = ("#94a3b8", "#0f766e", "#b45309", "#4f46e5", "#be185d", "#0369a1", "#4d7c0f")
NO_RUN = (
    "<b>No run was trained on this scheduler yet.</b> Start one with "
    "<code>yfccdask train CONFIG --data STORE --run RUN --scheduler ADDRESS</code>, or in Python "
    "with <code>yfccdask.train(config, store, run, client=client)</code>."
)
BAR = (
    "<div style='background:#e2e8f0;border-radius:3px;height:8px;width:160px'>"
    "<div style='background:{colour};border-radius:3px;height:8px;width:{share:.1f}%'></div></div>"
)


def layer_colour(layer: int) -> str:
    """The colour of a layer (from 1); 0 stands for what is no layer's."""
    if layer == 0:
        return LAYER_COLOURS[0]
    return LAYER_COLOURS[1 + (layer - 1) % (len(LAYER_COLOURS) - 1)]


def rate_text(rate: float) -> str:
    """A number of three digits at least.

    Examples
    --------
    >>> rate_text(0.1234), rate_text(1452.3)
    ('0.123', '1,452')
    """
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def status_html(status: dict[str, Any]) -> str:
    """A run's state, place and progress as HTML; whatever people have written is escaped.

    ``status`` is what `yfccdask.training.control.controller.Controller` says.
    """
    if "run" not in status:
        return NO_RUN
    colour = STATE_COLOURS.get(status["state"], INK)
    badge = (
        f"<span style='background:{colour};color:white;border-radius:4px;padding:1px 8px'>"
        f"{escaped(status['state'])}</span>"
    )
    facts = f"{escaped(status['run'])} &nbsp; {status['workers']} workers"
    if status["tick"] is not None:
        facts += f" &nbsp; tick {status['tick']:,}"
    layers = "".join(map(layer_row, status["layers"]))
    store = f"<div style='color:{PALE}'>store {escaped(status['store'])}</div>"
    table = f"<table style='margin-top:6px;border-spacing:8px 2px'>{layers}</table>"
    return f"<div>{badge} &nbsp; {facts}</div>{store}{ending_html(status)}{table}"


def ending_html(status: dict[str, Any]) -> str:
    """Why a run failed; nothing for one that didn't."""
    text = (status.get("ended") or {}).get("text")
    return f"<div style='color:{BAD};margin-top:4px'>{escaped(text)}</div>" if text else ""


def layer_row(layer: dict[str, Any]) -> str:
    """A layer's progress as a row of a table."""
    share = 100 * layer["blocks"] / layer["of"] if layer["of"] else 0
    bar = BAR.format(colour=layer_colour(layer["layer"]), share=share)
    cells = [f"layer {layer['layer']}", bar, f"{layer['blocks']:,} of {layer['of']:,} blocks"]
    if layer["objective"] is not None:
        cells.append(f"objective {layer['objective']:.4g}")
    if layer["images_per_second"] is not None:
        cells.append(f"{rate_text(layer['images_per_second'])} images/s on average")
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
