"""A real SLURM on this machine: a batch job that is interrupted in every way, and a notebook's."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import dask
import pytest
import yaml
from distributed import Client

from tests.cluster.slurm_daemons import asked, job_facts, missing_programs, running_slurm
from tests.conftest import THREADS
from tests.training.processes import until
from yfccdask.config import load_config
from yfccdask.data.commits import commit_numbers, has_finished
from yfccdask.data.digests import digest
from yfccdask.data.events import read_events
from yfccdask.data.run_locks import holder_of
from yfccdask.training.start import train

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(missing_programs()), reason=missing_programs()),
]
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm" / "train.sbatch"
LONG = ("layers.0.passes=100", "checkpoints.every_blocks=15", "checkpoints.most_share=null")
WAIT = 240  # seconds, on a machine that does other things as well


@pytest.fixture(scope="module")
def slurm():
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where an active environment is
    with running_slurm() as (environment, folder):
        yield environment | {"YFCCDASK_INTERFACE": "lo", "PATH": path}, folder


class Job:
    """A batch job that trains a run."""

    def __init__(self, environment, store, run):
        self.environment, self.run = environment, run
        wishes = [word for each in LONG for word in ("--set", each)]
        line = ["sbatch", "--parsable", "--chdir", run.parent, SCRIPT, "tiny", store.path, run]
        self.number = asked(environment, *line, *wishes)

    def until_running(self):
        until(lambda: self.facts()["JobState"] == "RUNNING", WAIT)

    def until_trained_on(self):
        """Wait until this start of the job has committed something of its own."""
        self.until_running()
        before = self.commits()
        until(lambda: self.commits() > before, WAIT)
        assert not has_finished(self.run), "too fast for this test: give it more passes"

    def until_restarted(self, times):
        """Wait until SLURM has started it once more."""
        until(lambda: int(self.facts()["Restarts"]) == times, WAIT)

    def commits(self):
        return max(commit_numbers(self.run / "checkpoints"), default=0)

    def facts(self):
        return job_facts(self.environment, self.number)

    def ask(self, *line):
        return asked(self.environment, *line)


def test_a_job_that_is_signalled_preempted_and_killed_learns_the_same(slurm, tiny_store, tmp_path):
    environment, _ = slurm
    job = Job(environment, tiny_store, tmp_path / "run")

    until((tmp_path / f".yfccdask-{job.number}").exists, WAIT)
    job.ask("scancel", "--signal=USR1", "--batch", job.number)  # before it has begun
    job.until_restarted(1)

    job.until_trained_on()
    job.ask("scancel", "--signal=USR1", "--batch", job.number)  # as before its time is up
    job.until_restarted(2)

    job.until_trained_on()
    urgent = job.ask("sbatch", "--parsable", "-p", "urgent", "-N2", "-o/dev/null", "--wrap=true")
    until(lambda: job_facts(environment, urgent)["JobState"] == "COMPLETED", WAIT)
    job.until_restarted(3)

    job.until_trained_on()
    os.kill(holder_of(job.run)["pid"], signal.SIGKILL)  # the scheduler; nothing is committed
    job.until_restarted(4)

    until(lambda: job.facts()["JobState"] not in ("PENDING", "RUNNING", "COMPLETING"), WAIT)
    assert job.facts()["JobState"] == "COMPLETED", (
        tmp_path / f"yfccdask-{job.number}.log"
    ).read_text()
    straight = train(load_config("tiny", LONG), tiny_store, tmp_path / "straight", cluster=THREADS)
    assert digest(job.run).arrays == digest(straight).arrays  # commits are numbered otherwise
    ends = [
        event["reason"]
        for event in read_events(job.run / "events.jsonl")
        if event["event"] == "end"
    ]
    assert ends == ["stopped", "stopped", "finished"]
    assert not list(tmp_path.glob(".yfccdask-*")), "keys are left behind"


def test_a_job_without_its_arguments_says_which(slurm, tmp_path):
    environment, _ = slurm
    number = asked(environment, "sbatch", "--parsable", "--chdir", tmp_path, SCRIPT, "tiny")
    until(lambda: job_facts(environment, number)["JobState"] == "FAILED", WAIT)
    assert job_facts(environment, number)["ExitCode"] == "2:0"
    assert "expected CONFIG STORE RUN" in (tmp_path / f"yfccdask-{number}.log").read_text()


def test_a_notebook_trains_on_jobs_of_dask_jobqueue(
    slurm, tiny_store, tiny_run, tmp_path, monkeypatch
):
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    environment, _ = slurm
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shipped = yaml.safe_load((ROOT / "cluster" / "jobqueue.yaml").read_text())
    merged = dask.config.merge(dask.config.config, shipped)
    small = {"cores": 2, "processes": 2, "memory": "2GB", "interface": "lo", "security": True}
    with (
        dask.config.set(merged),
        dask.config.set({"jobqueue.slurm.scheduler-options": {"dashboard_address": "127.0.0.1:0"}}),
        dask_jobqueue.SLURMCluster(shared_temp_directory=str(tmp_path), **small) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        cluster.scale(jobs=2)
        client.wait_for_workers(4, timeout=WAIT)
        assert cluster.scheduler_address.startswith("tls://")
        with pytest.warns(UserWarning, match="ends the run"):
            run = train("tiny", tiny_store, tmp_path / "run", client=client)
    assert digest(run) == digest(tiny_run)
