"""One session at a time holds a run, and a process that is killed lets it go."""

import subprocess
import sys

import pytest

from yfccdask.data.run_locks import hold_run, holder_of
from yfccdask.errors import RunHeld

# --- who holds a run ----------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from yfccdask.data.run_locks import hold_run
with hold_run(Path(sys.argv[1]), {"host": "far", "pid": 12, "scheduler": "tcp://far:8786"}):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def other(run):
    """Another process, which holds the run."""
    command = [sys.executable, "-c", HOLDER, str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_run_that_another_process_holds_is_refused_and_says_who_does(run, other):
    with pytest.raises(RunHeld) as caught, hold_run(run, {"pid": 34}):
        pytest.fail("two sessions hold one run")
    assert "host far, pid 12, scheduler tcp://far:8786" in str(caught.value)
    assert f"yfccdask attach {run}" in str(caught.value)
    assert holder_of(run)["pid"] == 12  # asking changed nothing


def test_a_process_that_is_killed_lets_its_run_go(run, other):
    assert holder_of(run) == {"host": "far", "pid": 12, "scheduler": "tcp://far:8786"}
    other.kill()
    other.wait()
    assert holder_of(run) is None
    with hold_run(run, {"pid": 34}):
        assert holder_of(run) == {"pid": 34}


def test_nobody_holds_a_run_before_and_after(run):
    assert holder_of(run) is None
    with hold_run(run, {"pid": 1, "host": "here and now, a long name"}):
        with pytest.raises(RunHeld), hold_run(run, {"pid": 2}):
            pytest.fail("two sessions hold one run")
        assert holder_of(run)["pid"] == 1
    assert holder_of(run) is None
    with hold_run(run, {"pid": 2}):
        assert holder_of(run) == {"pid": 2}


def test_an_error_lets_a_run_go(run):
    with pytest.raises(ZeroDivisionError), hold_run(run, {"pid": 1}):
        _ = 1 / 0
    assert holder_of(run) is None
