"""Kill -9 at random moments, resume, compare: ``python -m benchmarks.chaos [--kills 40]``.

Each trial trains the tiny network to its end with up to five kills on the way: of a worker, of the
scheduler, of the client, of an embedded cluster's one process; at random moments, starting up and
resuming among them. Afterwards the digest must be that of an undisturbed run, every commit whole,
and no commit that was announced lost. Goes on where the last invocation stopped, up to 200 kills.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.chaos_processes import Cluster, kill, typed, workers_below
from benchmarks.recording import RESULTS, record
from yfccdask.data import write_store
from yfccdask.data.checkpoints import verify_run
from yfccdask.data.commits import has_finished
from yfccdask.data.digests import digest
from yfccdask.data.events import read_events

WANTED, PER_TRIAL, LIMIT = 200, 5, 300.0
VICTIMS = ("worker", "scheduler", "client", "embedded")
COMMITS = ["checkpoints.every_blocks=4", "checkpoints.most_share=null", "recovery.attempts=9"]
MODES = {
    "sequential": ["layers.0.passes=12"],
    "staggered": [
        "pipeline.start=after_blocks",
        "pipeline.after_blocks=9",
        "pipeline.sync_every=3",
        *(f"layers.{layer}.passes=12" for layer in range(3)),
    ],
    "weights on disk": ["layers.0.passes=10", "engine.weights=disk", "engine.chunk=[2, 2]"],
}


@dataclass
class Trial:
    """One run to its end: what was killed and when, and what became of it."""

    seed: int
    mode: str
    embedded: bool
    kills: list[dict[str, Any]] = field(default_factory=list)
    commands: list[list[Any]] = field(default_factory=list)
    torn: int = 0
    lost: int = 0
    same: bool = False
    hung: bool = False
    seconds: float = 0.0


@dataclass
class Chaos:
    """A trial under way."""

    trial: Trial
    store: Path
    folder: Path
    cluster: Cluster
    span: float

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.trial.seed)
        self.run = self.folder / f"run-{self.trial.seed}"
        self.left = PER_TRIAL
        self.began = time.monotonic()

    def to_its_end(self) -> Trial:
        """Type commands and kill, until the run has finished."""
        if not self.trial.embedded and not self.cluster.processes:
            self.cluster.start()
        while not (self.run.exists() and has_finished(self.run)):
            if time.monotonic() - self.began > LIMIT:
                self.trial.hung = True
                break
            self.one_command()
        self.judge()
        return self.trial

    def where(self) -> list[str]:
        """The options that say where to train."""
        if self.trial.embedded:
            return ["--workers", "2"]
        return ["--scheduler-file", str(self.cluster.file)]

    def next_command(self) -> list[str]:
        """What a person would type now."""
        last = self.trial.commands[-1] if self.trial.commands else ["", 0]
        if last[0] in ("train", "resume") and last[1] == 1 and not self.trial.embedded:
            return ["attach", *self.where()]  # it may train already, without its client
        if not (self.run / "config.yaml").exists():
            options = [text for each in self.settings() for text in ("--set", each)]
            what = ["train", "tiny", "--data", str(self.store), "--run", str(self.run)]
            return [*what, *options, *self.where()]
        return ["resume", str(self.run), *self.where()]

    def settings(self) -> list[str]:
        return [*MODES[self.trial.mode], *COMMITS]

    def one_command(self) -> None:
        """Type a command; kill something at a random moment, or wait for its end."""
        line = self.next_command()
        process = typed(line, self.folder / f"{self.run.name}.log")
        while self.left and process.exitcode is None:
            process.join(self.rng.uniform(0, self.span))
            if process.exitcode is None and self.kill_something(process) != "worker":
                break
        process.join(LIMIT)
        if process.exitcode is None:
            self.trial.hung = True
            kill(process.pid)
            process.join()
        self.trial.commands.append([line[0], process.exitcode])
        if process.exitcode:
            time.sleep(1.0)  # new workers are not there at once

    def kill_something(self, client: Any) -> str:
        """Kill one process of the run by its own pid; says which."""
        victims = ("worker", "embedded") if self.trial.embedded else VICTIMS[:3]
        victim = str(self.rng.choice(victims))
        pids = {
            "worker": self.workers(client),
            "scheduler": [p.pid for n, p in self.cluster.processes.items() if n == "scheduler"],
            "client": [client.pid],
            "embedded": [client.pid],
        }[victim]
        if not (pids and kill(int(self.rng.choice(pids)))):
            return "worker"
        self.left -= 1
        self.trial.kills.append({"victim": victim, "tick": self.tick(), **self.clock()})
        if victim in ("scheduler", "embedded"):
            client.join(LIMIT)
            self.look_for_torn()
        if victim == "scheduler":
            self.cluster.start()
        return victim

    def workers(self, client: Any) -> list[int]:
        return workers_below(client.pid) if self.trial.embedded else self.cluster.workers()

    def clock(self) -> dict[str, float]:
        return {"seconds": round(time.monotonic() - self.began, 2)}

    def tick(self) -> int | None:
        """The last tick that was recorded."""
        ticks = [event["tick"] for event in self.events() if event["event"] == "block"]
        return ticks[-1] if ticks else None

    def events(self) -> list[dict[str, Any]]:
        return read_events(self.run / "events.jsonl")

    def look_for_torn(self) -> None:
        """Count commits that are not whole, while nobody writes any."""
        if (self.run / "config.yaml").exists():
            self.trial.torn += sum(bool(each.damages) for each in verify_run(self.run, deep=True))

    def judge(self) -> None:
        """Compare with what an undisturbed run would have left."""
        self.look_for_torn()
        self.trial.lost = lost_commits(self.events())
        self.trial.seconds = self.clock()["seconds"]
        if not self.trial.hung:
            self.trial.same = digest(self.run).arrays == reference(self.store, self.folder, self)


def lost_commits(events: list[dict[str, Any]]) -> int:
    """Sessions that did not go on from the newest commit that had been announced."""
    newest = lost = 0
    for event in events:
        if event["event"] == "commit":
            newest = event["number"]
        elif event["event"] in ("start", "resume"):
            lost += event.get("commit", 0) < newest
    return lost


def reference(store: Path, folder: Path, chaos: Chaos) -> dict[str, str]:
    """The digests of an undisturbed run of the same mode; trained once per invocation."""
    run = folder / f"reference-{chaos.trial.mode.replace(' ', '-')}"
    if not run.exists():
        options = [text for each in chaos.settings() for text in ("--set", each)]
        line = ["train", "tiny", "--data", str(store), "--run", str(run), *options]
        process = typed([*line, "--workers", "2"], folder / f"{run.name}.log")
        process.join(LIMIT)
        assert process.exitcode == 0, (folder / f"{run.name}.log").read_text()
    return digest(run).arrays


def tiny_store(path: Path) -> Path:
    """Images of smoothed noise: four blocks of 12 and a short one."""
    noise = np.random.default_rng(1).normal(size=(50, 20, 20, 3))
    images = np.clip(128 + 40 * (noise + np.roll(noise, 1, axis=1)), 0, 255).astype(np.uint8)
    write_store(images, path, block_size=12)
    return path


def recorded_trials() -> list[dict[str, Any]]:
    """The trials of earlier invocations."""
    path = RESULTS / "chaos.json"
    if not path.exists():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
    return found


def totals(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """What all trials amount to."""
    kills = [each for trial in trials for each in trial["kills"]]
    return {
        "runs": len(trials),
        "kills": len(kills),
        "kills_of": dict(Counter(each["victim"] for each in kills)),
        "before_the_first_block": sum(each["tick"] is None for each in kills),
        "other_digests": sum(not trial["same"] for trial in trials),
        "torn_commits": sum(trial["torn"] for trial in trials),
        "lost_commits": sum(trial["lost"] for trial in trials),
        "hung": sum(trial["hung"] for trial in trials),
    }


def main(kills: int) -> None:
    """Run trials until there are so many kills more, or enough in all."""
    trials = recorded_trials()
    wanted = min(WANTED, totals(trials)["kills"] + kills)
    with TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temporary:
        folder = Path(temporary)
        store, cluster = tiny_store(folder / "store"), Cluster(folder)
        try:
            while (found := totals(trials))["kills"] < wanted:
                number = len(trials)
                mode = list(MODES)[number % len(MODES)]
                trial = Trial(number, mode, embedded=number % 4 == 3)
                chaos = Chaos(trial, store, folder, cluster, span=9.0)
                trials.append(asdict(chaos.to_its_end()))
                print(f"{totals(trials)}\n  {trials[-1]}", flush=True)
                record("chaos", {"totals": totals(trials), "trials": trials})
                if not trial.same:
                    keep_logs(folder)
        finally:
            cluster.stop()
    print(found)


def keep_logs(folder: Path) -> None:
    """Print what the last trial's processes said, since it failed."""
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text(errors='replace')[-6000:]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=40, help="kills of this invocation")
    main(parser.parse_args().kills)
