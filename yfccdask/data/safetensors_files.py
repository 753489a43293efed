"""Safetensors files, written tensor after tensor in parts, so that none has to fit in memory.

The format: eight bytes with the header's length, a JSON header of names, dtypes, shapes and
offsets, then the values, little endian, without gaps. See https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from yfccdask.data.durable import replace_file

DTYPES = {"float32": "F32", "float64": "F64"}
ALIGNMENT = 8  # of the first value


@dataclass(frozen=True)
class Tensor:
    """A tensor to write: ``parts`` gives its values in order, each a stretch of its first axes."""

    shape: tuple[int, ...]
    dtype: str
    parts: Callable[[], Iterator[np.ndarray]]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def write_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a file that is whole or absent.

    Raises
    ------
    ValueError
        If a tensor's parts are not as many values as its shape says.
    """
    header = _header(tensors, metadata)
    replace_file(path, lambda stream: _write(stream, header, tensors))


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    for name, tensor in tensors.items():
        entries[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    return text + b" " * (-len(text) % ALIGNMENT)


def _write(stream: IO[bytes], header: bytes, tensors: Mapping[str, Tensor]) -> None:
    stream.write(len(header).to_bytes(8, "little"))
    stream.write(header)
    for name, tensor in tensors.items():
        written = 0
        kind = np.dtype(tensor.dtype).newbyteorder("<")
        for part in tensor.parts():
            values = np.ascontiguousarray(part, kind)
            stream.write(values.data)
            written += values.nbytes
        if written != tensor.nbytes:
            raise ValueError(f"{name}: expected {tensor.nbytes} bytes of values, found {written}")
