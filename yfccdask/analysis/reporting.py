"""``report``: what a run has learned, as one HTML file that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr
from bokeh.resources import Resources
from distributed import Client
from markupsafe import Markup

from yfccdask.analysis.curve_plots import embedded_plots
from yfccdask.analysis.edge_share import edge_shares
from yfccdask.analysis.filter_figures import MOST_FILTERS, filter_mosaics
from yfccdask.analysis.findings_sections import (
    detectors_section,
    probes_section,
    words_section,
)
from yfccdask.analysis.gallery import layer_gallery, photo_credits, shown_rows
from yfccdask.analysis.optimal_section import section as optimal_section
from yfccdask.analysis.run_facts import facts_of, layer_row, state_of
from yfccdask.analysis.sections import Section, fragment
from yfccdask.analysis.stimulus_pages import section as stimuli_section
from yfccdask.analysis.strongest_pass import stored_strongest_images, strongest_images
from yfccdask.analysis.written_section import section as written_section
from yfccdask.config import config_to_yaml
from yfccdask.dashboard.summary import blocks_by_layer
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import Commit
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import StoreError
from yfccdask.training.clusters import ClusterRequest

Context = dict[str, Any]
SECTIONS: tuple[Callable[[Run, Commit], Section | None], ...] = (  # of all analyses, in order
    stimuli_section,
    optimal_section,
    words_section,
    detectors_section,
    probes_section,
    written_section,
)


def report(
    run: Run | str | Path,
    *,
    store: BlockStore | str | Path | None = None,
    client: Client | None = None,
    cluster: ClusterRequest | None = None,
    k: int = 5,
    photos: bool = True,
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
        Photographs per unit. A former pass over the same store that has as many is used again,
        whichever of its images that one looked at.
    photos : bool
        Whether photographs are shown.

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
        strongest = _former_pass(run, commit, found, k)
        strongest = strongest or strongest_images(run, found, k=k, client=client, cluster=cluster)
    if not photos:
        found, note = None, "They were left out on request."
    context = _context(run, commit, strongest) | _photographs(run, commit, found, strongest)
    path = run.path / "report.html"
    write_text(path, fragment("report.html", store_note=note, **context))
    return path


def _former_pass(run: Run, commit: Commit, store: BlockStore, k: int) -> dict[int, xr.Dataset]:
    """A former pass over any images of the store, if it has every layer and k images per unit."""
    found = stored_strongest_images(run, commit, store)
    enough = set(found) == set(range(1, commit.layers + 1))
    enough = enough and all(part.sizes["rank"] >= k for part in found.values())
    return {n: part.isel(rank=slice(k)) for n, part in found.items()} if enough else {}


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
    script, plots = embedded_plots(blocks)
    return {
        "name": run.path.resolve().name,
        "facts": facts_of(run, commit, events),
        "layers": [
            layer_row(run, number, blocks.get(number, []), strongest.get(number))
            for number in range(1, commit.layers + 1)
        ],
        "configured": len(run.geometry.layers),
        "weights": sum(layer.weights for layer in run.geometry.layers[: commit.layers]),
        "trained_on": run.provenance.get("store", {}),
        "state": state_of(events),
        "mosaics": filter_mosaics(run, commit),
        "filters_shown": min(MOST_FILTERS, run.geometry.layers[0].units),
        "edges": edge_shares(run, commit=commit),
        "window": run.geometry.layers[0].window[0],
        "plots": plots,
        "plot_script": Markup(script),
        "bokeh": Markup(Resources(mode="inline", components=["bokeh"]).render()),
        "sections": [part for make in SECTIONS if (part := make(run, commit))],
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
