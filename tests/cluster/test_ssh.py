"""The cluster over ssh, with a shell of this machine in place of ssh."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dask
import pytest

from tests.training.processes import until
from yfccdask.data.digests import digest
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.start import train

FOLDER = Path(__file__).parents[2] / "cluster" / "ssh"
SHELL = """#!/bin/bash
shift # the host
exec bash -c "$*" # as sshd does
"""


@pytest.mark.slow
def test_hosts_are_given_workers_and_all_of_them_end(tiny_store, tiny_run, tmp_path):
    shell = tmp_path / "shell"
    shell.write_text(SHELL)
    shell.chmod(0o755)
    hosts, folder = tmp_path / "hosts", tmp_path / "cluster"
    hosts.write_text("# two machines\none 1 1GiB\n\ntwo 2 1GiB\n")
    here = {"YFCCDASK_SSH": str(shell), "YFCCDASK_INTERFACE": "lo"}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **here, "PATH": path}

    def call(script):
        line = ["bash", str(FOLDER / script), str(hosts), str(folder)]
        return subprocess.run(line, env=environment, check=True, capture_output=True, text=True)

    try:
        assert f"export DASK_CONFIG={folder}/dask" in call("start.sh").stdout
        read = dask.config.collect(paths=[str(folder / "dask")], env={})
        with dask.config.set(dask.config.merge(dask.config.config, read)):
            request = ClusterRequest(scheduler_file=str(folder / "scheduler.json"), await_workers=3)
            place = []
            run = train(
                "tiny", tiny_store, tmp_path / "run", cluster=request, on_connect=place.append
            )
        assert (place[0]["workers"], place[0]["scheduler"][:6]) == (3, "tls://")
        assert digest(run) == digest(tiny_run)
        pids = [int(file.read_text()) for file in folder.glob("*.pid")]
        assert len(pids) == 3
    finally:
        call("stop.sh")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not (folder / "key.pem").exists()
