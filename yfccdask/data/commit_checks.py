"""Whether a commit's files are those that were written: manifest, sizes, digests; damage in words.

``manifest.json`` names every file with its size and SHA-256; ``manifest.sha256`` holds the digest
of the manifest, and one of itself. Opening a commit compares all small files with their digests and
looks at the sizes of chunks, whose bits zarr checks with a CRC32C when it reads them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FORMAT, VERSION = "yfccdask-commit", 3
MANIFEST, SEAL, POINTER = "manifest.json", "manifest.sha256", "LATEST"
CHUNK = re.compile(r"(?:layer|copy)-\d+\.zarr/\w+/c/")
PLACE = re.compile(r"(layer|copy)-(\d+)\.zarr(?:/(\w+))?/(?:c/([\d/]+)|zarr\.json)")
OTHERS = {
    MANIFEST: "the manifest",
    SEAL: "the manifest's digest",
    POINTER: "the pointer to the newest commit",
    "config.yaml": "the configuration",
}


class FileFacts(NamedTuple):
    """What a file held when it was written."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Damage:
    """A file that is not as it was written.

    ``file`` is its path in the commit, ``where`` the same in words.
    """

    file: str
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.where} ({self.file}): expected {self.expected}, found {self.found}"


def in_words(file: str) -> str:
    """A file of a commit in words, e.g. ``layer 1, weights, chunk (0, 1, 0, 0)``."""
    place = PLACE.fullmatch(file)
    if place is None:
        return "the whitening filter" if file.startswith("whitening") else OTHERS.get(file, file)
    kind, number, array, chunk = place.groups()
    layer = f"{'copy of ' if kind == 'copy' else ''}layer {number}"
    last = "zarr.json" if chunk is None else f"chunk ({chunk.replace('/', ', ')})"
    return ", ".join(part for part in (layer, array, last) if part)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_facts(path: Path) -> FileFacts:
    """What a file holds now."""
    return FileFacts(file_digest(path), path.stat().st_size)


def sealed(fields: dict[str, Any]) -> str:
    """Fields as JSON, with a SHA-256 over them."""
    digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()
    return json.dumps({**fields, "sha256": digest}) + "\n"


def unsealed(path: Path, *names: str) -> dict[str, Any] | None:
    """The fields, of these names, of a file that `sealed` made; None if it is another."""
    try:
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text)
        fields.pop("sha256")
        return fields if sealed(fields) == text and set(fields) == set(names) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def verify_commit(path: Path, deep: bool = False) -> list[Damage]:
    """All that is wrong with a commit: files that are gone, changed, or not its own.

    Parameters
    ----------
    path : Path
    deep : bool
        Compare the SHA-256 of every file; otherwise only the sizes of the chunks.
    """
    damages = changed_files(path, deep)
    if any(damage.file in (MANIFEST, SEAL) for damage in damages):
        return damages
    known = {MANIFEST, SEAL, *load_manifest(path)["files"]}
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    strange = [_damage(name, "no such file", "one") for name in sorted(there - known)]
    return damages + strange


def changed_files(path: Path, deep: bool = False) -> list[Damage]:
    """The files of a commit that are gone or changed; its manifest alone, if that is."""
    damage = _manifest_damage(path)
    if damage is not None:
        return [damage]
    files = load_manifest(path)["files"]
    found = [_file_damage(path, name, FileFacts(**files[name]), deep) for name in files]
    return [damage for damage in found if damage is not None]


def load_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a commit, unchecked."""
    manifest: dict[str, Any] = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def _file_damage(path: Path, name: str, facts: FileFacts, deep: bool) -> Damage | None:
    file = path / name
    try:
        size = file.stat().st_size
        if size != facts.bytes:
            return _damage(name, f"{facts.bytes:,} bytes", f"{size:,} bytes")
        if not deep and CHUNK.match(name):
            return None
        digest = file_digest(file)
    except OSError as error:
        return _damage(name, "a file", str(error.strerror))
    same = digest == facts.sha256
    return None if same else _damage(name, f"SHA-256 {facts.sha256}", f"SHA-256 {digest}")


def _manifest_damage(path: Path) -> Damage | None:
    try:
        digest, seal = file_digest(path / MANIFEST), path / SEAL
        fields = unsealed(seal, "manifest_sha256") if seal.is_file() else None
    except OSError as error:
        return _damage(MANIFEST, "a file", str(error.strerror))
    if fields is not None and fields["manifest_sha256"] != digest:
        return _damage(MANIFEST, f"SHA-256 {fields['manifest_sha256']}", f"SHA-256 {digest}")
    version = _format_of(path)
    if version != (FORMAT, VERSION) and (fields is not None or not seal.is_file()):
        found = f"{version[0]!r} version {version[1]!r}: use the yfccdask that wrote it"
        return _damage(MANIFEST, f"{FORMAT} version {VERSION}", found)
    if fields is None:
        return _damage(SEAL, "a digest of its own bytes", "another, or no such file")
    return None


def read_pointer(run: Path) -> dict[str, Any] | None:
    """What ``RUN/LATEST`` says: the newest commit's name, and its manifest's SHA-256."""
    return unsealed(run / POINTER, "commit", "manifest_sha256")


def pointer_damage(run: Path) -> Damage | None:
    """What is wrong with ``RUN/LATEST``, which names the newest commit; None if nothing is."""
    fields = read_pointer(run)
    if fields is None:
        return _damage(POINTER, "a commit's name under its own SHA-256", "another, or no such file")
    manifest = run / "checkpoints" / str(fields["commit"]) / MANIFEST
    digest = file_digest(manifest) if manifest.is_file() else "no such commit"
    if digest != fields["manifest_sha256"]:
        return _damage(POINTER, f"a manifest of SHA-256 {fields['manifest_sha256']}", digest)
    return None


def is_foreign(path: Path) -> bool:
    """Whether a commit's manifest says that it is of another format version."""
    name, version = _format_of(path)
    return name == FORMAT and version != VERSION


def _format_of(path: Path) -> tuple[Any, Any]:
    try:
        manifest = load_manifest(path)
        return manifest["format"], manifest["format_version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def _damage(name: str, expected: str, found: str) -> Damage:
    return Damage(name, in_words(name), expected, found)
