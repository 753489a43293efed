"""Draws ``docs/pictures/pipeline.svg``: ``python docs/make_pipeline_picture.py``.

The state machine itself is asked, for three small layers of ten blocks: what is drawn is what it
answers, tick by tick.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from yfccdask.config import load_config
from yfccdask.training.pipeline.messages import (
    Begun,
    End,
    Instruction,
    Settle,
    Settled,
    Tick,
    TickDone,
)
from yfccdask.training.pipeline.state_machine import StateMachine

BLOCKS = 10
SETTINGS = [
    "pipeline.start=after_blocks",
    "pipeline.after_blocks=4",
    "pipeline.sync_every=3",
    "layers.0.passes=1",
    "checkpoints.every_blocks=6",
    "checkpoints.every_seconds=null",
    "checkpoints.most_share=null",
]

LEFT, TOP, STEP, BOX, GAP = 118, 62, 54, 44, 10
ROW, LANE, HEIGHT = 108, 20, 46  # from row to row; a band of copies; a box
INK, FAINT, PAPER = "#1f2430", "#6b7280", "#ffffff"
LAYERS = ("#2f6fb7", "#c2610c", "#6d4aa8")
TINTS = ("#e8f1fb", "#fdeee0", "#efe9f9")
COPIES = (("#8fbce6", "#5a97d1"), ("#f5b883", "#e59450"))


@dataclass
class Band:
    """A copy of a layer, and the ticks that it feeds; ``final`` where the layer has finished."""

    layer: int
    taken: int
    colour: str
    final: bool = False
    ticks: list[int] = field(default_factory=list)


@dataclass
class Record:
    """What the machine said: its ticks, and where the run settled."""

    ticks: list[Tick]
    settled: list[Settle]

    @property
    def layers(self) -> int:
        return 1 + max(visit.layer for tick in self.ticks for visit in tick.visits)

    def ended(self, layer: int) -> int:
        """The tick before which a layer has finished."""
        own = (visit for tick in self.ticks for visit in tick.visits if visit.layer == layer)
        last = next(visit for visit in own if visit.last)
        return 1 + next(tick.number for tick in self.ticks if last in tick.visits)

    def bands(self) -> list[Band]:
        """Every copy once, with all ticks at which it feeds a layer above."""
        found: dict[tuple[int, int], Band] = {}
        for tick in self.ticks:
            for layer, taken in sorted(tick.copies.items()):
                if not any(visit.layer > layer for visit in tick.visits):
                    continue
                final = taken >= self.ended(layer)
                key = (layer, self.ended(layer) if final else taken)
                if key not in found:
                    shades = COPIES[layer]
                    number = sum(band.layer == layer for band in found.values())
                    colour = LAYERS[layer] if final else shades[number % len(shades)]
                    found[key] = Band(*key, colour, final)
                found[key].ticks.append(tick.number)
        return list(found.values())


def recorded() -> Record:
    """Drive the machine from the first event to the end; every tick takes a second."""
    config = load_config("tiny", SETTINGS)
    machine = StateMachine(config, [config.batching.data_block] * BLOCKS)
    record, clock = Record([], []), 0.0
    waiting: deque[Instruction] = deque(machine.handle(Begun(clock)))
    while not isinstance(told := waiting.popleft(), End):
        clock += 1.0
        if isinstance(told, Tick):
            record.ticks.append(told)
            costs = {visit.layer: 1.0 for visit in told.visits}
            waiting += machine.handle(TickDone(told.number, costs, clock))
        elif isinstance(told, Settle):
            record.settled.append(told)
            waiting += machine.handle(Settled(clock, 0.0 if told.commit else None))
    return record


def tick_x(tick: float) -> float:
    """The left edge of a tick's boxes."""
    return LEFT + tick * STEP


def seam_x(tick: int) -> float:
    """The middle of the gap before a tick."""
    return tick_x(tick) - GAP / 2


def row_y(layer: int, layers: int) -> float:
    """The upper edge of a layer's row; the image is at the bottom."""
    return TOP + (layers - 1 - layer) * ROW


def lane_y(layer: int, layers: int) -> float:
    """The upper edge of the band of a layer's copies, above its row."""
    return row_y(layer, layers) - (ROW - HEIGHT + LANE) / 2


def text(x: float, y: float, words: object, size: int = 12, **options: str) -> str:
    """A piece of text; its place is the middle of its baseline."""
    style = {"text-anchor": "middle", "fill": INK, "font-size": str(size)}
    style |= {name.replace("_", "-"): value for name, value in options.items()}
    return f"<text x='{x:g}' y='{y:g}' {attributes(style)}>{words}</text>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, **options: str) -> str:
    style = {"stroke": colour, "stroke-width": "2"}
    style |= {name.replace("_", "-"): value for name, value in options.items()}
    return f"<line x1='{x1:g}' y1='{y1:g}' x2='{x2:g}' y2='{y2:g}' {attributes(style)}/>"


def rectangle(x: float, y: float, width: float, height: float, **options: str) -> str:
    style = {name.replace("_", "-"): value for name, value in options.items()}
    size = f"width='{width:g}' height='{height:g}'"
    return f"<rect x='{x:g}' y='{y:g}' {size} {attributes(style)}/>"


def dot(x: float, y: float, radius: float, fill: str, stroke: str) -> str:
    colours = f"fill='{fill}' stroke='{stroke}' stroke-width='2'"
    return f"<circle cx='{x:g}' cy='{y:g}' r='{radius:g}' {colours}/>"


def attributes(style: dict[str, str]) -> str:
    return " ".join(f"{name}='{value}'" for name, value in style.items())


def arrow(x: float, bottom: float, top: float, colour: str) -> str:
    """From a band up to a box."""
    corners = f"M{x - 4:g} {top + 7:g} L{x:g} {top:g} L{x + 4:g} {top + 7:g} Z"
    shaft = line(x, bottom, x, top + 6, colour, stroke_width="1.5")
    return f"{shaft}<path d='{corners}' fill='{colour}'/>"


def drawn_labels(layers: int) -> Iterator[str]:
    """The rows' names."""
    for layer in range(layers):
        y = row_y(layer, layers) + HEIGHT / 2
        bold = {"text_anchor": "end", "font_weight": "bold"}
        yield text(LEFT - 20, y + 5, f"layer {layer + 1}", 15, fill=LAYERS[layer], **bold)
        if layer + 1 < layers:
            y = lane_y(layer, layers) + LANE / 2 + 4
            yield text(LEFT - 20, y, f"copies of {layer + 1}", 11, fill=FAINT, text_anchor="end")


def drawn_ticks(record: Record) -> Iterator[str]:
    """The numbers of the ticks."""
    yield text(LEFT - 20, TOP - 26, "tick", 12, fill=FAINT, text_anchor="end")
    for tick in record.ticks:
        yield text(tick_x(tick.number) + BOX / 2, TOP - 26, tick.number, 12, fill=FAINT)


def drawn_visits(record: Record, bands: list[Band]) -> Iterator[str]:
    """A box per visit: its block, and a chip for each copy that the block goes through."""
    for tick in record.ticks:
        for visit in tick.visits:
            x, y = tick_x(tick.number), row_y(visit.layer, record.layers)
            colours = {"fill": TINTS[visit.layer], "stroke": LAYERS[visit.layer]}
            yield rectangle(x, y, BOX, HEIGHT, rx="6", stroke_width="1.5", **colours)
            yield text(x + BOX / 2, y + 25, visit.block, 18, font_weight="bold")
            yield from drawn_chips(x, y, tick.number, visit.layer, bands)


def drawn_chips(x: float, y: float, tick: int, layer: int, bands: list[Band]) -> Iterator[str]:
    fed = [band for band in bands if band.layer < layer and tick in band.ticks]
    width = (BOX - 12 - 3 * (len(fed) - 1)) / max(1, len(fed))
    for number, band in enumerate(sorted(fed, key=lambda band: band.layer)):
        where = x + 6 + number * (width + 3)
        yield rectangle(where, y + HEIGHT - 12, width, 6, rx="2", fill=band.colour)


def drawn_band(band: Band, layers: int) -> Iterator[str]:
    """A copy: the moment at which it is taken, the ticks that it feeds, its name."""
    y, row = lane_y(band.layer, layers), row_y(band.layer, layers)
    left, right = seam_x(band.taken), tick_x(band.ticks[-1]) + BOX
    yield line(left, row + HEIGHT / 2, left, y + LANE / 2, band.colour, stroke_width="3")
    yield dot(left, row + HEIGHT / 2, 4, PAPER, band.colour)
    yield rectangle(left - 1.5, y, right - left + 1.5, LANE, rx="4", fill=band.colour)
    name = f"taken at {band.taken}"
    if band.final:
        name = f"layer {band.layer + 1} has finished: its own copy"
    colour = PAPER if band.final else INK
    yield text((left + right) / 2, y + 14, name, 11, fill=colour)


def drawn_arrows(band: Band, record: Record) -> Iterator[str]:
    """From a copy up to the layer that trains on what it gives, or to the next copy."""
    y, next_row = lane_y(band.layer, record.layers), row_y(band.layer + 1, record.layers)
    for tick in band.ticks:
        trained = {visit.layer for visit in record.ticks[tick].visits}
        above = next_row + HEIGHT
        if band.layer + 1 not in trained:
            above = lane_y(band.layer + 1, record.layers) + LANE
        yield arrow(tick_x(tick) + BOX / 2, y, above + 2, band.colour)


def drawn_starts(record: Record) -> Iterator[str]:
    """A flag where a layer starts, and a word where it has finished."""
    for layer in range(record.layers):
        own = [t.number for t in record.ticks if layer in {visit.layer for visit in t.visits}]
        y, colour = row_y(layer, record.layers), LAYERS[layer]
        words = {"fill": colour, "font_style": "italic"}
        if layer:
            x = tick_x(own[0]) - 7
            yield text(x, y + HEIGHT / 2 + 4, "starts", 12, text_anchor="end", **words)
        x = tick_x(own[-1]) + BOX + GAP + 4
        yield text(x, y + HEIGHT / 2 + 4, "finished", 12, text_anchor="start", **words)


def drawn_settling(record: Record) -> Iterator[str]:
    """A seam through all rows where nothing is under way, and whether it is committed."""
    bottom = row_y(0, record.layers) + HEIGHT
    for settle in record.settled:
        x = seam_x(settle.tick)
        dashes = {"stroke_dasharray": "3 4", "stroke_width": "1.5"}
        yield line(x, TOP - 18, x, bottom + 26, FAINT, **dashes)
        yield dot(x, bottom + 32, 6, INK if settle.commit else PAPER, INK)
        for number, words in enumerate(reasons(settle, record)):
            yield text(x, bottom + 54 + 14 * number, words, 11)


def reasons(settle: Settle, record: Record) -> list[str]:
    """Why a run settles, in a few words."""
    if not settle.commit:
        return ["settles:", "16 ticks"]
    if settle.layer_ended:
        (layer,) = (n for n in range(record.layers) if record.ended(n) == settle.tick)
        return ["commit:", f"{layer + 1} finished"]
    return ["commit:", "6 ticks are over"]


def drawn_legend(y: float) -> Iterator[str]:
    """What a box says."""
    words = {"text_anchor": "start", "fill": FAINT}
    yield rectangle(LEFT, y, 30, 30, rx="5", fill=TINTS[2], stroke=LAYERS[2])
    yield text(LEFT + 15, y + 16, "7", 13, font_weight="bold")
    yield rectangle(LEFT + 4, y + 21, 10, 5, rx="1.5", fill=COPIES[0][0])
    yield rectangle(LEFT + 16, y + 21, 10, 5, rx="1.5", fill=COPIES[1][0])
    said = "a visit: training on block 7, which came through these copies of the layers below"
    yield text(LEFT + 40, y + 19, said, 12, **words)
    x = LEFT + 540
    yield line(x, y + 24, x, y + 8, COPIES[0][1], stroke_width="3")
    yield dot(x, y + 24, 4, PAPER, COPIES[0][1])
    yield text(x + 14, y + 19, "a copy is taken, before the tick trains", 12, **words)
    x = LEFT + 800
    yield dot(x, y + 15, 6, INK, INK)
    yield text(x + 14, y + 19, "nothing is under way", 12, **words)


def picture(record: Record) -> str:
    """The whole drawing."""
    bands, layers = record.bands(), record.layers
    width = tick_x(record.ticks[-1].number + 1) + 70
    legend = row_y(0, layers) + HEIGHT + 90
    parts = [
        rectangle(0, 0, width, legend + 48, fill=PAPER),
        *drawn_labels(layers),
        *drawn_ticks(record),
        *drawn_settling(record),
        *(part for band in bands for part in drawn_band(band, layers)),
        *(part for band in bands for part in drawn_arrows(band, record)),
        *drawn_visits(record, bands),
        *drawn_starts(record),
        *drawn_legend(legend),
    ]
    size = f"viewBox='0 0 {width:g} {legend + 48:g}' width='{width:g}' height='{legend + 48:g}'"
    font = "font-family='Helvetica, Arial, sans-serif'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} {font}>"
    title = "<title>Three staggered layers: what trains at which tick, fed by which copies</title>"
    return "\n".join([head, title, *parts, "</svg>", ""])


if __name__ == "__main__":
    where = Path(__file__).with_name("pictures") / "pipeline.svg"
    where.write_text(picture(recorded()), encoding="utf-8")
