"""Kill -9 an ingest at random moments, run it again until it is done, compare every byte.

``python -m benchmarks.ingest_kills`` makes 10,000 photographs of noise (some of them broken, some
twice), ingests them undisturbed with one worker, and then with two workers while the whole
process tree of the command is killed at random moments. Once it is done, both stores must be the
same in every file and ``yfccdask store check --deep`` must hold; then it begins anew, until there
were 20 kills. A killed benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.recording import record

OPTIONS = ("--size", "64", "--block-size", "192", "--wave-files", "1500")
AT_WORK = 0.85  # share of the kills that come after the first batch
KILLS, ROUNDS = "kills.json", "rounds.json"
BROKEN, TWICE = 97, 89  # every so many-th file is cut short, or repeats the one before


def make_photograph(path: str, number: int) -> None:
    """A JPEG of smooth noise, 96 x 80 pixels."""
    rng = np.random.default_rng(number - (number % TWICE == 0))
    noise = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).resize((96, 80)).save(stream, "JPEG", quality=88)
    content = stream.getvalue()
    Path(path).write_bytes(content[: len(content) // (2 if number % BROKEN == 0 else 1)])


def make_photographs(folder: Path, count: int) -> None:
    made = folder.with_name("photographs-made")
    if made.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / f"{number:05d}.jpg") for number in range(count)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_photograph, paths, range(1, count + 1), chunksize=200))
    made.touch()


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def start(photos: Path, store: Path, workers: int, log: Path) -> subprocess.Popen[bytes]:
    """The command as a person types it, in a process of its own."""
    line = [sys.executable, "-m", "yfccdask", "ingest", str(photos), str(store), *OPTIONS]
    with log.open("ab") as out:
        return subprocess.Popen([*line, "--workers", str(workers)], stdout=out, stderr=out)


def wait_for_output(process: subprocess.Popen[bytes], log: Path, size: int) -> None:
    """Wait until a command has said something, or has ended."""
    while process.poll() is None and log.stat().st_size == size:
        time.sleep(0.02)


def kill_tree(process: subprocess.Popen[bytes]) -> int:
    """kill -9 of a process that we started and of all below it; how many there were."""
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.kill()
    for child in below:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
    psutil.wait_procs(below, timeout=10)
    return 1 + len(below)


def progress_of(store: Path) -> str:
    """How far an unfinished store is: finished waves, and what lies in its staging."""
    work = store.with_name(f"{store.name}.partial") / "work"
    waves = len(list(work.glob("ledger/wave-*.json")))
    blocks = len(list(work.glob("staging/*/block-*.json")))
    return (
        f"{waves} waves, {len(list(work.glob('staging/*/part-*.json')))} batches, {blocks} blocks"
    )


def moments_of(folder: Path) -> list[str]:
    """How far the ingest was at each kill so far."""
    said = folder / KILLS
    return list(json.loads(said.read_text())) if said.exists() else []


def killed_ingest(folder: Path, photos: Path, kills: int, seconds: float, seed: int) -> None:
    """Run the ingest, killed at random moments of its first ``seconds``, until it is done."""
    store, log, moments = folder / "killed", folder / "killed.log", moments_of(folder)
    rng = random.Random(f"{seed} {len(moments)}")
    while len(moments) < kills and not store.exists():
        size, wait = log.stat().st_size if log.exists() else 0, rng.uniform(0, seconds)
        process = start(photos, store, 2, log)
        if rng.random() < AT_WORK:  # the others are killed while they start
            wait_for_output(process, log, size)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            count = kill_tree(process)
            moments.append(f"{count} processes: {progress_of(store)}")
            (folder / KILLS).write_text(json.dumps(moments))
            print(moments[-1], flush=True)
    while start(photos, store, 2, log).wait():
        raise SystemExit(f"expected the ingest to end well, see {log}")


def undisturbed(folder: Path, photos: Path) -> float:
    """The same with one worker and no kill; seconds."""
    store, began = folder / "whole", time.monotonic()
    if store.exists():
        return float((folder / "seconds").read_text())
    if start(photos, store, 1, folder / "whole.log").wait():
        raise SystemExit(f"expected the ingest to end well, see {folder / 'whole.log'}")
    seconds = time.monotonic() - began
    (folder / "seconds").write_text(str(seconds))
    return seconds


def check(store: Path) -> dict[str, object]:
    line = [sys.executable, "-m", "yfccdask", "store", "check", str(store), "--deep", "--json"]
    done = subprocess.run([*line, "--workers", "2"], capture_output=True, check=False)
    return {"exit_code": done.returncode, **json.loads(done.stdout)}


def rounds_of(folder: Path) -> list[dict[str, object]]:
    """What became of each killed store that was finished so far."""
    said = folder / ROUNDS
    return list(json.loads(said.read_text())) if said.exists() else []


def note_round(folder: Path) -> None:
    """Compare a finished store with the undisturbed one, note it, and make room for the next."""
    whole, killed = tree(folder / "whole"), tree(folder / "killed")
    found = check(folder / "killed")
    different = sorted(name for name in whole | killed if whole.get(name) != killed.get(name))
    facts = {name: found[name] for name in ("exit_code", "holds", "rows", "written", "reasons")}
    done = {"files": len(whole), "files_that_differ": different, **facts}
    (folder / ROUNDS).write_text(json.dumps([*rounds_of(folder), done]))
    shutil.rmtree(folder / "killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=4.0, help="a kill comes within so many")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/yfccdask-ingest-kills"))
    asked = parser.parse_args()
    photos = asked.folder / "photos"
    make_photographs(photos, asked.photographs)
    seconds = undisturbed(asked.folder, photos)
    while len(moments_of(asked.folder)) < asked.kills:
        killed_ingest(asked.folder, photos, asked.kills, asked.seconds, asked.seed)
        note_round(asked.folder)
    rounds = rounds_of(asked.folder)
    facts = {
        "photographs": asked.photographs,
        "kills": len(moments_of(asked.folder)),
        "moments": moments_of(asked.folder),
        "rounds": rounds,
        "seconds_undisturbed_one_worker": round(seconds, 1),
    }
    print(json.dumps(facts, indent=1))
    record("ingest_kills", facts)
    if any(each["files_that_differ"] or not each["holds"] for each in rounds):
        raise SystemExit("a store differs, or its check fails")
    shutil.rmtree(asked.folder)


if __name__ == "__main__":
    main()
