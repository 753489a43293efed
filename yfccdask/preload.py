"""``dask scheduler --preload yfccdask.preload``: a scheduler that can train runs by itself.

SIGUSR1 (which SLURM sends before a job's time is up) stops and commits the run in training;
SIGTERM closes the scheduler, which does the same first.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import suppress

from distributed import Scheduler

from yfccdask.training.control.controller import Controller

SWITCH_SECONDS = 0.5e-3  # Python's own 5 ms are waited for at every turn while graphs are built


def dask_setup(scheduler: Scheduler) -> None:
    """Add the controller; Dask calls this when the scheduler starts."""
    controller = Controller(own_process=True)
    scheduler.add_plugin(controller)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # modules and the like: collecting garbage is not to look at them again
    with suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, controller.stop_soon)
