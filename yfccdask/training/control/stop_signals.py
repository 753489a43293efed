"""SIGTERM and SIGUSR1 (and Ctrl-C, where the run would end anyway): commit, then leave."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def on_stop_signals(stop: Callable[[str], None], interrupt: bool) -> Iterator[None]:
    """Call ``stop`` with a signal's name when one comes; with ``interrupt`` Ctrl-C counts as well.

    A second one of the same kind does what it does by default. Within an event loop of the main
    thread; elsewhere (as in a notebook's) signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()

    def once(number: signal.Signals) -> None:
        loop.remove_signal_handler(number)
        stop(number.name)

    numbers = (*STOP_SIGNALS, *((signal.SIGINT,) if interrupt else ()))
    for number in numbers:
        loop.add_signal_handler(number, once, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
