"""Checkpoints: ``RUN/checkpoints/<number>/``, all or nothing, every byte digested.

A commit is a folder: one Zarr group per layer, whose arrays are chunked as the weights are, the
run's configuration and whitening, and ``manifest.json`` with the state of the schedule and the size
and SHA-256 of every file. `commit_writing` makes one, `commit_reading` reads its arrays,
`commit_checks` compares it with what was written. Nothing that is read is ever run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from yfccdask.data.commit_checks import changed_files, is_foreign, load_manifest, read_pointer
from yfccdask.errors import DamagedCommit, ForeignCommit, RunError
from yfccdask.geometry import ChunkIndex, LayerGeometry, Layout

UNIT_DIMENSIONS = ("grid_y", "grid_x", "unit", "input")


@dataclass(frozen=True)
class Commit:
    """A whole, readable commit.

    ``state`` is what the schedule knew: trained layers, data position, input scales. ``written`` is
    when, in seconds since the epoch; ``bytes`` are those of all files.
    """

    path: Path
    number: int
    state: dict[str, Any] = field(repr=False)
    written: float
    bytes: int

    @property
    def layers(self) -> int:
        """Layers that the commit holds, from the image upwards; the last may be in training."""
        return int(self.state["layers"])

    @property
    def finished(self) -> bool:
        """Whether every layer of the run is trained."""
        return bool(self.state["finished"])

    def layer(self, number: int) -> xr.Dataset:
        """One layer (counted from 1) as a lazy dataset over (grid_y, grid_x, unit, input)."""
        if not 1 <= number <= self.layers:
            raise RunError(
                f"expected a layer from 1 to {self.layers} in {self.path}, found {number}"
            )
        path = layer_path(self.path, number - 1)
        return xr.open_zarr(path, consolidated=False, zarr_format=3)


def layer_path(commit: Path, layer: int, copy: bool = False) -> Path:
    """The Zarr group of a layer (counted from 0), or of its copy that feeds the next one."""
    return commit / f"{'copy' if copy else 'layer'}-{layer + 1}.zarr"


def array_shapes(layer: LayerGeometry) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Dimensions and shape of the six arrays of a layer's state."""
    sizes = dict(zip(UNIT_DIMENSIONS, (*layer.grid, layer.units, layer.inputs), strict=True))
    kinds = {
        "weights": UNIT_DIMENSIONS,
        "offset": ("grid_y", "grid_x", "input"),
        "alpha": ("grid_y", "grid_x"),
    }
    arrays = {}
    for name, dimensions in kinds.items():
        for full in (name, f"{name}_momentum"):
            arrays[full] = (dimensions, tuple(sizes[part] for part in dimensions))
    return arrays


def chunk_slices(layout: Layout, index: ChunkIndex) -> dict[str, slice]:
    """Where a chunk lies along every dimension of a layer's arrays."""
    rows, columns = layout.positions(*index[:2]).slices
    inputs = slice(*layout.inputs_of(index[2]))
    return {"grid_y": rows, "grid_x": columns, "unit": slice(None), "input": inputs}


def open_commit(path: Path) -> Commit:
    """Open a commit: its small files have their digests, its chunks their sizes.

    Raises
    ------
    DamagedCommit
        If a file is gone or changed; it names the layer, the array and the chunk.
    ForeignCommit
        If it is of another format version.
    """
    damages = changed_files(path)
    if damages and is_foreign(path):
        raise ForeignCommit(f"{path}: {damages[0]}")
    if damages:
        others = f" (and {len(damages) - 1} more)" if len(damages) > 1 else ""
        raise DamagedCommit(f"{path}: {damages[0]}{others}")
    return opened_commit(path)


def opened_commit(path: Path) -> Commit:
    """A commit, unchecked."""
    manifest = load_manifest(path)
    size = sum(file["bytes"] for file in manifest["files"].values())
    return Commit(path, manifest["number"], manifest["state"], manifest["written"], size)


def chunk_file(group: Path, name: str, index: Sequence[int]) -> Path:
    """The file of an array's chunk."""
    return group.joinpath(name, "c", *map(str, index))


def commit_folder(checkpoints: Path, number: int) -> Path:
    """Where a commit lies."""
    return checkpoints / f"{number:08d}"


def commit_numbers(checkpoints: Path) -> list[int]:
    """The numbers of all commits, whole or damaged, the newest first."""
    found = (int(path.name) for path in checkpoints.glob("*") if path.name.isdigit())
    return sorted(found, reverse=True)


def next_number(checkpoints: Path) -> int:
    """A number that no commit has or had, higher than all, those set aside among them."""
    found = [path.name[:8] for path in checkpoints.glob("*")]
    found.append((read_pointer(checkpoints.parent) or {}).get("commit", ""))
    return max((int(name) for name in found if name.isdigit()), default=0) + 1


def recent_commits(run: Path) -> Iterator[Commit | DamagedCommit]:
    """A run's commits, the newest first; the error of one that doesn't open in its place."""
    for number in commit_numbers(run / "checkpoints"):
        try:
            yield open_commit(commit_folder(run / "checkpoints", number))
        except DamagedCommit as error:
            yield error


def latest_commit(run: Path) -> Commit | None:
    """The newest commit of a run, or None before the first one.

    Raises
    ------
    DamagedCommit
        If it doesn't open: an older one is never taken for it.
    """
    newest = next(recent_commits(run), None)
    if isinstance(newest, DamagedCommit):
        raise newest
    return newest


def has_finished(run: Path) -> bool:
    """Whether the newest commit that opens is of a run whose layers are all trained."""
    whole = (commit for commit in recent_commits(run) if isinstance(commit, Commit))
    newest = next(whole, None)
    return newest is not None and newest.finished


def pin_commit(checkpoints: Path, number: int) -> None:
    """Keep a commit until it is unpinned, however old it becomes."""
    _pin(checkpoints, number).touch()


def unpin_commit(checkpoints: Path, number: int) -> None:
    """Let a commit go as others do."""
    _pin(checkpoints, number).unlink(missing_ok=True)


def pinned_commits(checkpoints: Path) -> set[int]:
    """The numbers of the commits that are kept for good."""
    return {int(path.stem) for path in checkpoints.glob("*.pinned")}


def _pin(checkpoints: Path, number: int) -> Path:
    return checkpoints / f"{number:08d}.pinned"


def prune_commits(checkpoints: Path, keep: int) -> list[int]:
    """Remove commits older than the newest ``keep`` that open; returns their numbers.

    Pinned ones stay, and so do damaged ones that are newer than the oldest one kept.
    """
    pinned, whole, gone = pinned_commits(checkpoints), 0, []
    for number in commit_numbers(checkpoints):
        folder = commit_folder(checkpoints, number)
        if whole < keep:
            whole += not changed_files(folder)
        elif number not in pinned:
            remove_commit(folder)
            gone.append(number)
    return gone


def remove_commit(folder: Path) -> None:
    """Remove a commit: first its name, so that what a kill leaves is nobody's."""
    doomed = folder.with_name(f".{folder.name}.partial")
    folder.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Give a damaged commit a name that no reader looks at; returns it."""
    aside = folder.with_name(f"{folder.name}.damaged")
    folder.rename(aside)
    return aside


def damaged_commits(checkpoints: Path) -> list[Path]:
    """The commits that were set aside."""
    return sorted(checkpoints.glob("*.damaged"))
