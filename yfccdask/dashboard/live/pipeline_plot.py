"""The pipeline as the paper's figure 3, drawn live: which layer trains or forwards which block."""

from __future__ import annotations

from typing import Any, NamedTuple

from bokeh.core.properties import value
from bokeh.models import ColumnDataSource, HoverTool, Range1d

from yfccdask.dashboard.live.component import Component, as_columns, set_data, set_range
from yfccdask.dashboard.live.plot_style import FONT, INK, calm_figure, waiting_label
from yfccdask.dashboard.live.readings import Reading
from yfccdask.training.control.html_status import layer_colour

TITLE = "Pipeline: what every tick trains and forwards"
TICKS_SHOWN, HEIGHT = 20, 250
COLUMNS = ("x", "y", "text", "colour", "alpha", "outline", "what", "copies")
MOST_BLOCKS, MOST_LETTERS = 2, 5  # in a cell, and of each of their numbers


class Cell(NamedTuple):
    """One block in one copy of a layer, at one tick."""

    tick: int
    row: str
    block: int
    layer: int
    trains: bool
    ended: bool
    renewed: bool


def rows_of(layers: int) -> list[str]:
    """The plot's rows, from the image upwards: every layer's two instances but the top one's.

    Examples
    --------
    >>> rows_of(2)
    ['1 trains', '1 forwards', '2 trains']
    """
    names = [f"{n} {what}" for n in range(1, layers + 1) for what in ("trains", "forwards")]
    return names[:-1]


def cells_of(ticks: list[dict[str, Any]]) -> list[Cell]:
    """All cells of some ticks: a layer that trains on a block has it from all layers below.

    A layer that has finished is its own copy: there is nothing to renew.
    """
    found = []
    for tick in ticks:
        number, ended = tick["number"], tick["ended"] is not None
        trained = {visit[0] for visit in tick["visits"]}
        for layer, _, block in tick["visits"]:
            found.append(Cell(number, f"{layer + 1} trains", block, layer + 1, True, ended, False))
            for below in range(layer):
                renewed = below in tick["renewed"] and below in trained
                name = f"{below + 1} forwards"
                found.append(Cell(number, name, block, below + 1, False, ended, renewed))
    return found


def merged(cells: list[Cell]) -> list[tuple[Cell, list[int]]]:
    """Cells with the blocks that share a place: a layer may forward one for each layer above."""
    places: dict[tuple[int, str], tuple[Cell, list[int]]] = {}
    for cell in cells:
        places.setdefault((cell.tick, cell.row), (cell, []))[1].append(cell.block)
    return list(places.values())


class PipelinePlot(Component):
    """The last ticks along, the layers' instances upwards, the block's number in each cell.

    What is under way is pale; an outline says that the copy which forwards was renewed.
    """

    def __init__(self) -> None:
        self.source = ColumnDataSource({name: [] for name in COLUMNS})
        self.root = calm_figure(
            TITLE, HEIGHT, x_range=Range1d(-0.5, TICKS_SHOWN - 0.5), y_range=["1 trains"],
            x_axis_label="tick",
        )  # fmt: skip
        self.waiting = waiting_label(self.root)
        self._draw()

    def _draw(self) -> None:
        shown = self.root.rect(
            "x", "y", width=0.92, height=0.82, source=self.source,
            fill_color="colour", fill_alpha="alpha", line_color="outline", line_width=2,
        )  # fmt: skip
        text = {"text_align": "center", "text_baseline": "middle"}
        look = {"text_font_size": "10px", "text_color": INK, "text_font": value(FONT)}
        self.root.text("x", "y", "text", source=self.source, **text, **look)
        tips = [("tick", "@x"), ("", "@what"), ("copy", "@copies")]
        self.root.add_tools(HoverTool(renderers=[shown], tooltips=tips))
        self.root.ygrid.grid_line_color = None
        self.root.xaxis.ticker.desired_num_ticks = 8

    def fill(self) -> None:
        """Stay as high as the rows: numbers in higher cells are no easier to read."""

    def update(self, reading: Reading) -> None:
        """Show the last ticks."""
        history = reading.history
        self.waiting.visible = not (history and history["ticks"])
        if not history or not history["ticks"]:
            set_data(self.source, {name: [] for name in COLUMNS})
            return
        rows = rows_of(reading.layers)
        if self.root.y_range.factors != rows:
            self.root.y_range.factors = rows
            self.root.height = max(150, 70 + 34 * len(rows))
        ticks = history["ticks"][-TICKS_SHOWN:]
        cells = [shown_cell(*each) for each in merged(cells_of(ticks))]
        set_data(self.source, as_columns(COLUMNS, cells))
        last = ticks[-1]["number"]
        first = max(0, last - TICKS_SHOWN + 1)
        set_range(self.root.x_range, first - 0.5, first + TICKS_SHOWN - 0.5)


def shown_cell(cell: Cell, blocks: list[int]) -> tuple[Any, ...]:
    """A cell's values, in the order of `COLUMNS`."""
    colour = layer_colour(cell.layer)
    strength = (0.75 if cell.trains else 0.4) if cell.ended else 0.15
    return (
        cell.tick,
        cell.row,
        cell_text(blocks),
        colour,
        strength,
        INK if cell.renewed else colour,
        f"layer {cell.row} block {', '.join(map(str, blocks))}",
        "renewed before this tick" if cell.renewed else "as it was",
    )


def cell_text(blocks: list[int]) -> str:
    """The blocks of a cell, below each other, as far as there is room.

    Examples
    --------
    >>> cell_text([7, 123456])
    '7\\n…3456'
    """
    texts = [str(block) for block in blocks[:MOST_BLOCKS]]
    short = [t if len(t) <= MOST_LETTERS else f"…{t[1 - MOST_LETTERS :]}" for t in texts]
    return "\n".join(short)
