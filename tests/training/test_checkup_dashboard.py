"""What the doctor says of a dashboard that only its own machine reaches."""

import asyncio
from types import SimpleNamespace

import pytest

from yfccdask.training.checkup import OK, WARNING, trials
from yfccdask.training.checkup.findings import ClusterFacts, Finding

ELSEWHERE, HERE = "203.0.113.7", "192.0.2.9"  # for documentation: nobody's


def said(host, bound, monkeypatch):
    """Findings of a scheduler at a host whose dashboard is bound to some address."""

    async def identity(n_workers):
        return {"services": {"dashboard": 8787}}

    monkeypatch.setattr(trials, "is_own", lambda name: name == HERE)
    monkeypatch.setattr(
        trials, "page_finding", lambda url, port: Finding("dashboard", WARNING, url)
    )
    door = {"what": "dashboard", "protocol": "http", "port": 8787, "hosts": bound}
    facts = ClusterFacts({}, {"doors": [door], "controller": False}, {})
    scheduler = SimpleNamespace(address=f"tcp://{host}:8786", identity=identity)
    return asyncio.run(trials.dashboard_findings(SimpleNamespace(scheduler=scheduler), facts))


def test_a_dashboard_on_another_machine_s_loopback_is_well_and_comes_with_its_tunnel(monkeypatch):
    (finding,) = said(ELSEWHERE, ["127.0.0.1"], monkeypatch)
    assert finding.level == OK
    assert finding.found.endswith(f"`ssh -L 8787:127.0.0.1:8787 {ELSEWHERE}`")


@pytest.mark.parametrize(
    ("host", "bound", "asked"),
    [
        (HERE, ["127.0.0.1"], "127.0.0.1"),
        (HERE, ["0.0.0.0"], HERE),
        (ELSEWHERE, ["0.0.0.0"], ELSEWHERE),
    ],
)
def test_a_dashboard_is_asked_where_it_listens(host, bound, asked, monkeypatch):
    (finding,) = said(host, bound, monkeypatch)
    assert (finding.level, finding.found) == (WARNING, f"http://{asked}:8787/status")


def test_addresses_of_this_machine_are_its_own():
    assert trials.is_own("127.0.0.1")
    assert not trials.is_own(ELSEWHERE)
