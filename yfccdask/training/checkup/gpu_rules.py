"""What `doctor` makes of the workers' GPUs: driver, NVML, CuPy, RMM, and who uses which."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from yfccdask.training.checkup.findings import (
    FAILURE,
    OK,
    WARNING,
    ClusterFacts,
    Facts,
    Finding,
    gigabytes,
    grouped,
    number_of,
    spelled,
)
from yfccdask.training.compatibility import place_names

INSTALL = "`pip install 'yfccdask[cuda13]'` there, or [cuda12] for a driver of CUDA 12"
GPU_WORKERS = (
    "start them by `dask cuda worker --rmm-pool-size 0.9 --set-rmm-allocator-for-libs cupy`"
)
BLIND = "start `dask worker` there, or see why `nvidia-smi` lists none"
Places = dict[str, Facts]  # what `yfccdask.backend.gpu_facts` says, by worker
Judge = Callable[[Places], Iterator[Finding]]


def gpu_findings(facts: ClusterFacts) -> list[Finding]:
    """Whether the workers' GPUs can be trained on; one line where there are none."""
    places = {place: each["gpu"] for place, each in facts.workers.items()}
    with_cards = {place: gpu for place, gpu in places.items() if gpu["cards"] or gpu["count"]}
    if not places:
        return []
    found = blind_findings({p: gpu for p, gpu in places.items() if p not in with_cards})
    if not with_cards:
        none = Finding("gpus", OK, f"none for {number_of(places)}: cores do the work")
        return found or [none]
    return found + [
        finding
        for name, judge in JUDGES.items()
        for finding in list(judge(with_cards)) or well(name, with_cards)
    ]


def blind_findings(places: Places) -> list[Finding]:
    """Workers that dask-cuda started on machines without a GPU."""
    if blind := [place for place, gpu in places.items() if gpu["trained_on"]]:
        what = f"{place_names(blind)}: started by `dask cuda worker` where there is no GPU"
        return [Finding("gpus", FAILURE, what, BLIND)]
    return []


def well(name: str, places: Places) -> list[Finding]:
    """The line of a check that found nothing wrong; none where nothing was there to check."""
    texts = {place: text for place, gpu in places.items() if (text := TEXTS[name](gpu))}
    return [Finding(name, OK, spelled(grouped(texts)))] if texts else []


def driver_findings(places: Places) -> Iterator[Finding]:
    """Cards without a driver, and drivers that don't answer or don't see them."""
    bare = [place for place, gpu in places.items() if not gpu["count"] and gpu["visible"] is None]
    broken = {place: gpu for place, gpu in places.items() if _answers_badly(gpu)}
    if bare and not broken:
        what = f"an NVIDIA card on the bus, and no driver that lists it, for {place_names(bare)}"
        remedy = "install NVIDIA's driver, until `nvidia-smi` lists the card, and start anew"
        yield Finding("driver", WARNING, f"{what}: cores do the work", remedy)
    for error, where in grouped({p: gpu["nvml"]["error"] for p, gpu in broken.items()}).items():
        what = f"the driver does not answer {place_names(where)} ({error})"
        remedy = "see what `nvidia-smi` says there; after an update of the driver, start anew"
        yield Finding("driver", FAILURE, what, remedy)
    old = {p: _too_old(gpu) for p, gpu in places.items()}
    for what, where in grouped(old).items():
        if what:
            remedy = "install the extra of yfccdask that the driver is for, or a newer driver"
            yield Finding("driver", FAILURE, f"{what} for {place_names(where)}", remedy)


def _answers_badly(gpu: Facts) -> bool:
    absent = "Not Found" in gpu["nvml"].get("error", "")  # its library: there is no driver
    return bool(gpu["nvml"]["installed"] and "error" in gpu["nvml"] and not absent)


def _too_old(gpu: Facts) -> str:
    """Whether CuPy wants a later CUDA than the driver has: their first numbers decide."""
    driver, wanted = gpu["nvml"].get("cuda"), gpu["cupy"]["cuda"]
    if not (driver and wanted) or driver // 1000 >= wanted // 1000:
        return ""
    return f"expected a driver of CUDA {wanted // 1000} for CuPy, found {cuda_text(driver)}"


def cuda_text(number: int) -> str:
    """CUDA's version as people write it.

    Examples
    --------
    >>> cuda_text(12090)
    '12.9'
    """
    return f"{number // 1000}.{number % 1000 // 10}"


def nvml_findings(places: Places) -> Iterator[Finding]:
    """NVML's bindings, without which neither GPUs nor their memory can be told apart."""
    without = [p for p, gpu in places.items() if gpu["count"] and not gpu["nvml"]["installed"]]
    if without:
        what = f"no Python bindings of NVML on {place_names(without)}"
        yield Finding("nvml", WARNING, what, INSTALL)


def cupy_findings(places: Places) -> Iterator[Finding]:
    """CuPy: there, once, loadable, and right in what it computes."""
    seeing = {place: gpu for place, gpu in places.items() if gpu["count"]}
    absent = [place for place, gpu in seeing.items() if not gpu["cupy"]["distributions"]]
    if absent:
        what = f"none on {place_names(absent)}: their GPUs stay unused"
        yield Finding("cupy", WARNING, what, INSTALL)
    several = {p: _several(gpu) for p, gpu in seeing.items()}
    yield from _named(several, "{what} on {where}, which break each other", TWO_CUPYS)
    errors = {p: gpu["cupy"]["error"] or "" for p, gpu in seeing.items()}
    yield from _named(errors, "can't be loaded on {where} ({what})", "install it anew there")
    tried = {p: gpu["cupy"]["tried"] for p, gpu in seeing.items()}
    yield from _named(tried, "does not compute on {where} ({what})", NO_RESULT)


TWO_CUPYS = "`pip uninstall` all of them there, and install the extra that the driver is for"
NO_RESULT = (
    "see whether `nvidia-smi` shows errors or another process that fills the GPU; CuPy needs "
    "CUDA's libraries: `pip install 'cupy-cuda13x[ctk]'`"
)


def _several(gpu: Facts) -> str:
    found = gpu["cupy"]["distributions"]
    return " and ".join(found) if len(found) > 1 else ""


def _named(values: dict[str, str], text: str, remedy: str) -> Iterator[Finding]:
    """A failure of CuPy's for each thing that is said of some workers; nothing is no failure."""
    for what, where in grouped(values).items():
        if what:
            found = text.format(what=what, where=place_names(where))
            yield Finding("cupy", FAILURE, found, remedy)


def rmm_findings(places: Places) -> Iterator[Finding]:
    """Workers on GPUs without a pool, or whose CuPy does not use it."""
    using = {place: gpu["rmm"] for place, gpu in places.items() if gpu["trained_on"]}
    bare = [place for place, rmm in using.items() if not rmm["pool"]]
    if bare:
        what = f"no pool of device memory on {place_names(bare)}: CUDA is asked for every array"
        yield Finding("rmm", WARNING, what, GPU_WORKERS)
    unused = [place for place, rmm in using.items() if rmm["pool"] and not rmm["cupy"]]
    if unused:
        what = f"CuPy does not allocate from the pool on {place_names(unused)}: both take memory"
        yield Finding("rmm", WARNING, what, GPU_WORKERS)


def use_findings(places: Places) -> Iterator[Finding]:
    """GPUs that nobody trains on, that two workers share, or that differ."""
    idle = [p for p, gpu in places.items() if gpu["count"] and not gpu["trained_on"]]
    if idle:
        what = f"{place_names(idle)} could use GPUs, and was not started for that"
        remedy = f"say --device gpu, or, where workers are yours to start, {GPU_WORKERS}"
        yield Finding("gpus", WARNING, what, remedy)
    cards = {p: card for p, gpu in places.items() if gpu["trained_on"] and (card := own_gpu(gpu))}
    for uuid, where in grouped({p: card["uuid"] for p, card in cards.items()}).items():
        if len(where) > 1:
            what, remedy = f"{place_names(where)} share {uuid}", "start one worker per GPU"
            yield Finding("gpus", WARNING, what, remedy)
    names = grouped({p: card["name"] for p, card in cards.items()})
    if len(names) > 1:
        remedy = "use one kind of GPU: bits depend on it"
        yield Finding("gpus", WARNING, spelled(names), remedy)


def own_gpu(gpu: Facts) -> Facts | None:
    """The GPU that a process uses: the first of those that it may see."""
    cards: list[Facts] = gpu["nvml"].get("gpus", [])
    first = (gpu["visible"] or "0").split(",")[0].strip()
    if first.isdecimal():
        return cards[int(first)] if int(first) < len(cards) else None
    return next((card for card in cards if card["uuid"].startswith(first)), None)


def _driver_text(gpu: Facts) -> str:
    nvml = gpu["nvml"]
    return f"{nvml['driver']}, CUDA {cuda_text(nvml['cuda'])}" if "driver" in nvml else ""


def _cupy_text(gpu: Facts) -> str:
    return ", ".join(gpu["cupy"]["distributions"]) if gpu["count"] else ""


def _rmm_text(gpu: Facts) -> str:
    return f"{gpu['rmm']['version']}, a pool that CuPy uses" if gpu["rmm"]["pool"] else ""


def _gpu_text(gpu: Facts) -> str:
    card = own_gpu(gpu)
    return f"{card['name']}, {gigabytes(card['memory'])}" if card else ""


JUDGES: dict[str, Judge] = {
    "driver": driver_findings,
    "nvml": nvml_findings,
    "cupy": cupy_findings,
    "rmm": rmm_findings,
    "gpus": use_findings,
}
TEXTS: dict[str, Callable[[Facts], str]] = {
    "driver": _driver_text,
    "nvml": lambda gpu: "asked" if "driver" in gpu["nvml"] else "",
    "cupy": _cupy_text,
    "rmm": _rmm_text,
    "gpus": _gpu_text,
}
