"""What helps on CIFAR-10: the benchmark's network with one thing changed at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

WHITENING = "preprocessing.whitening"
SEEDS = (0, 1, 2)


class Variant(NamedTuple):
    """A network to train: how many layers of ``cifar.yaml``, with which keys changed.

    ``initial`` probes its random weights too, ``normalised`` its responses after LCN. ``images``
    is how many distinct images it is trained on (0 for all).
    """

    layers: int
    changes: tuple[str, ...] = ()
    initial: bool = False
    normalised: bool = False
    images: int = 0

    @property
    def described(self) -> dict[str, Any]:
        """What was asked for, as it comes back from a JSON file."""
        return {**self._asdict(), "changes": list(self.changes)}


def first(*changes: str, **options: Any) -> Variant:
    """The first layer alone, with half the units of the whole network's."""
    return Variant(1, ("layers.0.units=32", *changes), **options)


def second(*changes: str, **options: Any) -> Variant:
    """The first two layers, likewise."""
    return Variant(2, ("layers.0.units=32", "layers.1.units=32", *changes), **options)


NETWORKS = {f"seed {seed}": Variant(3, (f"seed={seed}",), initial=True) for seed in SEEDS}
STUDY = {
    "as it is": first(initial=True, normalised=True),
    "another seed": first("seed=1", initial=True),
    "no whitening, a seventh of the rate": first(
        f"{WHITENING}=null", "layers.0.rate=0.001", initial=True
    ),
    "no whitening, the same rate": first(f"{WHITENING}=null"),
    "whitening floor 0.01": first(f"{WHITENING}.floor=0.01", initial=True),
    "whitening floor 1": first(f"{WHITENING}.floor=1.0"),
    "sigma 0.02": first("layers.0.input_deviation=0.02"),
    "sigma 0.1": first("layers.0.input_deviation=0.1"),
    "sigma 0.3": first("layers.0.input_deviation=0.3"),
    "64 units": first("layers.0.units=64"),
    "128 units": first("layers.0.units=128", initial=True),
    "1 pass": first("layers.0.passes=1"),
    "18 passes": first("layers.0.passes=18"),
    "4,800 images, 63 passes": first("layers.0.passes=63", images=4800),
    "rate 0.002": first("layers.0.rate=0.002"),
    "rate 0.02": first("layers.0.rate=0.02"),
    "windows of 12, stride 5": first("layers.0.window=12", "layers.0.stride=5", initial=True),
    "64 units, no whitening, a seventh of the rate": first(
        "layers.0.units=64", f"{WHITENING}=null", "layers.0.rate=0.001", initial=True
    ),
}
SECOND = {
    "as it is": second(initial=True),
    "no LCN after layer 1": second("layers.0.lcn=null"),
    "LCN over 9 pixels": second("layers.0.lcn.window=9"),
    "layer 2: sigma 0.02": second("layers.1.input_deviation=0.02"),
    "layer 2: sigma 0.1": second("layers.1.input_deviation=0.1"),
    "layer 2: lambda 0.3": second("layers.1.sparsity=0.3"),
}
