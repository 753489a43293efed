"""A folder of wheels for a GPU node without a network: ``python cluster/wheelhouse.py FOLDER``.

Versions and hashes are those of constraints-hashes.txt, whatever Python runs this. What the node
has (cluster/node-packages.txt) is left out, with all that it asks for. `install-offline.sh`
installs from the folder.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "constraints-hashes.txt"
NODE = ROOT / "cluster" / "node-packages.txt"
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in range(28, 4, -1)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
EXTRAS = ("cuda13",)  # of yfccdask; what CUDA itself brings is the node's
CUDA = ("cuda-toolkit",)
Wanted = dict[str, set[str]]  # extras by package


def main() -> None:
    """Build the folder and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="the node's")
    parser.add_argument("--node", type=Path, default=NODE, help="names of what it has")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    environment = node_environment(asked.python)
    present = {*CUDA, *names_in(asked.node)}
    locked = locked_lines(environment)
    own = own_wheel(asked.folder)
    gather(own, asked.folder, present, locked, environment)
    write_lists(asked.folder, own)
    total = sum(wheel.stat().st_size for wheel in asked.folder.glob("*.whl"))
    print(f"{asked.folder}: {len(list(asked.folder.glob('*.whl')))} wheels, {total / 1e6:.1f} MB")


def node_environment(python: str) -> dict[str, str]:
    """What requirements' conditions are judged by."""
    return {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
    }


def names_in(file: Path) -> list[str]:
    """Package names, one a line."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    return [canonicalize_name(line) for line in lines if line]


def locked_lines(environment: dict[str, str]) -> dict[str, str]:
    """The lock's line of every package that the node's Python may have: version and hashes."""
    found = {}
    for entry in LOCK.read_text().replace("\\\n", " ").splitlines():
        if "==" in entry:
            requirement = Requirement(entry.partition(" --hash")[0])
            if requirement.marker is None or requirement.marker.evaluate(environment):
                hashes = entry[entry.index("--hash") :]
                name = canonicalize_name(requirement.name)
                found[name] = f"{requirement.name}{requirement.specifier} {hashes}"
    return found


def own_wheel(folder: Path) -> Path:
    """This checkout as a wheel, built from a copy: nothing of an earlier build gets in."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "source")
        shutil.copytree(ROOT / "yfccdask", copy / "yfccdask")
        for file in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / file, copy)
        pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(copy))
    return next(folder.glob("yfccdask-*.whl"))


def gather(
    own: Path,
    folder: Path,
    present: set[str],
    locked: dict[str, str],
    environment: dict[str, str],
) -> None:
    """Download, wave after wave, what the wheels that are there ask for."""
    done: Wanted = {"yfccdask": set(EXTRAS)}
    wave = needs_of(own, set(EXTRAS), environment)
    while wave := {name: extras for name, extras in wave.items() if name not in present}:
        missing = sorted(name for name in wave if name not in locked)
        if missing:
            sys.exit(f"expected {', '.join(missing)} in {LOCK.name}, found none: run `make lock`")
        wheels = downloaded(sorted(wave), folder, locked, environment["python_version"])
        done |= {name: done.get(name, set()) | extras for name, extras in wave.items()}
        following: Wanted = {}
        for name, wheel in wheels.items():
            for need, extras in needs_of(wheel, wave[name], environment).items():
                if not extras <= done.get(need, set()) or need not in done:
                    following.setdefault(need, set()).update(extras)
        wave = following


def needs_of(wheel: Path, extras: set[str], environment: dict[str, str]) -> Wanted:
    """What a wheel asks for on the node, with these extras of its own."""
    needs: Wanted = {}
    for line in metadata_of(wheel).get_all("Requires-Dist") or []:
        need = Requirement(line)
        if any(
            need.marker is None or need.marker.evaluate(environment | {"extra": extra})
            for extra in (*extras, "")
        ):
            needs.setdefault(canonicalize_name(need.name), set()).update(need.extras)
    return needs


def metadata_of(wheel: Path) -> Message:
    """A wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return HeaderParser().parsestr(archive.read(name).decode())


def downloaded(
    names: list[str], folder: Path, locked: dict[str, str], python: str
) -> dict[str, Path]:
    """The wheels of packages for the node, checked against the lock's hashes."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = Path(scratch, "wave.txt")
        lines.write_text("\n".join(locked[name] for name in names))
        options = [f"--platform={platform}" for platform in PLATFORMS]
        options += ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
        options += ["--no-deps", "--require-hashes", f"--dest={scratch}/wheels"]
        pip("download", *options, "--requirement", str(lines))
        found = {wheel_name(wheel): wheel for wheel in Path(scratch, "wheels").glob("*.whl")}
        return {
            name: Path(shutil.copy(wheel, folder / wheel.name)) for name, wheel in found.items()
        }


def wheel_name(wheel: Path) -> str:
    return canonicalize_name(wheel.name.partition("-")[0])


def pip(*arguments: str) -> None:
    """Run this Python's pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*command, *arguments], check=True)


def write_lists(folder: Path, own: Path) -> None:
    """SHA256SUMS, and requirements.txt: this project's wheel with what trains on the node's GPU."""
    (folder / "requirements.txt").write_text("\n".join(["yfccdask", *asked_for(folder)]) + "\n")
    wheels = sorted(folder.glob("*.whl"))
    sums = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}" for wheel in wheels]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    shutil.copy(ROOT / "cluster" / "install-offline.sh", folder)


def asked_for(folder: Path) -> Iterator[str]:
    """Packages of the extra that are in the folder: CuPy is the node's own, under any name."""
    for prefix in ("dask_cuda", "rmm_cu"):
        for wheel in folder.glob(f"{prefix}*.whl"):
            yield wheel_name(wheel)


if __name__ == "__main__":
    main()
