"""What the doctor makes of workers' GPUs, from made-up answers."""

import pytest

from yfccdask.training.checkup import FAILURE, OK, WARNING
from yfccdask.training.checkup.findings import ClusterFacts
from yfccdask.training.checkup.gpu_rules import gpu_findings, own_gpu
from yfccdask.training.checkup.probes import is_for_gpu

CARDS = [
    {"name": "H100", "uuid": f"GPU-{number}", "memory": 80 * 10**9, "used": 0}
    for number in range(2)
]
NVML = {"installed": True, "driver": "580.1", "cuda": 13000, "gpus": CARDS}
CUPY = {"distributions": ["cupy-cuda13x 14.2.0"], "cuda": 13020, "error": None, "tried": ""}
RMM = {"version": "26.10", "pool": True, "cupy": True}
GPU = {"cards": 2, "count": 2, "visible": "0,1", "nvml": NVML, "cupy": CUPY, "rmm": RMM}
GPU |= {"trained_on": True}
NONE = {"cards": 0, "count": 0, "visible": None, "nvml": {"installed": False, "error": "none"}}
NONE |= {"cupy": CUPY | {"distributions": []}, "rmm": RMM | {"pool": False}, "trained_on": False}


def judged(**second):
    """Findings of two workers with a GPU each that are well, but for what is said of the second."""
    workers = {"tcp://a:1": {"gpu": GPU}, "tcp://b:1": {"gpu": GPU | {"visible": "1,0"} | second}}
    return gpu_findings(ClusterFacts({}, None, workers))


def only(found, name, level):
    """The one finding that is not ok; it names the worker and has a remedy."""
    (finding,) = [each for each in found if each.level != OK]
    assert (finding.name, finding.level) == (name, level)
    assert "tcp://b:1" in finding.found
    assert finding.remedy
    return finding


def test_workers_with_gpus_that_are_well_have_a_line_of_each_check():
    found = judged()
    assert [(each.name, each.level) for each in found] == [
        (name, OK) for name in ("driver", "nvml", "cupy", "rmm", "gpus")
    ]
    assert found[0].found.startswith("580.1, CUDA 13.0 on 2 workers")
    assert found[-1].found.startswith("H100, 80.0 GB on 2 workers")


def test_no_gpu_is_one_line_and_no_fault():
    facts = ClusterFacts({}, None, {"tcp://a:1": {"gpu": NONE}})
    (finding,) = gpu_findings(facts)
    assert (finding.name, finding.level) == ("gpus", OK)
    assert gpu_findings(ClusterFacts({}, None, {})) == []


def test_workers_of_dask_cuda_without_a_gpu_are_a_failure():
    bare = {"tcp://b:1": {"gpu": NONE | {"trained_on": True}}}
    only(gpu_findings(ClusterFacts({}, None, bare)), "gpus", FAILURE)
    beside = gpu_findings(ClusterFacts({}, None, {"tcp://a:1": {"gpu": GPU}} | bare))
    assert "no GPU" in only(beside, "gpus", FAILURE).found
    assert len(beside) == 6


def test_workers_without_gpus_beside_those_with_are_not_judged():
    workers = {"tcp://a:1": {"gpu": GPU}, "tcp://b:1": {"gpu": NONE}}
    assert {each.level for each in gpu_findings(ClusterFacts({}, None, workers))} == {OK}


def test_a_card_without_a_driver_is_a_warning():
    found = judged(**NONE | {"cards": 1})
    assert "`nvidia-smi`" in only(found, "driver", WARNING).remedy


def test_a_driver_that_does_not_answer_is_a_failure_once():
    nvml = {"installed": True, "error": "Driver/library version mismatch"}
    finding = only(judged(count=0, nvml=nvml, visible=None), "driver", FAILURE)
    assert "version mismatch" in finding.found


def test_a_driver_that_is_older_than_cupy_s_cuda_is_a_failure():
    finding = only(judged(nvml=NVML | {"cuda": 12090}), "driver", FAILURE)
    assert finding.found.startswith("expected a driver of CUDA 13 for CuPy, found 12.9")


def test_a_driver_that_is_newer_than_cupy_s_cuda_is_well():
    assert {each.level for each in judged(cupy=CUPY | {"cuda": 12090})} == {OK}


def test_bindings_that_are_absent_are_a_warning():
    found = judged(nvml={"installed": False, "error": "no Python bindings"})
    assert "yfccdask[cuda13]" in only(found, "nvml", WARNING).remedy


def test_no_cupy_is_a_warning_and_two_are_a_failure():
    found = judged(cupy=CUPY | {"distributions": [], "cuda": None})
    assert "stay unused" in only(found, "cupy", WARNING).found
    two = ["cupy-cuda12x 14.2.0", "cupy-cuda13x 14.2.0"]
    assert "uninstall" in only(judged(cupy=CUPY | {"distributions": two}), "cupy", FAILURE).remedy


@pytest.mark.parametrize("key", ["error", "tried"])
def test_a_cupy_that_can_t_be_loaded_or_does_not_compute_is_a_failure(key):
    finding = only(judged(cupy=CUPY | {key: "ImportError: libcublas"}), "cupy", FAILURE)
    assert "ImportError: libcublas" in finding.found


def test_no_pool_or_one_that_cupy_does_not_use_is_a_warning():
    finding = only(judged(rmm=RMM | {"pool": False, "cupy": False}), "rmm", WARNING)
    assert "--rmm-pool-size" in finding.remedy
    finding = only(judged(rmm=RMM | {"cupy": False}), "rmm", WARNING)
    assert "both take memory" in finding.found


def test_a_worker_that_could_use_a_gpu_and_does_not_is_a_warning():
    assert "dask cuda worker" in only(judged(trained_on=False), "gpus", WARNING).remedy


def test_two_workers_on_one_gpu_are_a_warning():
    assert "share GPU-0" in only(judged(visible="0"), "gpus", WARNING).found


def test_gpus_of_two_kinds_are_a_warning():
    other = NVML | {"gpus": [CARDS[0], CARDS[1] | {"name": "A100"}]}
    assert "A100" in only(judged(nvml=other), "gpus", WARNING).found


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [(None, "GPU-0"), ("1,0", "GPU-1"), ("GPU-1", "GPU-1"), ("7", None), ("MIG-1", None)],
)
def test_a_process_uses_the_first_gpu_that_it_may_see(visible, uuid):
    card = own_gpu(GPU | {"visible": visible})
    assert (card and card["uuid"]) == uuid


def test_workers_of_dask_cuda_are_known_by_their_plugins():
    plugin = type("RMMSetup", (), {"__module__": "dask_cuda.plugins"})()
    worker = type("Worker", (), {"plugins": {"a": object()}})()
    assert not is_for_gpu(worker)
    worker.plugins = {"a": object(), "b": plugin}
    assert is_for_gpu(worker)
