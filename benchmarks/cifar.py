"""Has it learned something? ``python -m benchmarks.cifar [FOLDER] [PART ...]``

Trains three layers on CIFAR-10's photographs without their labels, then asks how many labels of
unseen photographs a linear classifier gets right on raw pixels, on random weights of the same
network, and on what each layer has learned; and what in the configuration matters for that.

Parts: networks, study, second, again, chains, pictures; all where none is named. What is done is
kept in FOLDER (``cifar-data`` by default), network by network: started again, it goes on where it
was. The figures are also recorded in ``benchmarks/results/cifar.json``. ``again`` and ``chains``
train layers above those of ``networks``, in memory.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.cifar_again import (
    AGAIN,
    Again,
    Below,
    judged_again,
    layer_facts,
    lower_layers,
    projections,
)
from benchmarks.cifar_chains import CHAINS, Chain, judged_chain
from benchmarks.cifar_data import Split, part_of, split
from benchmarks.cifar_features import (
    normalised_responses,
    probe_network,
    probe_pixels,
    probe_thinned,
)
from benchmarks.cifar_pictures import draw
from benchmarks.cifar_study import NETWORKS, SECOND, STUDY, Variant
from benchmarks.cifar_tables import tables
from benchmarks.recording import record
from yfccdask.config import Config, load_config
from yfccdask.data import BlockStore
from yfccdask.data.digests import digest
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.errors import Diverged, RunError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import resume, train

CONFIG = Path(__file__).with_name("cifar.yaml")
PARTS = {"networks": NETWORKS, "study": STUDY, "second": SECOND}
ABOVE: dict[str, Mapping[str, Again | Chain]] = {"again": AGAIN, "chains": CHAINS}
FIGURES = "figures.json"
KNOWN = (*PARTS, *ABOVE, "pictures")
EMBEDDED = ClusterRequest(workers=1)


def configuration(variant: Variant) -> Config:
    """The configuration of a variant: the first layers of ``cifar.yaml``, changed."""
    config = load_config(CONFIG, variant.changes)
    return config.model_copy(update={"layers": config.layers[: variant.layers]})


def trained(config: Config, store: BlockStore, path: Path) -> Run:
    """The run at ``path``: trained, gone on with, or finished there already."""
    if not path.exists():
        return train(config, store, path, cluster=EMBEDDED)
    run = open_run(path)
    if run.config != config:
        raise RunError(f"{path}: expected a run of today's configuration, found another: remove it")
    if run.events("commit") and run.commit().finished:
        return run
    return resume(run, cluster=EMBEDDED)


def judged(variant: Variant, data: tuple[Split, Split], path: Path) -> dict[str, Any]:
    """Train a variant and probe it; a divergence is a result, too."""
    store = part_of(data[0], variant.images)
    try:
        run = trained(configuration(variant), store, path)
    except Diverged as error:
        shutil.rmtree(path)
        return {**variant.described, "diverged": str(error).splitlines()[0]}
    found = {"trained": probe_network(run, *data, initial=False)}
    if variant.initial:
        found["random"] = probe_network(run, *data, initial=True)
    if variant.normalised:
        found["normalised"] = probe_network(run, *data, initial=False, make=normalised_responses)
    layers = range(1, variant.layers + 1)
    steps = [run.curves(layer).sizes["mini_batch"] for layer in layers]
    return {**variant.described, "probe": found, "mini_batches": steps, "digest": digest(run).whole}


def go_on(part: str, folder: Path, data: tuple[Split, Split], figures: dict[str, Any]) -> None:
    """Judge the variants of a part that aren't recorded yet, recording each as it ends."""
    known = figures.setdefault(part, {})
    for name, variant in PARTS[part].items():
        former = known.get(name, {})
        if all(former.get(key) == value for key, value in variant.described.items()):
            continue
        began = time.monotonic()
        path = folder / f"run-{part}-{re.sub('[^a-z0-9.]+', '-', name.lower())}"
        known[name] = judged(variant, data, path)
        known[name]["seconds"] = round(time.monotonic() - began)
        if part != "networks":  # these are kept, to look at
            shutil.rmtree(path, ignore_errors=True)
        keep(folder, figures)
        print(line_of(name, known[name]), flush=True)


def go_above(part: str, folder: Path, data: tuple[Split, Split], figures: dict[str, Any]) -> None:
    """Train layers above those of the networks again, and judge them, as `go_on` does."""
    known, networks = figures.setdefault(part, {}), Below(folder, data)
    for name, variant in ABOVE[part].items():
        below = digest(networks.run(variant.below[0])).whole
        former, asked = known.get(name, {}), {**variant._asdict(), "above": below}
        if all(former.get(key) == value for key, value in asked.items()):
            continue
        judge: Any = judged_again if isinstance(variant, Again) else judged_chain
        known[name] = {**asked, **judge(variant, networks.of(variant.below))}
        keep(folder, figures)
        print(line_of(name, known[name]), flush=True)


def thin(folder: Path, data: tuple[Split, Split], figures: dict[str, Any]) -> None:
    """Probe as few responses of lower layers, and numbers nobody trained, as the top layer has."""
    run = open_run(folder / "run-networks-seed-0")
    if figures.get("thinned", {}).get("of") == digest(run).whole:
        return
    count, lower = run.config.layers[-1].units, lower_layers(run, data)
    table = probe_thinned(run, *data, count)
    figures["thinned"] = {"of": digest(run).whole, "responses": count, "probe": table}
    figures["thinned"] |= {"untrained": projections(lower), **layer_facts(lower)}
    keep(folder, figures)


def keep(folder: Path, figures: dict[str, Any]) -> None:
    """Keep what is known so far, to go on from, and record it."""
    write_text(folder / FIGURES, json.dumps(figures, indent=1) + "\n")
    record("cifar", figures)


def line_of(name: str, row: dict[str, Any]) -> str:
    """What became of a network, in a line."""
    if "diverged" in row:
        return f"{name}: diverged"
    parts = []
    for weights, table in row["probe"].items():
        scores = {layer: score for layer, score in table.items() if isinstance(score, dict)}
        shares = (f"{layer} {score['test']:.1f}%" for layer, score in scores.items())
        parts.append(f"{weights} {', '.join(shares)}")
    return f"{name}: {'; '.join(parts)}"


def main(arguments: list[str]) -> None:
    """Do the parts that are wanted (all by default), in the folder that is named."""
    wanted = [name for name in arguments if name in KNOWN]
    folders = [name for name in arguments if name not in wanted]
    if len(folders) > 1:
        raise SystemExit(f"expected a folder and any of {', '.join(KNOWN)}")
    folder = Path(*folders) if folders else Path("cifar-data")
    data = split(folder, "train"), split(folder, "test")
    file = folder / FIGURES
    figures: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if "pixels" not in figures:
        figures["pixels"] = probe_pixels(*data)
        keep(folder, figures)
    for part in PARTS:
        if not wanted or part in wanted:
            go_on(part, folder, data, figures)
    for part in ABOVE:
        if not wanted or part in wanted:
            go_above(part, folder, data, figures)
    if not wanted or "again" in wanted:
        thin(folder, data, figures)
    print(*tables(figures), sep="\n\n")
    if not wanted or "pictures" in wanted:
        draw([open_run(path) for path in sorted(folder.glob("run-networks-*"))])


if __name__ == "__main__":
    main(sys.argv[1:])
