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
        "thinned": thinned_tables,
        "again": again_tables,
        "chains": chains_table,
    }
    for part, make in makers.items():
        if figures.get(part):
            yield "\n".join(make(figures))


def thinned_tables(figures: Figures) -> Iterator[str]:
    """Test accuracy of as many responses of every layer, and untrained ones, as the top one has."""
    thinned = figures["thinned"]
    table = thinned["probe"]
    yield f"| {thinned['responses']} responses of | {' | '.join(map(_title, table))} |"
    yield "|---" * (len(table) + 1) + "|"
    cells = " | ".join(map(_percent, table.values()))
    yield f"| trained | {cells} |"
    if "untrained" in thinned:
        yield ""
        yield from untrained_table(figures)
        yield ""
        yield from linear_table(figures)


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


def again_tables(figures: Figures) -> Iterator[str]:
    """Test accuracy of layers 2 and 3 alone, trained again with one thing changed."""
    for layer in (2, 3):
        extra = ["linear in layer 1"] if layer == 2 else ["kurtosis", "of the strongest directions"]
        yield f"| layer {layer} | weights | features | right labels | {' | '.join(extra)} |"
        yield "|---" * (4 + len(extra)) + "|"
        for name, row in figures["again"].items():
            if row["layer"] == layer:
                yield _again_row(name, row)
        yield ""


def _again_row(name: str, row: Figures) -> str:
    title, weights = name.partition(": ")[2], f"{row['weights']:,}"
    if "diverged" in row:
        return f"| {title} | {weights} | | diverged |" + " |" * (int(row["layer"]) - 1)
    (score,) = next(iter(row["probe"].values())).values()
    extra = [f"{row['linear']:.0f}%"] if row["layer"] == 2 else _shape(row)
    return (
        f"| {title} | {weights} | {score['features']:,} | {_percent(score)} | {' | '.join(extra)} |"
    )


def _shape(row: Figures) -> list[str]:
    taken = f"{row['principal']:.0f}%" if "principal" in row else ""
    return [f"{row['kurtosis']:.1f}", taken]


def untrained_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of as many numbers that nobody has trained, from layer 3's input."""
    thinned = figures["thinned"]
    yield f"| {thinned['responses']} numbers from layer 3's input | right labels | kurtosis |"
    yield "|---|---|---|"
    for name, row in thinned["untrained"].items():
        score = row["probe"]["random"]["numbers"]
        yield f"| {name} | {_percent(score)} | {row['kurtosis']:.1f} |"


def linear_table(figures: Figures) -> Iterator[str]:
    """How sparse layers' responses are, and how linear in the pixels and in layers below."""
    thinned = figures["thinned"]
    yield "| responses of | kurtosis | linear in the pixels | in layer 1 | in layer 2 |"
    yield "|---|---|---|---|---|"
    for number in (1, 2, 3):
        shares = [thinned["linear"].get(f"{below} to {number}") for below in (0, 1, 2)]
        cells = ["" if share is None else f"{share:.0f}%" for share in shares]
        title = f"layer {number}"
        yield f"| {title} | {thinned['kurtosis'][title]:.1f} | {' | '.join(cells)} |"


def chains_table(figures: Figures) -> Iterator[str]:
    """Test accuracy of layers 2 and 3 by what they read, networks of as many weights together."""
    yield (
        "| layers 2 and 3 read | their weights | linear in the layer below | layer 1 | layer 2 "
        "| layer 3 | all together |"
    )
    yield "|---" * 7 + "|"
    for name, rows in _by_name(figures["chains"]).items():
        tables = [next(iter(row["probe"].values())) for row in rows]
        scores = [_spread([table[layer]["test"] for table in tables]) for layer in tables[0]]
        linear = " and ".join(f"{share:.0f}%" for share in rows[0]["linear"])
        yield f"| {name} | {sum(rows[0]['weights']):,} | {linear} | {' | '.join(scores)} |"


def _by_name(chains: Figures) -> dict[str, list[Figures]]:
    """The networks that differ in their seed only, together."""
    found: dict[str, list[Figures]] = {}
    for name, row in chains.items():
        found.setdefault(name.partition(", seed ")[0], []).append(row)
    return found


def _percent(score: Figures) -> str:
    return f"{score['test']:.1f}%"


def _title(layer: str) -> str:
    return "all layers together" if layer == "all" else layer


def _layer(row: Figures, weights: str) -> Figures:
    found: Figures = row["probe"][weights]["layer 1"]
    return found


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _spread(values: list[float]) -> str:
    middle = f"{_mean(values):.1f}%"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.1f} to {max(values):.1f})"
