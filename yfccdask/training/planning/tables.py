"""The plan's tables as headings and rows of text, for the terminal and for a notebook."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yfccdask.geometry import Layout

Table = tuple[list[str], list[list[str]]]


def size_text(count: float) -> str:
    """Bytes in decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 1000 or unit == "PB":
            break
        size /= 1000
    return f"{size:.4g} {unit}"


def time_text(seconds: float) -> str:
    """Seconds in the unit that a person would use."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length or unit == "s":
            return f"{seconds / length:.3g} {unit}"
    raise AssertionError


def html_table(table: Table) -> str:
    """A table for a notebook."""
    heads, rows = table
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_list(lines: Iterable[str]) -> str:
    """Lines for a notebook."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def network_table(layers: Sequence[Any], total: Callable[[str], int]) -> Table:
    """Positions, windows, weights, bytes and operations of every layer, the total last."""
    heads = ["layer", "input", "window, stride", "positions", "D", "K", "weights", "bytes"]
    heads += ["with momenta", "Mflop/image", "output, after LCN"]
    return heads, [*(_layer_row(layer) for layer in layers), _total_row(total)]


def _layer_row(layer: Any) -> list[str]:
    stride = "" if layer.kind == "dense" else f", {layer.stride}"
    same = layer.output == layer.normalised
    return [
        f"{layer.layer} {layer.kind}",
        layer.input,
        f"{layer.window[0]} x {layer.window[1]}{stride}",
        f"{layer.grid[0]} x {layer.grid[1]} = {layer.positions:,}",
        f"{layer.D:,}",
        f"{layer.K:,}",
        f"{layer.weights:,}",
        size_text(layer.weight_bytes),
        size_text(layer.state_bytes),
        f"{layer.flop_per_image / 1e6:,.1f}",
        layer.output if same else f"{layer.output} -> {layer.normalised}",
    ]


def _total_row(total: Callable[[str], int]) -> list[str]:
    return [
        "total",
        "",
        "",
        f"{total('positions'):,}",
        "",
        "",
        f"{total('weights'):,}",
        size_text(total("weight_bytes")),
        size_text(total("state_bytes")),
        f"{total('flop_per_image') / 1e6:,.1f}",
        "",
    ]


def readings_table(readings: Sequence[Any]) -> Table:
    """Other readings of the paper, with their weights."""
    heads = ["other readings", "how", "weights per layer", "weights"]
    rows = [
        [each.name, each.text, " + ".join(f"{n:,}" for n in each.weights), f"{each.total:,}"]
        for each in readings
    ]
    return heads, rows


WORK = ("weights", "optimiser", "copies", "fields", "staged", "temporaries")
ON_HOST = ("slots", "hosted")  # where weights are streamed through a GPU
BEYOND = ("scratch", "moved")


def work_table(rows: Sequence[Any], layouts: Sequence[Layout]) -> Table:
    """A row per layer with its busiest worker's figures, and how many workers have chunks of it."""
    streams = any(row.hosted for row in rows)
    sizes = (*WORK, *(ON_HOST if streams else ()), *BEYOND)
    heads = ["layer", "chunks", "workers", "chunks each", *sizes, "tasks", "seconds"]
    return heads, [_work_row(rows, n, layout, sizes) for n, layout in enumerate(layouts, 1)]


def _work_row(rows: Sequence[Any], number: int, layout: Layout, sizes: Sequence[str]) -> list[str]:
    mine = [row for row in rows if row.layer == number]
    busy = [row for row in mine if row.chunks]

    def most(name: str) -> Any:
        return max(getattr(row, name) for row in mine)

    return [
        f"{number} {'dense' if layout.layer.dense else 'local'}",
        cut_text(layout),
        f"{len(busy)}",
        f"{most('chunks')}",
        *(size_text(most(name)) for name in sizes),
        f"{sum(row.tasks for row in mine):,}",
        f"{most('seconds'):.3g}",
    ]


def cut_text(layout: Layout) -> str:
    """How a layer is cut, in a few words."""
    if layout.layer.dense:
        return f"{len(layout.leaves)} of {layout.leaves[0]} leaves"
    count = f"{len(layout.rows)} x {len(layout.columns)}"
    return f"{count} of {layout.rows[0]} x {layout.columns[0]} positions"


def totals_table(plan: Any) -> Table:
    """The whole run: memory, time, scheduler and disk."""
    site, disk = plan.site, plan.disk
    limit = "no limit" if site.memory is None else f"of {size_text(site.memory)}"
    days = "unknown: give --images or --data" if plan.days is None else _days_text(plan)
    unknown = "unknown: give --images or --data"
    rows = [
        ["workers", f"{site.workers}, {limit} each"],
        ["projected peak", f"{size_text(plan.peak)}, of which {size_text(plan.idle)} when idle"],
        *([["on the host", f"{size_text(plan.host_peak)} of weights"]] if plan.host_peak else []),
        ["tasks a block", f"{plan.tasks:,}"],
        ["moved a block", size_text(plan.moved)],
        ["seconds a block", f"{plan.seconds:.3g}"],
        ["whole run", days],
        ["scheduler", f"{plan.scheduler_share:.1%} of one core"],
        ["disk: store", unknown if disk.store is None else size_text(disk.store)],
        ["disk: checkpoints", size_text(disk.checkpoints)],
        ["disk: scratch", size_text(disk.scratch)],
        ["disk: activations", unknown if disk.activations is None else size_text(disk.activations)],
    ]
    return ["run", ""], rows


def _days_text(plan: Any) -> str:
    return f"{time_text(plan.days * 86_400)} for {plan.images:,} images, all layers and passes"
