"""The tables of docs/what-it-learns.md, from ``benchmarks/results/cifar.json``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Figures = dict[str, Any]
WEIGHTS = ("random", "trained")


def tables(figures: Figures) -> Iterator[str]:
    """Every table that there are figures for, as Markdown."""
    makers = {
        "networks": networks_table,
        "study": study_table,
        "second": second_table,
        "stacked": stacked_table,
        "thinned": thinned_table,
    }
    for part, make in makers.items():
        if figures.get(part):
            yield "\n".join(make(figures))


def thinned_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of as many responses of every layer as the top layer has."""
    thinned = figures["thinned"]
    table = thinned["probe"]
    yield f"| {thinned['responses']} responses of | {' | '.join(map(_title, table))} |"
    yield "|---" * (len(table) + 1) + "|"
    cells = " | ".join(map(_percent, table.values()))
    yield f"| trained | {cells} |"


def networks_table(figures: Figures) -> Iterator[str]:
    """Test accuracy by weights and layer: the mean over seeds, and the lowest to the highest."""
    rows = list(figures["networks"].values())
    layers = list(rows[0]["probe"]["trained"])
    yield f"| right labels | features | random weights | trained ({len(rows)} seeds) | gain |"
    yield "|---|---|---|---|---|"
    pixels = figures["pixels"]["pixels"]
    yield f"| raw pixels | {pixels['features']:,} | {pixels['test']:.1f}% | | |"
    for layer in layers:
        random, trained = ([row["probe"][w][layer]["test"] for row in rows] for w in WEIGHTS)
        count = rows[0]["probe"]["trained"][layer]["features"]
        gain = _mean(trained) - _mean(random)
        shares = f"{_spread(random)} | **{_spread(trained)}** | {gain:+.1f}"
        yield f"| {_title(layer)} | {count:,} | {shares} |"


def study_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of the first layer alone with one thing changed, beside as it is."""
    base = _layer(figures["study"]["as it is"], "trained")
    yield "| one layer, changed | features | random weights | trained | change |"
    yield "|---|---|---|---|---|"
    for name, row in figures["study"].items():
        yield _study_row(name, row, "trained", base)
        if "normalised" in row.get("probe", {}):
            yield _study_row(f"{name}, after its LCN", row, "normalised", base)


def _study_row(name: str, row: Figures, weights: str, base: Figures) -> str:
    if "diverged" in row:
        return f"| {name} | | | diverged | |"
    found = _layer(row, weights)
    shared = weights == "trained" and "random" in row["probe"]
    random = f"{_layer(row, 'random')['test']:.1f}%" if shared else ""
    change = found["test"] - base["test"]
    return f"| {name} | {found['features']:,} | {random} | {found['test']:.1f}% | {change:+.1f} |"


def second_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of two layers with one thing changed."""
    yield "| two layers, changed | layer 1 | layer 2 | both layers |"
    yield "|---|---|---|---|"
    for name, row in figures["second"].items():
        if "diverged" in row:
            yield f"| {name} | | diverged | |"
            continue
        for weights in (w for w in reversed(WEIGHTS) if w in row["probe"]):
            table = row["probe"][weights]
            scores = table["layer 1"], table["layer 2"], table["all"]
            title = name if weights == "trained" else f"{name}, random weights"
            yield f"| {title} | {' | '.join(map(_percent, scores))} |"


def stacked_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of a second layer by what it reads."""
    yield (
        "| the second layer reads | linear in layer 1 | layer 2, random | layer 2, trained "
        "| both layers |"
    )
    yield "|---|---|---|---|---|"
    for kind, row in figures["stacked"].items():
        random, trained = (row["probe"][weights] for weights in WEIGHTS)
        shares = [random["layer 2"], trained["layer 2"], trained["all"]]
        cells = " | ".join(map(_percent, shares))
        yield f"| {kind} responses | {trained['linear']:.0f}% | {cells} |"


def _percent(score: Figures) -> str:
    return f"{score['test']:.1f}%"


def _title(layer: str) -> str:
    return "all layers together" if layer == "all" else layer


def _layer(row: Figures, weights: str) -> Figures:
    return row["probe"][weights]["layer 1"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _spread(values: list[float]) -> str:
    middle = f"{_mean(values):.1f}%"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.1f} to {max(values):.1f})"
