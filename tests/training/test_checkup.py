"""The doctor: what is made of answers, and what it finds on clusters well and sick."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import threads_cluster
from tests.training.made_up_speeds import made_up_calibration
from yfccdask.config import load_config
from yfccdask.training.checkup import (
    FAILURE,
    OK,
    WARNING,
    doctor,
    examination,
    probes,
    rules,
    trials,
)
from yfccdask.training.checkup.findings import ClusterFacts, number_of
from yfccdask.training.checkup.probes import broken_pins
from yfccdask.training.clusters import TRAINING_SETTINGS, ClusterRequest
from yfccdask.training.compatibility import process_versions
from yfccdask.training.control.controller import Controller
from yfccdask.training.planning import sites
from yfccdask.training.planning.planner import network_plan, run_plan
from yfccdask.training.planning.records import Site

HERE = process_versions()
LOOPBACK = {"what": "itself", "protocol": "tcp", "port": 1, "hosts": ["127.0.0.1"]}
BLAS = {"internal_api": "openblas", "version": "0.3", "architecture": "Zen"}
BLAS |= {"threading_layer": "pthreads", "num_threads": 1}
GOOD = {"versions": HERE, "pins": [], "doors": [LOOPBACK], "settings": TRAINING_SETTINGS}
SCHEDULER = GOOD | {"unseen": [], "controller": True, "training": False, "idle_timeout": None}
WORKER = GOOD | {
    "unseen": [],
    "disk": {"folder": "/scratch", "free": 10**12, "write": 1e9, "read": 1e9},
    "blas": [BLAS],
    "threads": 1,
    "memory_limit": 8 * 10**9,
    "host": "node",
    "host_memory": 17 * 10**9,
    "malloc": {},
    "gpu": {"cards": 0, "count": 0, "trained_on": False},
}


def cluster(scheduler=None, **second):
    """A scheduler and two workers that are well, but for what is said of it or of the second."""
    workers = {"tcp://a:1": WORKER, "tcp://b:1": WORKER | second}
    return ClusterFacts(HERE, SCHEDULER | (scheduler or {}), workers, {"/store": "the store"})


def findings(facts):
    return [finding for rule in rules.RULES for finding in rule(facts)]


def bad(facts):
    return [finding for finding in findings(facts) if finding.level != OK]


def only(facts, name, level):
    """The one finding that is not ok; it has a remedy."""
    (finding,) = bad(facts)
    assert (finding.name, finding.level) == (name, level)
    assert finding.remedy
    return finding


def test_a_cluster_that_is_well_has_a_line_of_every_rule():
    assert bad(cluster()) == []
    assert len(findings(cluster())) == len(rules.RULES)


def test_nobody_s_answers_are_no_error():
    assert findings(ClusterFacts(HERE, None, {}, {"/store": "the store"})) == []


def test_versions_that_must_be_alike_are_a_failure():
    finding = only(cluster(versions=HERE | {"dask": "0.1"}), "versions", FAILURE)
    assert "0.1 on 1 worker (tcp://b:1)" in finding.found
    assert finding.remedy.startswith(f"install dask {HERE['dask']}")


@pytest.mark.parametrize("name", ["numpy", "numba", "scipy", "zarr"])
@pytest.mark.parametrize("place", ["scheduler", "worker"])
def test_versions_that_change_bits_are_a_warning(name, place):
    versions = {"versions": HERE | {name: "0.1"}}
    facts = cluster(versions) if place == "scheduler" else cluster(**versions)
    finding = only(facts, "versions", WARNING)
    assert f"{name}: " in finding.found
    assert "0.1 on " in finding.found


def test_a_requirement_that_is_not_met_is_a_failure_where_it_is_not():
    finding = only(cluster(pins=["zarr: expected >=9, found 3"]), "pins", FAILURE)
    assert finding.found == "zarr: expected >=9, found 3 on 1 worker (tcp://b:1)"


def test_pins_are_compared_with_what_is_installed():
    assert broken_pins(["numpy>=1", "dask[array]>=2020", "pip"]) == []
    assert broken_pins(["numpy<1,>0"]) == [f"numpy: expected <1,>0, found {HERE['numpy']}"]
    assert broken_pins(["no-such-thing>=2"]) == ["no-such-thing: expected >=2, found none"]


def test_pins_of_extras_and_of_other_systems_are_left_out():
    assert broken_pins(["none; extra == 'cuda12'", "none; sys_platform == 'amiga'"]) == []


def test_this_installation_meets_its_own_pins():
    assert broken_pins() == []


def test_workers_of_different_core_types_are_a_warning():
    finding = only(cluster(blas=[BLAS | {"architecture": "Haswell"}]), "blas", WARNING)
    assert "openblas 0.3 Haswell on 1 worker" in finding.found


def test_threads_of_a_blas_are_no_matter_and_said():
    facts = cluster(blas=[BLAS | {"num_threads": 64}])
    assert bad(facts) == []
    assert "1 or 64 threads now, 1 from the first task on" in str(findings(facts))


def test_a_blas_that_can_t_be_limited_is_a_warning():
    facts = cluster()
    facts = replace(facts, workers={name: WORKER | {"blas": []} for name in facts.workers})
    assert "OMP_NUM_THREADS=1" in only(facts, "blas", WARNING).remedy


def test_workers_of_several_threads_are_a_warning():
    assert "--nthreads 1" in only(cluster(threads=4), "threads", WARNING).remedy


def test_openmp_limits_one_thread_of_a_worker_only():
    openmp = cluster(threads=4, blas=[BLAS | {"threading_layer": "openmp"}])
    found = bad(openmp)
    assert [finding.level for finding in found] == [WARNING, WARNING]
    assert "OMP_NUM_THREADS=1" in found[1].remedy


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5"])
@pytest.mark.parametrize("protocol", ["tcp", "ws", "ucx"])
def test_an_open_door_without_a_certificate_is_a_warning(host, protocol):
    door = LOOPBACK | {"protocol": protocol, "hosts": ["127.0.0.1", host]}
    for facts in (cluster(doors=[door]), cluster({"doors": [door]})):
        finding = only(facts, "bindings", WARNING)
        assert "can run code as its user" in finding.found
        assert host in finding.found
        assert "--protocol tls" in finding.remedy


@pytest.mark.parametrize("door", [{"protocol": "tls", "hosts": ["0.0.0.0"]}, {"hosts": ["::1"]}])
def test_tls_and_loopback_are_no_open_doors(door):
    assert bad(cluster(doors=[LOOPBACK | door])) == []


def test_an_open_dashboard_is_another_warning():
    door = {"what": "dashboard", "protocol": "http", "port": 2, "hosts": ["0.0.0.0"]}
    finding = only(cluster({"doors": [LOOPBACK, door]}), "bindings", WARNING)
    assert "--dashboard-address" in finding.remedy


def test_a_full_scratch_is_a_warning_and_a_closed_one_a_failure():
    full = WORKER["disk"] | {"free": 10**8}
    assert "0.1 GB free" in only(cluster(disk=full), "scratch", WARNING).found
    closed = {"folder": "/scratch", "error": "Read-only file system"}
    assert "Read-only" in only(cluster(disk=closed), "scratch", FAILURE).found


def test_a_disk_that_is_slow_is_a_warning():
    slow = WORKER["disk"] | {"write": 1e6}
    assert "1 MB/s written" in only(cluster(disk=slow), "scratch", WARNING).found


def test_a_folder_that_somebody_does_not_see_is_a_failure():
    finding = only(cluster({"unseen": ["/store"]}, unseen=["/store"]), "shared", FAILURE)
    assert finding.found == "the store: not seen by the scheduler and 1 worker (tcp://b:1)"


@pytest.mark.parametrize("limit", [None, 0])
def test_a_worker_without_a_memory_limit_is_a_warning(limit):
    finding = only(cluster(memory_limit=limit), "memory", WARNING)
    assert "tcp://b:1" in finding.found
    assert "--memory-limit" in finding.remedy


def test_limits_over_a_host_s_memory_are_a_warning():
    finding = only(cluster(memory_limit=12 * 10**9), "memory", WARNING)
    assert "20.0 GB in all, of 17.0 GB" in finding.found
    assert bad(cluster(memory_limit=12 * 10**9, host="another")) == []


def settings_line(facts):
    """What is said of settings where nothing is wrong with the cluster."""
    assert bad(facts) == []
    (line,) = [finding.found for finding in findings(facts) if finding.name == "settings"]
    return line


def test_a_scheduler_that_ends_when_idle_does_not_while_a_run_trains():
    line = settings_line(cluster({"idle_timeout": 600.0}))
    assert line.startswith("the controller sets them for as long as a run trains: ")
    assert line.endswith("scheduler.idle-timeout on scheduler")


def test_settings_that_a_run_changes_itself_are_said_to_be():
    changed = TRAINING_SETTINGS | {"distributed.scheduler.work-stealing": True}
    assert settings_line(cluster({"settings": changed})).endswith(
        ": scheduler.work-stealing on scheduler"
    )
    changed = TRAINING_SETTINGS | {"distributed.worker.memory.pause": 0.8}
    assert settings_line(cluster(settings=changed)).endswith(": worker.memory.pause on 1 worker")


def test_settings_that_can_t_be_changed_come_with_their_environment_variable():
    length = "distributed.admin.low-level-log-length"
    changed = TRAINING_SETTINGS | {length: 1000, "distributed.worker.memory.pause": 0.8}
    facts = cluster(settings=changed)
    finding = only(facts, "settings", WARNING)
    assert finding.found.startswith("on 1 worker (tcp://b:1): admin.low-level-log-length is 1000")
    assert finding.remedy == "start them with DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH=10"
    assert "worker.memory.pause on 1 worker" in findings(facts)[-1].found


def test_settings_that_mean_the_same_are_alike():
    changed = {
        "distributed.worker.memory.pause": None,
        "distributed.worker.memory.spill": 0,
        "distributed.comm.timeouts.connect": "1 minute",
        "distributed.scheduler.work-stealing": True,  # no worker reads it
    }
    assert bad(cluster(settings=TRAINING_SETTINGS | changed)) == []


def test_memory_that_is_given_back_at_once_is_kept_while_a_run_trains():
    line = settings_line(cluster(malloc={"MALLOC_TRIM_THRESHOLD_": "65536"}))
    assert line.endswith(": MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_ on 1 worker")


def test_places_are_counted():
    assert number_of(["tcp://a:1"]) == "1 worker"
    assert number_of(["client", "tcp://a:1", "tcp://b:1"]) == "client and 2 workers"


def test_answers_that_a_rule_can_t_judge_are_a_failure():
    strange = replace(cluster(), scheduler={"versions": HERE})
    (finding,) = examination.judged(rules.binding_findings, strange)
    assert (finding.name, finding.level) == ("binding_findings", FAILURE)


def levels(found, name):
    return [finding.level for finding in found if finding.name == name]


def test_an_embedded_cluster_is_well_and_nothing_is_left(tiny_store, tmp_path):
    found = doctor(
        ClusterRequest(workers=1, processes=False), data=tiny_store, run=tmp_path / "runs" / "run"
    )
    assert [finding for finding in found if finding.level == FAILURE] == []
    assert levels(found, "controller") == [OK]
    assert levels(found, "settings") == [OK]
    assert levels(found, "bindings") == [OK]
    assert levels(found, "shared") == [OK, OK]
    assert levels(found, "store") == [OK]
    assert levels(found, "network") == [OK]
    assert levels(found, "gpus") != []
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def running():
    """A client of a cluster without the controller, whose worker has two threads and no limit."""
    with (
        threads_cluster(1, threads_per_worker=2, memory_limit=0) as cluster,
        cluster.get_client() as client,
    ):
        yield client


def test_a_running_cluster_is_asked(running, tiny_store, tmp_path, monkeypatch):
    request = ClusterRequest(scheduler=running.scheduler.address)
    found = doctor(request, run=tmp_path)
    assert levels(found, "controller") == [WARNING]
    assert levels(found, "network") == [OK]
    running.register_plugin(Controller())
    monkeypatch.setattr(sites, "calibration_of", slow_speeds)
    with_controller = doctor(request, data=tiny_store, run=tmp_path, config="tiny")
    assert levels(with_controller, "controller") == [OK]
    assert levels(found, "dashboard") == [OK]
    assert levels(with_controller, "dashboard") == [OK, OK]  # Dask's page, and our own
    assert levels(with_controller, "plan") == [OK]
    assert "on the fullest worker of no limit; checkpoints take" in with_controller[-1].found
    assert levels(found, "threads")[0] == WARNING
    assert levels(found, "memory") == [WARNING]


async def slow_speeds(client, config, addresses):
    """Speeds at which the scheduler has nearly nothing to do."""
    speeds = made_up_calibration(config)
    return replace(speeds, visits=dict.fromkeys(speeds.visits, 1.0))


def test_a_controller_of_another_protocol_is_a_failure(running, tmp_path, monkeypatch):
    running.register_plugin(Controller())
    monkeypatch.setattr(trials, "PROTOCOL", 99)
    found = doctor(ClusterRequest(scheduler=running.scheduler.address), run=tmp_path)
    assert levels(found, "controller") == [FAILURE]


def test_a_worker_that_reaches_nobody_is_a_failure(monkeypatch):
    async def answer(client, worker, other):
        assert worker != other
        alone = {"scheduler": "timed out", other: "no route"}
        return alone if worker == "tcp://b:1" else {}

    monkeypatch.setattr(trials, "reached", answer)
    (finding,) = asyncio.run(trials.reach_findings(None, cluster()))
    assert (finding.name, finding.level) == ("network", FAILURE)
    who = "1 worker (tcp://b:1): can't reach the scheduler (timed out), tcp://a:1 (no route)"
    assert finding.found == who
    assert "open the ports" in finding.remedy


def test_a_worker_reaches_and_does_not_reach(running, monkeypatch):
    (address,) = running.scheduler_info()["workers"]
    nobody = "tcp://127.0.0.1:1"
    monkeypatch.setattr(probes, "REACH_SECONDS", 0.5)
    answer = running.run(probes.reach_facts, nobody)[address]
    assert list(answer) == [nobody]
    assert running.run(probes.reach_facts, address)[address] == {}


async def plan_found(monkeypatch, site, training=False):
    """What is found where the plan is for ``site``."""
    config = load_config("tiny")

    async def planned(client, *arguments):
        speeds = await slow_speeds(client, config, [])
        return run_plan(config, network_plan(config), site, None, speeds), []

    monkeypatch.setattr(trials, "plan_on", planned)
    facts = replace(cluster(), scheduler=SCHEDULER | {"training": training})
    return await trials.plan_findings(None, facts, config, None, Path())


def test_a_plan_that_does_not_fit_is_a_failure_with_what_would(monkeypatch):
    site = Site(2, 10**5, 1, "/run", 10, None)
    memory, folder = asyncio.run(plan_found(monkeypatch, site))
    assert memory.level == folder.level == FAILURE
    assert "projected peak" in memory.found
    assert "workers of" in memory.remedy
    assert folder.found.startswith("/run: expected")
    assert folder.remedy.startswith("make room")


def test_no_plan_is_made_beside_a_run(monkeypatch):
    (finding,) = asyncio.run(plan_found(monkeypatch, Site(2, None), training=True))
    assert finding.level == OK
    assert "a run trains" in finding.found


def test_a_store_that_reads_otherwise_is_a_failure(running, tmp_path, monkeypatch):
    written = trials.write_small
    monkeypatch.setattr(trials, "write_small", lambda images, path: written(images // 2, path))
    found = doctor(ClusterRequest(scheduler=running.scheduler.address), run=tmp_path)
    assert levels(found, "store") == [FAILURE]
    assert list(tmp_path.iterdir()) == []


def test_questions_that_break_are_named_by_place(running, tmp_path, monkeypatch):
    monkeypatch.setattr(examination, "worker_facts", no_facts)
    monkeypatch.setattr(examination, "scheduler_facts", no_facts)
    found = doctor(ClusterRequest(scheduler=running.scheduler.address), run=tmp_path)
    (finding,) = [finding for finding in found if finding.name == "answers"]
    assert finding.level == FAILURE
    assert finding.found.startswith("the scheduler and 1 worker (tcp://127.0.0.1")
    assert f"install yfccdask {HERE['yfccdask']} there" in finding.remedy


def no_facts(paths):
    raise ImportError("no yfccdask here")


def test_a_store_that_is_none_is_a_failure(running, tmp_path):
    request = ClusterRequest(scheduler=running.scheduler.address)
    found = doctor(request, data=tmp_path / "none", run=tmp_path)
    assert levels(found, "data") == [FAILURE]


def test_a_scheduler_file_that_is_not_there_is_a_failure_after_the_local_checks(tmp_path):
    found = doctor(ClusterRequest(scheduler_file=str(tmp_path / "none.json")), run=tmp_path)
    assert [(each.name, each.level) for each in found] == [
        ("client", OK),
        ("pins", OK),
        ("disk", OK),
        ("cluster", FAILURE),
    ]
