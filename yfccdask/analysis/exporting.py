"""``export``: a commit's network as safetensors, and as a PyTorch module that stands alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from yfccdask.analysis.network_pass import UNITS
from yfccdask.analysis.results import (
    chosen_commit,
    new_result,
    read_folder,
    result_manifest,
    whole_folder,
)
from yfccdask.data.commit_reading import open_array, read_array
from yfccdask.data.commits import Commit, array_shapes, layer_path
from yfccdask.data.durable import write_text
from yfccdask.data.runs import Run, open_run
from yfccdask.data.safetensors_files import Tensor, write_safetensors
from yfccdask.errors import RunError
from yfccdask.training.inputs import contrast_scale, contrast_window

COMMAND = "export"
WEIGHTS, NETWORK, MODULE = "model.safetensors", "network.json", "network.py"
TEMPLATE = "templates/torch_network.py.txt"
PARTS = ("weights", "offset", "alpha")
MOST_VALUES = 100_000_000  # of a tensor in memory at a time


@dataclass(frozen=True)
class Exported:
    """What was written, and how large the tensors are."""

    path: Path
    layers: int
    weights: int
    bytes: int
    files: tuple[str, ...]


def export(
    run: Run | str | Path,
    out: str | Path,
    *,
    checkpoint: int | None = None,
    torch: bool = False,
) -> Exported:
    """Write a network's weights and all that is needed to use them elsewhere.

    Parameters
    ----------
    run : Run or path
    out : path
        The folder to make: ``model.safetensors`` (``whitening`` and, per layer N,
        ``layerN.weights`` (grid_y, grid_x, unit, input), ``layerN.alpha`` (grid_y, grid_x) and
        ``layerN.offset`` (grid_y, grid_x, input)) and ``network.json`` (everything else).
    checkpoint : int, optional
        The number of a commit; the latest where not given.
    torch : bool
        Also write ``network.py``: a ``torch.nn.Module`` that needs torch and safetensors, not
        yfccdask. Its activations agree with `yfccdask.encode` to 1e-5.

    Raises
    ------
    RunError
        If there is no such commit, or something is at ``out``.
    DiskFull
        If there is no room.
    """
    run, path = open_run(run), Path(os.path.abspath(out))
    commit = chosen_commit(run, checkpoint)
    if path.exists():
        found = "another export" if read_folder(path) else "something"
        raise RunError(f"expected nothing at {path}, found {found}: choose another path")
    parameters = {"run": str(run.path.resolve()), "torch": torch}
    tensors = _tensors(run, commit)
    names = (WEIGHTS, NETWORK, *((MODULE,) if torch else ()))
    with whole_folder(path, result_manifest(COMMAND, commit, None, parameters)) as draft:
        text = json.dumps(network_description(run, commit), indent=1)
        write_text(draft.folder / NETWORK, text + "\n")
        write_safetensors(draft.folder / WEIGHTS, tensors, {"network": text, "format": "pt"})
        if torch:
            write_text(draft.folder / MODULE, _module_text())
    with new_result(run, COMMAND, commit, None, {**parameters, "out": str(path)}):
        pass
    size = sum(tensor.nbytes for tensor in tensors.values())
    weights = sum(layer.weights for layer in run.geometry.layers[: commit.layers])
    return Exported(path, commit.layers, weights, size, names)


def network_description(run: Run, commit: Commit) -> dict[str, Any]:
    """All of a network but its tensors, as JSON can hold it."""
    scale, images = contrast_scale(run.config), run.config.images
    return {
        "yfccdask_network": 1,
        "image": {"size": images.size, "channels": images.channels, "dtype": images.dtype},
        "contrast": {"floor": scale.floor, "full_scale": scale.full},
        "whitening": run.config.preprocessing.whitening is not None,
        "dtype": run.config.dtype,
        "layers": [_layer_description(run, commit, n) for n in range(commit.layers)],
        "run": run.path.resolve().name,
        "commit": commit.number,
        "finished": commit.finished,
    }


def _layer_description(run: Run, commit: Commit, number: int) -> dict[str, Any]:
    layer = run.geometry.layers[number]
    window, floor = contrast_window(run.config, number)
    lcn = None
    if window is not None:
        mode = "valid" if window.valid else "same"
        lcn = {"window": window.size, "spread": window.spread, "mode": mode, "floor": floor}
        lcn["rectify"] = "both" if window.rectified else "none"
    return {
        "grid": list(layer.grid),
        "window": list(layer.window),
        "stride": layer.stride,
        "tile": list(layer.tile),
        "units": layer.units,
        "input": [layer.input.height, layer.input.width, layer.input.maps],
        "scale": float(commit.state["scales"][number]),
        "lcn": lcn,
        "dimensions": [*UNITS, "input"],
    }


def _tensors(run: Run, commit: Commit) -> dict[str, Tensor]:
    found, dtype = {}, run.config.dtype
    white = run.whitening()
    if white is not None:
        found["whitening"] = Tensor(white.shape, str(white.dtype), lambda: iter([white]))
    for number, layer in enumerate(run.geometry.layers[: commit.layers]):
        path, shapes = layer_path(commit.path, number), array_shapes(layer)
        for name in PARTS:
            parts = _parts(path, name)
            found[f"layer{number + 1}.{name}"] = Tensor(shapes[name][1], dtype, parts)
    return found


def _parts(path: Path, name: str) -> Callable[[], Iterator[np.ndarray]]:
    """An array of a layer's group in C order: some rows of positions at a time, or some units."""

    def parts() -> Iterator[np.ndarray]:
        array = open_array(path, name)
        axis = 0 if array.shape[0] > 1 or array.ndim < 4 else 2  # a dense layer is one position
        whole, step = (slice(None),) * array.ndim, max(1, MOST_VALUES // _below(array.shape, axis))
        for start in range(0, array.shape[axis], step):
            rows = slice(start, start + step)
            yield read_array(path, name, (*whole[:axis], rows, *whole[axis + 1 :]))

    return parts


def _below(shape: tuple[int, ...], axis: int) -> int:
    return int(np.prod(shape[axis + 1 :], dtype=np.int64))


def _module_text() -> str:
    return resources.files("yfccdask.analysis").joinpath(TEMPLATE).read_text(encoding="utf-8")
