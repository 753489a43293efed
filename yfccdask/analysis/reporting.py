"""``report``: what a run has learned, as one HTML file that needs no network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import xarray as xr
from bokeh.embed import components
from bokeh.resources import Resources
from distributed import Client
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from yfccdask.analysis.curve_plots import layer_plots
from yfccdask.analysis.edge_share import edge_shares, initial_filters, trained_filters
from yfccdask.analysis.gallery import layer_gallery, photo_credits, shown_rows
from yfccdask.analysis.pictures import data_uri, filter_pictures, mosaic
from yfccdask.analysis.strongest_pass import stored_strongest_images, strongest_images
from yfccdask.config import config_to_yaml
from yfccdask.dashboard.summary import blocks_by_layer, images_per_second, objective_ends
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.events import Event
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import StoreError
from yfccdask.training.clusters import ClusterRequest

TEMPLATE = "report_template.html"
MOST_FILTERS = 400  # in one mosaic
MOSAIC_PIXELS = 1000  # least width of a mosaic in the file
Context = dict[str, Any]


def report(
    run: Run | str | Path,
    *,
    store: BlockStore | str | Path | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    k: int = 5,
) -> Path:
    """Write ``RUN/report.html``: curves, filters, and the photographs that units like.

    Parameters
    ----------
    run : Run or path
    store : BlockStore or path, optional
        Where photographs are looked for; by default where the run found them. Where it is not
        there any more the report has no photographs, and says so.
    client : distributed.Client, optional
    cluster : ClusterRequest, optional
        Where to compute, as in `yfccdask.training.start.train`.
    k : int
        Photographs per unit.

    Returns
    -------
    Path
        Of the file: one, with everything in it. It replaces an older one as a whole.

    Raises
    ------
    RunError
        If the run has no commit yet.
    StoreError
        If ``store`` is given and is not one, or its images are not the configuration's.
    """
    run = open_run(run)
    commit = run.commit()
    found, note = find_store(run, store)
    if found is None:
        strongest = stored_strongest_images(run)
    else:
        strongest = strongest_images(run, found, k=k, client=client, cluster=cluster)
    context = _context(run, commit, strongest) | _photographs(run, commit, found, strongest)
    path = run.path / "report.html"
    write_text(path, _render({**context, "store_note": note}))
    return path


def find_store(
    run: Run, store: BlockStore | str | Path | None
) -> tuple[BlockStore | None, str | None]:
    """The store to take photographs from, and what is to be said of it in the report."""
    trained_on = run.provenance.get("store", {})
    if store is not None:
        found = open_store(store)
        same = found.digest == trained_on.get("digest")
        return found, None if same else "They are not from the store that this run was trained on."
    path = str(trained_on.get("path") or "/unknown")
    try:
        found = open_store(path)
    except StoreError as error:
        return None, f"The store was not found where it was at training ({error})."
    if found.digest != trained_on.get("digest"):
        return None, f"At {path} there is now another store than the one trained on."
    return found, None


def _context(run: Run, commit: Commit, strongest: dict[int, xr.Dataset]) -> Context:
    """All of the report but its photographs."""
    events = run.events()
    blocks = blocks_by_layer(events)
    script, plots = _plots(blocks)
    return {
        "name": run.path.resolve().name,
        "facts": _facts(run, commit, _seconds(events)),
        "layers": [
            _layer_row(run, number, blocks.get(number, []), strongest.get(number))
            for number in range(1, commit.layers + 1)
        ],
        "configured": len(run.geometry.layers),
        "weights": sum(layer.weights for layer in run.geometry.layers[: commit.layers]),
        "trained_on": run.provenance.get("store", {}),
        "state": _state(events),
        "mosaics": _mosaics(run, commit),
        "filters_shown": min(MOST_FILTERS, run.geometry.layers[0].units),
        "edges": edge_shares(run, commit=commit),
        "window": run.geometry.layers[0].window[0],
        "plots": plots,
        "plot_script": Markup(script),
        "bokeh": Markup(Resources(mode="inline", components=["bokeh"]).render()),
        "configuration": config_to_yaml(run.config),
        "passed": next((int(part.attrs["images"]) for part in strongest.values()), None),
    }


def _photographs(
    run: Run, commit: Commit, store: BlockStore | None, strongest: dict[int, xr.Dataset]
) -> Context:
    """The galleries and the credits; empty where there is no store."""
    if store is None:
        return {"galleries": [], "credits": [], "crops": 1, "sources": None}
    galleries = [
        layer_gallery(run, commit, store, number, dataset) for number, dataset in strongest.items()
    ]
    rows = shown_rows([card for gallery in galleries for card in gallery.cards])
    attributes = store.attributes()
    return {
        "galleries": galleries,
        "credits": photo_credits(store, rows) if rows else [],
        "crops": attributes.get("crops_per_image") or 1,
        "sources": attributes.get("request", {}).get("files"),
    }


def _facts(run: Run, commit: Commit, seconds: float) -> dict[str, str]:
    """What identifies the run, as text."""
    versions = run.provenance.get("versions", {})
    store = run.provenance.get("store", {})
    manifest = hashlib.sha256((commit.path / "manifest.json").read_bytes()).hexdigest()
    images = run.config.images
    return {
        "Started": str(run.provenance.get("created", "unknown")),
        "Duration": duration(seconds),
        "Images": f"{store.get('images', 0):,} of {images.size} × {images.size} pixels, "
        f"{images.channels} channel{'s' if images.channels > 1 else ''}",
        "Machine": str(run.provenance.get("machine", "unknown")),
        "Versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "Commit": f"{commit.number} (manifest {manifest})",
        "Store": f"{store.get('path', 'unknown')} (digest {store.get('digest', 'unknown')})",
    }


def _seconds(events: Sequence[Event]) -> float:
    """How long all sessions of a run took together."""
    steps = ((before["time"], event) for before, event in pairwise(events))
    return sum(event["time"] - before for before, event in steps if event["event"] != "start")


def duration(seconds: float) -> str:
    """A length of time in its two largest units.

    >>> duration(3725)
    '1 h 2 min'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _state(events: Sequence[Event]) -> str:
    """How the run's last session ended, in a few words."""
    words = {"start": "not finished", "diverged": "its training diverged", "end": "finished"}
    kinds = [event["event"] for event in events if event["event"] in words]
    return words[kinds[-1]] if kinds else words["start"]


def _layer_row(
    run: Run, number: int, blocks: Sequence[Event], strongest: xr.Dataset | None
) -> Context:
    layer = run.geometry.layers[number - 1]
    return {
        "number": number,
        "kind": "dense" if layer.dense else "local",
        "grid": layer.grid,
        "positions": layer.positions,
        "window": f"{layer.window[0]} × {layer.window[1]} × {layer.input.maps}",
        "inputs": layer.inputs,
        "units": layer.units,
        "weights": layer.weights,
        "objective": objective_ends(blocks),
        "pace": images_per_second(blocks),
        "alive": None if strongest is None else float(strongest["alive"].mean()),
    }


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


def _mosaics(run: Run, commit: Commit) -> list[Context]:
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


def _figure(title: str, position: tuple[int, int], filters: Any) -> Context:
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


def _plots(blocks: dict[int, list[Event]]) -> tuple[str, dict[int, dict[str, Markup]]]:
    """One script, and the plots' places in the page per layer and name."""
    plots = {number: layer_plots(events) for number, events in blocks.items()}
    flat = {(number, name): plot for number, named in plots.items() for name, plot in named.items()}
    if not flat:
        return "", {}
    script, places = components(list(flat.values()))
    divided = dict(zip(flat, places, strict=True))
    return script, {
        number: {name: Markup(divided[number, name]) for name in named}
        for number, named in plots.items()
    }


def percent(share: float) -> str:
    """A share in per cent: two digits where it is small, none lost near 100.

    >>> percent(0.873), percent(0.0004)
    ('87 %', '0.04 %')
    """
    if share in (0.0, 1.0) or 0.1 <= share <= 0.99:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.4g} %"


def _significant(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _counted(items: Sequence[Any], name: str) -> str:
    return f"{len(items):,} {name}{'' if len(items) == 1 else 's'}"


def _render(context: Context) -> str:
    text = resources.files("yfccdask.analysis").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "percent": percent,
        "significant": _significant,
        "counted": _counted,
        "thousands": lambda number: f"{number:,}",
    }
    return environment.from_string(text).render(context)
