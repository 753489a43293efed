"""Environments: pins that agree, hashes for all of them, an install without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"python-duckdb": "duckdb", "dask-core": "dask"}
PLATFORM = {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
PYTHONS = ("3.11", "3.12", "3.13")
LOCKED_EXTRAS = ("test", "dev", "docs", "jupyter", "slurm", "s3", "cuda13")
SIZE = 60e6  # bytes of the wheel folder


def extra(name):
    """Requirements of an extra, those of the extras that it names included."""
    for line in PROJECT["optional-dependencies"][name]:
        requirement = Requirement(line)
        if requirement.name == "yfccdask":
            for other in requirement.extras:
                yield from extra(other)
        else:
            yield requirement


def conda(file):
    """Names as pip has them, and their ranges, of a conda environment."""
    lines = yaml.safe_load((ROOT / file).read_text())["dependencies"]
    pins = map(Requirement, (line for line in lines if isinstance(line, str) and line != "pip"))
    return {CONDA_NAMES.get(pin.name, pin.name): pin.specifier for pin in pins}


def locked(python):
    """Version of each package that the hashed constraints give one Python, and its hashes."""
    environment = PLATFORM | {"python_version": python, "python_full_version": f"{python}.0"}
    entries = (ROOT / "constraints-hashes.txt").read_text().replace("\\\n", " ").splitlines()
    found = {}
    for entry in entries:
        line, *hashes = entry.split("--hash=")
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            assert canonicalize_name(pin.name) not in found, f"two of {pin.name} for {python}"
            (version,) = pin.specifier
            assert version.operator == "=="
            found[canonicalize_name(pin.name)] = (version.version, hashes)
    return found


def test_conda_s_environment_asks_for_what_pyproject_asks_for():
    base = {pin.name: pin.specifier for pin in map(Requirement, PROJECT["dependencies"])}
    python = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert conda("environment.yml") == base | {"python": python}


@pytest.mark.parametrize("cuda", ["cuda12", "cuda13"])
def test_conda_s_gpu_environment_asks_for_what_the_extras_ask_for(cuda):
    number = cuda.removeprefix("cuda")
    names = {f"rmm-cu{number}": "rmm", f"cupy-cuda{number}x": "cupy", "dask-cuda": "dask-cuda"}
    asked = {names[pin.name]: pin.specifier for pin in extra(cuda) if pin.name in names}
    assert conda("environment-gpu.yml") == asked


def test_extras_that_the_readers_are_told_of_exist():
    wanted = {"cuda12", "cuda13", "jupyter", "slurm", "s3", "torch", "bench", "docs", "dev"}
    assert wanted <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("python", PYTHONS)
def test_hashed_constraints_hold_all_that_is_asked_for(python):
    versions = locked(python)
    asked = [*map(Requirement, PROJECT["dependencies"])]
    asked += [pin for name in LOCKED_EXTRAS for pin in extra(name)]
    for pin in asked:
        if pin.marker is None or pin.marker.evaluate(PLATFORM):
            version, _ = versions[canonicalize_name(pin.name)]
            assert pin.specifier.contains(version, prereleases=True), f"{pin}: run `make lock`"


@pytest.mark.parametrize("python", PYTHONS)
def test_hashed_constraints_are_the_constraints(python):
    versions = locked(python)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    used = [pin for pin in pins if canonicalize_name(pin.name) in versions]
    assert len(used) > 30
    for pin in used:
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            version, _ = versions[canonicalize_name(pin.name)]
            assert pin.specifier.contains(version), f"{pin}: run `make lock`"


def test_every_package_has_hashes():
    for name, (_, hashes) in locked("3.12").items():
        assert hashes, name
        assert all(text.startswith("sha256:") and len(text.strip()) == 71 for text in hashes), name


def python_of_the_node():
    """An interpreter of Python 3.12, as the node has, or the one that runs this."""
    found = [*Path.home().glob(".pyenv/versions/3.12.*/bin/python"), shutil.which("python3.12")]
    for path in filter(None, found):
        if subprocess.run([path, "-c", "import venv"], check=False).returncode == 0:
            return str(path), "3.12"
    return sys.executable, f"{sys.version_info.major}.{sys.version_info.minor}"


def call(*command, **options):
    """A command's output; what it said where it failed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The folder that is carried to a node, and the node's Python."""
    folder = tmp_path_factory.mktemp("carried") / "wheelhouse"
    python, version = python_of_the_node()
    call(sys.executable, ROOT / "cluster" / "wheelhouse.py", folder, "--python", version)
    return folder, python


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_without_a_network_installs_and_trains(wheels, tiny_store, tmp_path):
    """The node has what cluster/node-packages.txt says, but for CuPy: nothing asks for it here."""
    folder, python = wheels
    assert sum(file.stat().st_size for file in folder.iterdir()) < SIZE
    call(python, "-m", "venv", tmp_path / "node")
    names = (ROOT / "cluster" / "node-packages.txt").read_text().splitlines()
    names = [name for name in names if not name.startswith(("#", "cupy"))]
    call(tmp_path / "node" / "bin" / "pip", "install", "-q", *names)
    before = call(tmp_path / "node" / "bin" / "pip", "freeze")

    quiet = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    quiet |= {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/nothing"}
    new = tmp_path / "environment"
    script, node_python = folder / "install-offline.sh", tmp_path / "node" / "bin" / "python"
    call("sh", script, new, node_python, env=quiet)
    call(new / "bin" / "pip", "check")
    assert call(tmp_path / "node" / "bin" / "pip", "freeze") == before
    run = tmp_path / "run"
    where = {"cwd": tmp_path, "env": quiet}
    train = ("train", "tiny", "--data", tiny_store.path, "--run", run, "--workers", 1)
    call(new / "bin" / "yfccdask", *train, **where)
    assert "  run" in call(new / "bin" / "yfccdask", "digest", run, **where)


@pytest.mark.slow
def test_a_folder_that_was_damaged_on_its_way_is_refused(wheels, tmp_path):
    folder, python = wheels
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    wheel = next(copy.glob("zarr-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1])
    script = str(copy / "install-offline.sh")
    command = ["sh", script, str(tmp_path / "new"), python]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected the wheels of SHA256SUMS" in done.stderr
    assert not (tmp_path / "new").exists()
