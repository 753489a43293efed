"""How fast the kernels are, as shares of the same run's peaks: ``python -m benchmarks.kernels``.

Process CPU time, best of several. A visit's share is 10 flop per weight and image, over its time,
over the rate of a large square sgemm on the same core. LCN's share is the time of one ``np.copyto``
of a (48, 288, 288, 24) float32 field, over the time that LCN of that field takes: the least that
LCN can move is what a copy moves, the field read once and written once (its 15-pixel "valid"
window writes 0.81 of it, "same" all of it). Both write into memory that is there already; the
figure "into fresh memory" compares LCN and a copy that each make their own output.

What is measured through Dask in wall time wants a machine on which nothing else runs. PyTorch is
optional: ``pip install -e '.[bench]'``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import kernel_cases
from benchmarks.kernel_cases import Case, best, case, sgemm_peak, working_memory
from benchmarks.kernel_cluster import cost_beyond_kernels, two_workers
from benchmarks.recording import record
from yfccdask.backend import use_one_blas_thread
from yfccdask.numerics.contrast import ContrastWindow, normalise_field

try:
    from benchmarks import torch_peers
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    torch_peers = None  # type: ignore[assignment]

LAYERS = {"layer 1": kernel_cases.LAYER_1, "layer 2": kernel_cases.LAYER_2}


def visit_shares(chunks: dict[str, Case]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of every chunk's visit, and their shares of the sgemm peak around them."""
    before, _ = sgemm_peak()
    seconds = {name: best(chunk.visit) for name, chunk in chunks.items()}
    dense = case(kernel_cases.DENSE)
    kernel_cases.touch_memory()
    seconds["dense"] = best(dense.visit, times=3)
    after, size = sgemm_peak()
    peak = max(before, after)
    flop = {name: chunk.flop for name, chunk in chunks.items()} | {"dense": dense.flop}
    shares = {name: flop[name] / seconds[name] / peak for name in seconds}
    return seconds, {**shares, "peak_Gflop_per_s": peak / 1e9, "peak_size": size}


def ratios_to_torch(name: str, chunk: Case, ours: float) -> dict[str, float]:
    """How many times faster than each peer our visit is."""
    seconds = {peer: best(make(chunk), 3) for peer, make in torch_peers.PEERS.items()}
    by_hand = min(value for peer, value in seconds.items() if peer != "autograd")
    ratios = {peer: value / ours for peer, value in seconds.items()}
    return {**ratios, "best by hand": by_hand / ours}


def contrast_shares() -> dict[str, float]:
    """LCN as a share of the bandwidth of a copy."""
    field = np.random.default_rng(0).standard_normal((48, 288, 288, 24), dtype=np.float32)
    same, valid = np.empty_like(field), np.empty((48, 260, 260, 24), np.float32)
    trimming, keeping = ContrastWindow(15, 3.0, True), ContrastWindow(15, 3.0, False)
    copy = best(lambda: np.copyto(same, field))
    fresh = best(field.copy)
    return {
        "valid": copy / best(lambda: normalise_field(field, trimming, 1e-4, valid)),
        "same": copy / best(lambda: normalise_field(field, keeping, 1e-4, same)),
        "valid, into fresh memory": fresh / best(lambda: normalise_field(field, trimming, 1e-4)),
        "copy_GB_per_s": 2 * field.nbytes / copy / 1e9,
    }


def figures() -> dict[str, Any]:
    """Everything that is measured, in one run."""
    kernel_cases.touch_memory()
    chunks = {name: case(layer) for name, layer in LAYERS.items()}
    seconds, shares = visit_shares(chunks)
    found: dict[str, Any] = {"seconds": seconds, "share_of_sgemm": shares}
    found["working_MB"] = {name: working_memory(chunk) for name, chunk in chunks.items()}
    found["lcn_of_copy"] = contrast_shares()
    if torch_peers is None:
        print("PyTorch isn't installed, so it is not compared: pip install -e '.[bench]'")
    else:
        found["times_faster_than_torch"] = {
            name: ratios_to_torch(name, chunk, best(chunk.visit, 3))
            for name, chunk in chunks.items()
        }
        rate = torch_peers.torch_sgemm_rate(2048, best)
        found["times_faster_than_torch"]["sgemm of 2048"] = kernel_cases.sgemm_rate() / rate
    del chunks
    found["two_workers_of_two_cores"] = {name: two_workers(layer) for name, layer in LAYERS.items()}
    found["through_dask"] = {name: cost_beyond_kernels(layer) for name, layer in LAYERS.items()}
    return found


def rounded(found: Any) -> Any:
    """The figures with four significant digits."""
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    return float(f"{found:.4g}")


def main() -> None:
    """Print and record the figures."""
    use_one_blas_thread()
    found = rounded(figures())
    for part, values in found.items():
        print(part)
        for name, value in values.items():
            print(f"  {name:28} {value}")
    print(record("kernels", found))


if __name__ == "__main__":
    main()
