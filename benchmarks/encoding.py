"""How near `encode` comes to the bare forward pass: ``python -m benchmarks.encoding``.

A network of three layers for images of 32 x 32 (`cifar.yaml`, hardly trained: what it has learned
costs no time) encodes images of noise. The reference is the same network in one process with NumPy
alone: contrast, whitening and layers of images that are in memory, and nothing is written. `encode`
is the command as a person types it, with one worker; its images per second are those that it says
(from reading the weights to the last block), its processor seconds those of all its processes, from
their start to their end. Memory is every process' high-water mark, client and worker apart, at two
sizes of the store. At the end the command is killed with kill -9 half-way, all processes of it at
once, and run again: every file must be what it is undisturbed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recording import record
from benchmarks.watched_command import killed, watched
from yfccdask.analysis.encoding import DONE
from yfccdask.analysis.loaded_networks import loaded_network
from yfccdask.backend import use_one_blas_thread
from yfccdask.config import load_config
from yfccdask.data import BlockStore, open_store, write_store
from yfccdask.data.partial_stores import WORK, partial_of
from yfccdask.data.runs import Run, open_run
from yfccdask.numerics.whole_network import contrast_of, forward_images
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

CONFIG = Path(__file__).parent / "cifar.yaml"
FORMATS, LAYERS = ("zarr", "parquet", "npy"), "1,3"
BARE_IMAGES, ROUNDS, BATCH = 9_600, 3, 192
SIZE, CHANNELS, BLOCK = 32, 3, 960


def noise_store(path: Path, images: int) -> BlockStore:
    """A store of noise, made if it isn't there."""
    if path.exists():
        return open_store(path)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (images, SIZE, SIZE, CHANNELS), dtype=np.uint8)
    return write_store(pixels, path, block_size=BLOCK)


def short_run(path: Path, store: BlockStore) -> Run:
    """A run of one pass per layer, made if it isn't there."""
    if path.exists():
        return open_run(path)
    config = load_config(CONFIG, [f"layers.{number}.passes=1" for number in range(3)])
    return train(config, store, path, cluster=ClusterRequest(workers=1))


def bare_pass(run: Run, store: BlockStore) -> dict[str, float]:
    """Images per second of wall time and of processor time, the best of some rounds."""
    use_one_blas_thread()
    network = loaded_network(run, run.commit())
    images = store.read(range(min(BARE_IMAGES, store.images)))
    best = [float("inf")] * 2
    for _ in range(ROUNDS):
        began = time.perf_counter(), time.process_time()
        for start in range(0, len(images), BATCH):
            forward_images(network, contrast_of(network, images[start : start + BATCH]))
        ended = time.perf_counter(), time.process_time()
        best = [min(pair) for pair in zip(best, np.subtract(ended, began), strict=True)]
    return {
        "images_per_second": len(images) / best[0],
        "images_per_processor_second": len(images) / best[1],
    }


def words(run: Run, store: BlockStore, out: Path, kind: str) -> tuple[str, ...]:
    """The command that encodes."""
    asked = ("encode", str(run.path), store.path, str(out))
    return (*asked, "--layers", LAYERS, "--format", kind)


def digest_of(folder: Path) -> str:
    """SHA-256 over the names and bytes of all activations."""
    found = hashlib.sha256()
    for path in sorted(path for path in folder.glob("layer-*/**/*") if path.is_file()):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    for path in sorted(folder.glob("layer-*.npy")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def killed_half_way(run: Run, store: BlockStore, out: Path, kind: str) -> dict[str, Any]:
    """Kill all processes half-way, finish with the same command; what is there then."""
    ledger, asked = partial_of(out) / WORK / DONE, words(run, store, out, kind)
    half = store.blocks // 2
    count = killed(*asked, when=lambda: ledger.exists() and int(ledger.read_text()) >= half)
    if not count:
        raise SystemExit("expected to kill encode half-way, found that it had ended")
    facts = {"processes": count, "blocks_done": int(ledger.read_text()), "blocks": store.blocks}
    watched(*asked)
    return facts | {"digest": digest_of(out)}


def figures(folder: Path, small: int, images: int, large: int) -> dict[str, Any]:
    """Everything that is measured, in one run."""
    stores = {count: noise_store(folder / f"noise-{count}", count) for count in (small, large)}
    stores[images] = noise_store(folder / f"noise-{images}", images)
    run = short_run(folder / "run", stores[small])
    bare = bare_pass(run, stores[images])
    found: dict[str, Any] = {"images": images, "layers": LAYERS, "bare": bare, "memory_MB": {}}
    digests = {}
    for kind in FORMATS:
        out = folder / f"out-{kind}"
        session = watched(*words(run, stores[images], out, kind))
        digests[kind] = digest_of(out)
        processor = images / session.processor_seconds
        found[kind] = {
            "bytes": session.said["bytes"],
            "of_bare_wall": session.said["images_per_second"] / bare["images_per_second"],
            "of_bare_processor": processor / bare["images_per_processor_second"],
        }
        print(kind, found[kind], session.marks, flush=True)
    for count in (small, large):
        session = watched(*words(run, stores[count], folder / f"out-{count}", FORMATS[0]))
        found["memory_MB"][count] = session.marks
        print(count, session.marks, flush=True)
    for kind in FORMATS:
        facts = killed_half_way(run, stores[images], folder / f"killed-{kind}", kind)
        facts["same_files"] = facts.pop("digest") == digests[kind]
        found[kind]["killed"] = facts
        print(kind, facts, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--large", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to work")
    asked = parser.parse_args()
    sizes = (asked.small, asked.images, asked.large)
    with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
        found = figures(Path(scratch), *sizes)
    rounded = json.loads(json.dumps(found), parse_float=lambda text: float(f"{float(text):.3g}"))
    print(json.dumps(rounded, indent=1), record("encoding", rounded))
    if not all(found[kind]["killed"]["same_files"] for kind in FORMATS):
        raise SystemExit("a killed call left other files")


if __name__ == "__main__":
    main()
