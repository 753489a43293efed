"""Mosaics of first-layer filters, trained and as they were before."""

from __future__ import annotations

from typing import Any

from yfccdask.analysis.edge_share import initial_filters, trained_filters
from yfccdask.analysis.pictures import data_uri, filter_pictures, mosaic
from yfccdask.data.commits import Commit
from yfccdask.data.runs import Run

MOST_FILTERS = 400  # in one mosaic
MOSAIC_PIXELS = 1000  # least width of a mosaic in the file


def figure_positions(grid: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """The positions whose filters are shown: the centre, a corner, two edges, each once."""
    middle = (grid[0] // 2, grid[1] // 2)
    named = {
        "Centre": middle,
        "Top left corner": (0, 0),
        "Top edge": (0, middle[1]),
        "Right edge": (middle[0], grid[1] - 1),
    }
    places: dict[tuple[int, int], str] = {}
    for name, place in named.items():
        places.setdefault(place, name)
    return {name: place for place, name in places.items()}


def filter_mosaics(run: Run, commit: Commit) -> list[dict[str, Any]]:
    """Mosaics in order: the centre trained, the centre at the start, then other positions."""
    (name, centre), *others = figure_positions(run.geometry.layers[0].grid).items()
    initial = initial_filters(run, centre, MOST_FILTERS)
    figures = [
        _figure(f"{name}, trained", centre, trained_filters(run, commit, centre, MOST_FILTERS)),
        _figure(f"{name}, before training", centre, initial),
    ]
    for name, place in others:
        filters = trained_filters(run, commit, place, MOST_FILTERS)
        figures.append(_figure(f"{name}, trained", place, filters))
    return figures


def _figure(title: str, position: tuple[int, int], filters: Any) -> dict[str, Any]:
    pictures = filter_pictures(filters)
    width = mosaic(pictures).width
    picture = mosaic(pictures, zoom=max(1, -(-MOSAIC_PIXELS // width)), gap=3)
    return {
        "title": title,
        "position": position,
        "uri": data_uri(picture),
        "width": picture.width,
        "height": picture.height,
    }
