"""What the preload does in each of Dask's processes."""

import signal

from distributed import Scheduler

from yfccdask import preload


def test_workers_and_nannies_outlive_what_is_sent_to_a_whole_job(monkeypatch):
    told = {}
    monkeypatch.setattr(preload.signal, "signal", lambda *call: told.update([call]))
    preload.dask_setup(object())
    assert told == {signal.SIGTERM: signal.SIG_IGN, signal.SIGUSR1: signal.SIG_IGN}


def test_a_scheduler_leads(monkeypatch):
    led = []
    monkeypatch.setattr(preload, "lead", led.append)
    scheduler = Scheduler.__new__(Scheduler)
    preload.dask_setup(scheduler)
    assert led == [scheduler]
