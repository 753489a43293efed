"""``dask scheduler --preload yfccdask.preload``: a scheduler that can train runs by itself.

SIGUSR1 (which SLURM sends before a job's time is up) stops and commits the run in training;
SIGTERM closes the scheduler, which does the same first.

``dask worker --preload yfccdask.preload --preload-nanny yfccdask.preload``: workers that outlive
SIGTERM and SIGUSR1, which batch systems send to a whole job: they have to write the commit. They
end when their scheduler closes, and with Ctrl-C.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import suppress

import dask
from distributed import Nanny, Scheduler, Worker

from yfccdask.training.control.controller import Controller
from yfccdask.training.control.stop_signals import STOP_SIGNALS
from yfccdask.training.dask_settings import TRAINING_SETTINGS

LOG_LENGTH = "distributed.admin.low-level-log-length"
SWITCH_SECONDS = 0.5e-3  # Python's own 5 ms are waited for at every turn while graphs are built


def dask_setup(server: Scheduler | Worker | Nanny) -> None:
    """Dask calls this when a scheduler, a worker or its nanny starts."""
    if isinstance(server, Scheduler):
        lead(server)
    else:
        outlive_signals()


def outlive_signals() -> None:
    """Ignore what is sent to a whole job: the scheduler says when this process is to end."""
    with suppress(ValueError):  # not in the main thread: it gets no signals
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def lead(scheduler: Scheduler) -> None:
    """Add the controller to a scheduler; no worker has come yet: its log can be kept short."""
    dask.config.set({LOG_LENGTH: TRAINING_SETTINGS[LOG_LENGTH]})
    controller = Controller(own_process=True)
    scheduler.add_plugin(controller)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # modules and the like: collecting garbage is not to look at them again
    with suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, controller.stop_soon)
