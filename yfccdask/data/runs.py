"""A run's folder: configuration, whitening, events, checkpoints, analysis."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
import zarr

from yfccdask.config import Config, config_to_yaml, network_geometry, parse_config
from yfccdask.data.commits import Commit, latest_commit
from yfccdask.data.durable import publish, writing
from yfccdask.data.events import Event, append_event, read_events, without_replayed
from yfccdask.data.plain_texts import facts_html
from yfccdask.errors import RunError
from yfccdask.geometry import NetworkGeometry

FORMAT, VERSION = "yfccdask-run", 1


@dataclass(frozen=True)
class Run:
    """A run on disk: what was asked for, what happened, what was learned."""

    path: Path
    config: Config
    provenance: dict[str, Any]

    @cached_property
    def geometry(self) -> NetworkGeometry:
        return network_geometry(self.config)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def analysis(self) -> Path:
        return self.path / "analysis"

    def log(self, kind: str, **fields: Any) -> Event:
        """Add an event to ``events.jsonl``."""
        return append_event(self.path / "events.jsonl", kind, **fields)

    def events(self, kind: str | None = None) -> list[Event]:
        """All events, or those of one kind, in order; what a resume trained again only once."""
        events = without_replayed(read_events(self.path / "events.jsonl"))
        return [event for event in events if kind in (None, event["event"])]

    def commit(self) -> Commit:
        """The latest commit; RunError where there is none yet."""
        commit = latest_commit(self.path)
        if commit is None:
            raise RunError(
                f"{self.path}: expected at least one commit, found none: the run ended before its "
                "first layer was trained"
            )
        return commit

    @property
    def has_whitening(self) -> bool:
        """Whether the run's whitening filter is fitted and stored."""
        return (self.path / "whitening.zarr").exists()

    def whitening(self) -> np.ndarray | None:
        """The whitening filter (y, x, channel_in, channel_out), or None where there is none."""
        path = self.path / "whitening.zarr"
        if self.config.preprocessing.whitening is None:
            return None
        if not path.exists():
            raise RunError(f"{path}: expected the run's whitening filter, found no such folder")
        return np.asarray(zarr.open_group(path, mode="r")["filter"][...])  # type: ignore[index]

    def save_whitening(self, whitening: np.ndarray) -> None:
        """Store the whitening filter, whole or not at all."""
        partial = self.path / ".whitening.partial"
        names = ("y", "x", "channel_in", "channel_out")
        with writing(partial, whitening.nbytes):
            shutil.rmtree(partial, ignore_errors=True)
            group = zarr.open_group(partial, mode="w", zarr_format=3)
            group.create_array("filter", data=whitening, dimension_names=names)
            publish(partial, self.path / "whitening.zarr")

    def curves(self, layer: int) -> xr.Dataset:
        """A layer's objective (counted from 1) against its mini-batches.

        Returns
        -------
        Dataset over ``mini_batch``: ``reconstruction`` and ``sparsity``, averaged over images and
        positions, before each update; ``seconds`` since the layer began.
        """
        blocks = [event for event in self.events("block") if event["layer"] == layer]
        parts: dict[str, list[float]] = {"reconstruction": [], "sparsity": [], "seconds": []}
        for event in blocks:
            parts["reconstruction"] += event["reconstruction"]
            parts["sparsity"] += event["sparsity"]
            parts["seconds"] += [event["seconds"]] * len(event["sparsity"])
        return xr.Dataset(
            {name: ("mini_batch", values) for name, values in parts.items()},
            coords={"mini_batch": np.arange(len(parts["seconds"]))},
            attrs={"layer": layer, "units": "mean over images and positions"},
        )

    def _facts(self) -> dict[str, str]:
        kinds = ", ".join("dense" if each.dense else "local" for each in self.geometry.layers)
        store = self.provenance.get("store", {})
        return {
            "run": str(self.path),
            "layers": f"{len(self.geometry.layers)}: {kinds}",
            "weights": f"{self.geometry.weights:,}",
            "store": str(store.get("path", "unknown")),
            "commit": _commit_text(self.path),
        }

    def __repr__(self) -> str:
        return f"<Run {self.path}>"

    def _repr_html_(self) -> str:
        return facts_html("yfccdask run", self._facts().items())


def _commit_text(run: Path) -> str:
    """A run's newest commit in a few words, whatever is wrong with it."""
    try:
        commit = latest_commit(run)
    except RunError as error:
        return str(error)
    if commit is None:
        return "none yet"
    written = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(commit.written))
    layers = f"{commit.layers} of the layers" if not commit.finished else "finished"
    return f"{commit.number}, after tick {commit.state['tick'] - 1}: {layers}, written {written}"


def create_run(path: str | Path, config: Config, provenance: dict[str, Any]) -> Run:
    """Make a run's folder, whole or not at all.

    Raises
    ------
    RunError
        If the folder exists already: a run is never trained into another.
    DiskFull, RunError
        If it can't be written.
    """
    path = refuse_existing(path)
    partial = path.with_name(f".{path.name}.partial")
    provenance = {"format": FORMAT, "format_version": VERSION, **provenance}
    text = config_to_yaml(config) + yaml.safe_dump({"provenance": provenance}, sort_keys=False)
    with writing(partial, len(text)):
        shutil.rmtree(partial, ignore_errors=True)
        (partial / "checkpoints").mkdir(parents=True)
        (partial / "analysis").mkdir()
        (partial / "config.yaml").write_text(text, encoding="utf-8")
        publish(partial, path)
    return Run(path, config, provenance)


def refuse_existing(path: str | Path) -> Path:
    """The path of a run that is still to be made; RunError where something is there already."""
    path = Path(path)
    if path.exists():
        found = "a run" if (path / "config.yaml").is_file() else "something else"
        raise RunError(
            f"{path}: expected no such folder, found {found}: name another --run; "
            f"`yfccdask resume {path}` goes on with a run"
        )
    return path


def open_run(path: Run | str | Path) -> Run:
    """Open a run's folder; a run that is open already is given back.

    Raises
    ------
    RunError
        If it is not a run, or one of another format version.

    Examples
    --------
    >>> open_run("demo-run").curves(layer=1)  # doctest: +SKIP
    """
    if isinstance(path, Run):
        return path
    path = Path(path)
    file = path / "config.yaml"
    if not file.is_file():
        raise RunError(
            f"{path}: expected a run's folder with config.yaml, found "
            f"{'no such file in it' if path.is_dir() else 'no such folder'}"
        )
    try:
        tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{file}: expected a run's configuration in YAML, found {error}") from None
    provenance = tree.pop("provenance", None) if isinstance(tree, dict) else None
    found = (provenance or {}).get("format"), (provenance or {}).get("format_version")
    if found != (FORMAT, VERSION):
        raise RunError(
            f"{file}: expected {FORMAT} version {VERSION}, found {found[0]!r} version "
            f"{found[1]!r}: use the yfccdask that wrote it"
        )
    return Run(path, parse_config(tree, str(file)), provenance)
