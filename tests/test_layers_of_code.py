"""The rooms of the code: imports only downwards, none hidden, and only `backend` knows cupy."""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest

import yfccdask

PACKAGE = Path(yfccdask.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [
    {"errors", "config", "geometry"},
    {"backend", "numerics"},
    {"data"},
    {"graph"},
    {"training"},
    {"analysis", "dashboard", "cli", "preload", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}
FORBIDDEN = {
    "errors": {"numpy", "dask", "distributed", "zarr", "xarray", "cupy"},
    "config": {"numpy", "dask", "distributed", "zarr", "xarray", "cupy"},
    "geometry": {"numpy", "dask", "distributed", "zarr", "xarray", "cupy"},
    "backend": {"dask", "distributed", "zarr", "xarray"},
    "numerics": {"dask", "distributed", "zarr", "xarray", "pathlib", "PIL", "pandas"},
    "graph": {"distributed"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def inner(names: list[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("yfccdask.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_rooms_below_its_own(path):
    room, names = room_of(path), imported(ast.parse(path.read_text()))
    if room == "__init__":
        return
    for other in inner(names) - {room}:
        same_floor = LEVEL[other] == LEVEL[room]
        assert LEVEL[other] <= LEVEL[room], f"{room} is below {other}"
        assert not same_floor or (other, room) not in ROOM_PAIRS, f"{room} and {other} in a circle"
    if room == "graph":  # its tasks may ask which worker they run on; nothing else of distributed
        names = [name for name in names if name != "distributed.get_worker"]
    roots = {name.split(".")[0] for name in names}
    assert not roots & FORBIDDEN.get(room, set())
    if room != "backend":
        assert not {"cupy", "cupyx", "cupy_backends", "rmm"} & roots


def room_pairs() -> set[tuple[str, str]]:
    pairs = set()
    for path in FILES:
        names = imported(ast.parse(path.read_text()))
        pairs |= {(room_of(path), other) for other in inner(names) - {room_of(path)}}
    return pairs


ROOM_PAIRS = room_pairs()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_hides_in_a_function(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert not imported(node), f"{node.name} imports"


def test_modules_of_a_room_import_each_other_without_circles():
    edges: dict[str, set[str]] = {}
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES}
    for path in FILES:
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if name.endswith("__init__"):
            continue
        found = {
            target
            for target in imported(ast.parse(path.read_text()))
            for target in (target, target.rpartition(".")[0])
            if target in modules
        }
        edges[name] = found - {name}
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for other in edges.get(module, ()):
                walk(other, (*above, module))
            done.add(module)

    for module in edges:
        walk(module, ())


def test_no_module_bears_a_public_function_s_name():
    functions = {
        node.name
        for path in FILES
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_"
    }
    modules = {path.stem for path in FILES} | {path.parent.name for path in FILES}
    assert not functions & modules


def test_no_file_is_longer_than_400_lines():
    long = {str(path): n for path in FILES if (n := path.read_text().count("\n")) > 400}
    assert not long


def test_rooms_are_listed_once():
    rooms = [room for floor in ROOMS for room in floor]
    assert len(rooms) == len(set(rooms))
    assert {room_of(path) for path in FILES} <= {*rooms, "__init__"}
    assert all(a.isdisjoint(b) for a, b in pairwise(ROOMS))
