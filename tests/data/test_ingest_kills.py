"""Real kills of real commands; the form with 10,000 photographs is `benchmarks.ingest_kills`."""

import subprocess
import sys
import time

import psutil
import pytest

from tests.data.made_photos import photo_folder, tree
from yfccdask.data.store_checks import check_store_files

OPTIONS = ("--size", "16", "--block-size", "24", "--wave-files", "60")


def ingesting(photos, store, workers):
    line = [sys.executable, "-m", "yfccdask", "ingest", str(photos), str(store), *OPTIONS]
    return subprocess.Popen([*line, "--workers", str(workers)], stderr=subprocess.PIPE)


def kill_all(process):
    below = psutil.Process(process.pid).children(recursive=True)
    for each in (process, *below):
        each.kill()
    process.wait()
    psutil.wait_procs(below, timeout=10)


@pytest.mark.slow
def test_an_ingest_killed_in_any_wave_ends_with_the_same_files(tmp_path):
    photos = photo_folder(tmp_path / "photos", 300)
    assert ingesting(photos, tmp_path / "whole", 1).wait() == 0
    ledger, kills = tmp_path / "s.partial/work/ledger", 0
    for waves in (1, 3):
        process = ingesting(photos, tmp_path / "s", 2)
        while process.poll() is None and not (ledger / f"wave-{waves:06d}.json").exists():
            time.sleep(0.005)
        if process.poll() is None:
            kill_all(process)
            kills += 1
    assert kills
    assert ingesting(photos, tmp_path / "s", 2).wait() == 0
    assert tree(tmp_path / "s") == tree(tmp_path / "whole")
    assert check_store_files(tmp_path / "s", deep=True).holds
