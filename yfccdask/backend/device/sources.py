"""The kernels' source, and what each kernel takes: parsed out of the ``.cu`` files themselves."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "kernels"
OPTIONS = ("-std=c++17",)
_HEAD = r'extern "C" __global__ void (\w+)\(([^)]*)\)'
_MACRO = re.compile(r"#define (\w+)\(([^)]*)\) " + _HEAD)


class Signature(NamedTuple):
    """A kernel's file (stem) and its parameters: their C types, in order."""

    file: str
    types: tuple[str, ...]

    def check(self, kernel: str, arguments: tuple[Any, ...]) -> None:
        """Refuse arguments that are not of the kernel's kinds: integers, reals, arrays or None.

        Raises
        ------
        TypeError
        """
        found = tuple(_kind_of(value) for value in arguments)
        wanted = tuple("array" if "*" in each else each for each in self.types)
        fits = len(found) == len(wanted) and all(
            have in (want, "null" if want == "array" else want)
            for have, want in zip(found, wanted, strict=True)
        )
        if not fits:
            raise TypeError(f"expected arguments {wanted} of kernel {kernel}, found {found}")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int):
        return "Index"
    return "double" if isinstance(value, float) else "array"


def kernel_files() -> list[str]:
    """The stems of the files that hold kernels."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


@functools.cache
def source(file: str) -> str:
    """The whole source of one file, as the compiler is given it."""
    return (FOLDER / "common.cuh").read_text() + (FOLDER / f"{file}.cu").read_text()


@functools.cache
def signatures() -> dict[str, Signature]:
    """Every kernel of every file."""
    return {name: each for file in kernel_files() for name, each in _signatures_in(file).items()}


def _signatures_in(file: str) -> dict[str, Signature]:
    text = re.sub(r"\\\n\s*", "", (FOLDER / f"{file}.cu").read_text())
    macros = {found[1]: found for found in _MACRO.finditer(text)}
    plain = _MACRO.sub("", text)
    kernels = {name: Signature(file, _types(body)) for name, body in re.findall(_HEAD, plain)}
    for macro, found in macros.items():
        for use in re.findall(rf"^{macro}\(([^)]*)\)$", plain, re.MULTILINE):
            values = [value.strip() for value in use.split(",")]
            names = [name.strip() for name in found[2].split(",")]
            body = functools.reduce(_replaced, zip(names, values, strict=True), found[4])
            kernels[values[0]] = Signature(file, _types(body))
    return kernels


def _replaced(text: str, pair: tuple[str, str]) -> str:
    return re.sub(rf"\b{pair[0]}\b", pair[1], text)


def _types(parameters: str) -> tuple[str, ...]:
    """The types of ``const float* x, Index y``: without ``const`` and the names."""
    return tuple(
        each.strip().removeprefix("const ").rpartition(" ")[0] for each in parameters.split(",")
    )
