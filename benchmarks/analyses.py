"""Do the other analyses stay small as stores grow? ``python -m benchmarks.analyses``.

`stimuli`, `selectivity`, `probe` and `tags` look at photographs of CIFAR-10 (see `cifar_data`; of
more than 50,000 the rest are the same ones mirrored and shifted), with their classes as labels and
made-up metadata whose tags are classes and words at random. Every command is run as a person types
it, with one worker, on two stores of which one is several times the other: seconds from start to
end, and every process' high-water mark of memory, client and worker apart. On the larger store it
is then killed with kill -9 in the middle, all processes at once, and run again: it must find what
it found undisturbed. With ``--commands`` the others keep the figures that they have.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.cifar_data import NAMES, fetch, read_split
from benchmarks.encoding import short_run
from benchmarks.recording import RESULTS, record
from benchmarks.watched_command import Session, killed, watched
from yfccdask.data import BlockStore, write_store
from yfccdask.data.metadata.columns import file_schema
from yfccdask.data.runs import Run

FIRST_ID, BLOCK, WORDS, USERS = 4_000_000_000, 960, 50, 1000
FEATURES = "64MB"
LABELS, METADATA = "labels.csv", "metadata"
OPTIONS = {
    "stimuli": ("--no-photos",),
    "selectivity": ("--labels", LABELS, "--layers", "1,3"),
    "probe": ("--labels", LABELS, "--feature-memory", FEATURES),
    "tags": (METADATA, "--layers", "1,3", "--no-photos"),
}
FOUND = {
    "stimuli": "strongest/layer-*.zarr",
    "selectivity": "selectivity/*",
    "probe": "probe/*.parquet",
    "tags": "tags/*.parquet",
}


def photographs(package: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """So many images, uint8 (image, y, x, channel), and their classes' numbers (image,)."""
    images, labels = read_split(package, "train")
    parts, classes = [], []
    for number, start in enumerate(range(0, count, len(images))):
        some = images[: count - start]
        some = some if number == 0 else np.roll(some[:, :, ::-1], number, axis=1)
        parts.append(some)
        classes.append(labels[: len(some)])
    return np.concatenate(parts), np.concatenate(classes)


def labelled_store(folder: Path, package: Path, count: int) -> BlockStore:
    """A store with numbers for ids, and beside it labels and metadata."""
    folder.mkdir()
    images, classes = photographs(package, count)
    ids = [str(FIRST_ID + number) for number in range(count)]
    names = [NAMES[one] for one in classes]
    pd.DataFrame({"id": ids, "label": names}).to_csv(folder / LABELS, index=False)
    (folder / METADATA).mkdir()
    table = pa.Table.from_pylist(list(_rows(ids, names)), schema=file_schema({}))
    pq.write_table(table, folder / METADATA / "part-000000.parquet")
    return write_store(images, folder / "store", ids=ids, block_size=BLOCK)


def _rows(ids: list[str], names: list[str]) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    marked = rng.random((len(ids), WORDS)) < 0.05
    for number, name, words in zip(ids, names, marked, strict=True):
        yield {
            "id": int(number),
            "hash": number.zfill(32),
            "kind": "photo",
            "user": f"user{rng.integers(USERS)}",
            "tags": [name, *(f"word {word}" for word in np.flatnonzero(words))],
            "machine_tags": [],
            "date_taken": datetime(2010, 5, 1),
        }


def command(run: Run, folder: Path, name: str) -> tuple[str, ...]:
    """An analysis of a store as it is typed."""
    options = [str(folder / each) if each in (LABELS, METADATA) else each for each in OPTIONS[name]]
    return (name, str(run.path), str(folder / "store"), *options)


def digest_of(run: Run, name: str) -> str:
    """SHA-256 over the names and bytes of what a command has found."""
    found = hashlib.sha256()
    for top in sorted(run.analysis.glob(FOUND[name])):
        for path in sorted(each for each in [top, *top.rglob("*")] if each.is_file()):
            if path.name not in ("manifest.json",):
                found.update(path.relative_to(run.analysis).as_posix().encode())
                found.update(path.read_bytes())
    return found.hexdigest()


def afresh(run: Run) -> None:
    """Forget what former analyses have found."""
    shutil.rmtree(run.analysis, ignore_errors=True)


def killed_in_the_middle(run: Run, folder: Path, name: str, seconds: float) -> dict[str, Any]:
    """Kill a command after so many seconds, run it again; how long that took, what it found.

    One that has ended by then is begun anew and killed sooner.
    """
    afresh(run)
    end = monotonic() + seconds
    processes = killed(*command(run, folder, name), when=lambda: monotonic() > end)
    if not processes:
        return killed_in_the_middle(run, folder, name, seconds / 2)
    again = watched(*command(run, folder, name))
    facts = {"killed_after_seconds": round(seconds, 1), "processes": processes}
    return {
        **facts,
        "seconds_of_the_second": round(again.seconds, 1),
        "digest": digest_of(run, name),
    }


def figures(
    scratch: Path, package: Path, counts: tuple[int, int], commands: Sequence[str]
) -> dict[str, Any]:
    """Everything that is measured of some commands."""
    stores = {count: labelled_store(scratch / f"{count}", package, count) for count in counts}
    run = short_run(scratch / "run", stores[counts[0]])
    found: dict[str, Any] = {"images": list(counts), "feature_memory": FEATURES}
    for name in commands:
        facts: dict[str, Any] = {}
        for count in counts:
            afresh(run)
            facts[str(count)] = _took(watched(*command(run, scratch / str(count), name)))
        undisturbed, seconds = digest_of(run, name), facts[str(counts[1])]["seconds"]
        after = killed_in_the_middle(run, scratch / str(counts[1]), name, seconds * 0.6)
        facts["killed"] = after | {"same": after.pop("digest") == undisturbed}
        found[name] = facts
        print(name, json.dumps(facts), record("analyses", former() | found), flush=True)
    return found


def _took(session: Session) -> dict[str, Any]:
    return {
        "seconds": round(session.seconds, 1),
        "processor_seconds": round(session.processor_seconds, 1),
        "memory_MB": session.marks,
    }


def former() -> dict[str, Any]:
    """What was recorded before: commands that aren't measured again keep their figures."""
    path = RESULTS / "analyses.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, nargs=2, default=(20_000, 100_000))
    parser.add_argument("--commands", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--folder", type=Path, help="where to work")
    parser.add_argument("--cifar", type=Path, default=Path("/tmp/yfccdask-cifar"))
    asked = parser.parse_args()
    package = fetch(asked.cifar)
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        found = figures(Path(scratch), package, tuple(asked.images), asked.commands)
    if not all(found[name]["killed"]["same"] for name in asked.commands):
        raise SystemExit("a killed analysis found something else")


if __name__ == "__main__":
    main()
