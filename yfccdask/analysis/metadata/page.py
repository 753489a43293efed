"""The statistics as one HTML file that needs no network; users' texts are escaped everywhere."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from yfccdask.analysis.metadata.figures import MetadataFigures
from yfccdask.analysis.metadata.hostile_texts import displayable
from yfccdask.analysis.metadata.plots import all_plots
from yfccdask.data.durable import write_text

TEMPLATE = "metadata_page.html"
PAPER: dict[str, float] = {  # Thomee et al. 2016, section 2, and the release's own counts
    "photos": 99_206_564,
    "videos": 793_436,
    "users": 581_099,
    "users_among_photos": 578_268,
    "geotagged": 48_469_829,
    "share_own_title": 0.76,
    "share_automatic_title": 0.20,
    "share_no_title": 0.04,
    "words_per_title": 3.08,
    "share_described": 0.32,
    "words_per_description": 22.52,
    "share_tagged": 0.69,
    "tags_per_tagged_photo": 7.07,
}
LABELS = {
    "photos": "photos",
    "videos": "videos",
    "users": "users",
    "users_among_photos": "users among photos",
    "geotagged": "with a position",
    "share_own_title": "photos with a title of their own",
    "share_automatic_title": "with an automatic title, such as IMG_0520",
    "share_no_title": "without a title",
    "words_per_title": "words per title",
    "share_described": "with a description",
    "words_per_description": "words per description",
    "share_tagged": "with tags",
    "tags_per_tagged_photo": "tags per tagged photo",
    "different_tags": "different tags",
    "with_device": "photos with a capture device",
    "different_devices": "different devices",
    "first_taken": "first taken",
    "last_taken": "last taken",
    "first_uploaded": "first uploaded",
    "last_uploaded": "last uploaded",
}


def write_page(figures: MetadataFigures, path: Path, name: str) -> Path:
    """Write the page of a set called ``name``; an older file is replaced as a whole."""
    plots = all_plots(figures.tables)
    script, divisions = components(plots) if plots else ("", {})
    context = {
        "name": displayable(name),
        "summary": figures.summary,
        "rows": figure_rows(figures.summary),
        "licences": [
            row | {"licence": displayable(row["licence"])}
            for row in figures.tables["licences"].to_dict("records")
        ],
        "plots": {key: Markup(text) for key, text in divisions.items()},
        "script": Markup(script),
        "bokeh": Markup(Resources(mode="inline", components=["bokeh"]).render()),
    }
    write_text(path, _render(context))
    return path


def figure_rows(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Label, this set's figure and the whole release's, for a table."""
    return [
        (label, shown(key, summary[key]), shown(key, PAPER.get(key)))
        for key, label in LABELS.items()
    ]


def shown(key: str, value: Any) -> str:
    """A figure in words; "" for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value[:10]
    if key.startswith("share"):
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if "_per_" in key else f"{value:,}"


def _render(context: dict[str, Any]) -> str:
    text = resources.files("yfccdask.analysis.metadata").joinpath(TEMPLATE).read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    return environment.from_string(text).render(context)
