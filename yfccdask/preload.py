"""``dask scheduler --preload yfccdask.preload``: a scheduler that can train runs by itself.

SIGUSR1 (which SLURM sends before a job's time is up) stops and commits the run in training;
SIGTERM closes the scheduler, which does the same first.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

from distributed import Scheduler

from yfccdask.training.control.controller import Controller


def dask_setup(scheduler: Scheduler) -> None:
    """Add the controller; Dask calls this when the scheduler starts."""
    controller = Controller()
    scheduler.add_plugin(controller)
    with suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, controller.stop_soon)
