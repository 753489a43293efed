"""The same visit in PyTorch, as well as it can be written by hand, and with autograd.

All of them train their own weights in place (ours also make a fresh copy per visit), with one
thread and buffers made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.kernel_cases import MINI_BATCH, OBJECTIVE, RATES, SCALE, Case

N = MINI_BATCH
MU, SPARSITY, EPSILON = OBJECTIVE.momentum, OBJECTIVE.sparsity, OBJECTIVE.epsilon


class Peer:
    """A chunk's state as torch tensors, positions first."""

    def __init__(self, chunk: Case) -> None:
        torch.set_num_threads(1)
        units, inputs = chunk.layer.units, chunk.layer.inputs
        self.layer = chunk.layer
        self.field = torch.from_numpy(chunk.field)
        self.w = torch.from_numpy(chunk.state.weights.copy()).reshape(-1, units, inputs)
        self.b = torch.zeros(len(self.w), inputs)
        self.alpha = torch.ones(len(self.w))
        self.m, self.mb, self.ma = (torch.zeros_like(part) for part in (self.w, self.b, self.alpha))

    def patch(self, step: int, p: int, out: torch.Tensor) -> None:
        """Scaled patches of position p for a mini-batch, into ``out`` (image, input)."""
        (height, width), stride = self.layer.window, self.layer.stride
        top, left = (stride * each for each in divmod(p, self.layer.grid[1]))
        batch = self.field[step * N : (step + 1) * N, top : top + height, left : left + width]
        torch.mul(batch, SCALE, out=out.view(batch.shape))

    def descend_small(self, p: Any, by_offset: Any, by_alpha: Any, rate: Any) -> None:
        """Offset and alpha of one position or of all."""
        self.mb[p].mul_(MU).add_(by_offset, alpha=2 / N)
        self.b[p].sub_(self.mb[p], alpha=rate.offset)
        self.ma[p].mul_(MU).add_(by_alpha, alpha=1 / N)
        self.alpha[p].sub_(self.ma[p], alpha=rate.alpha)


def loop(chunk: Case) -> Callable[[], Any]:
    """By hand, position by position: every product and map into memory that is there already."""
    peer, layer = Peer(chunk), chunk.layer
    xr, gs = torch.empty(2 * N, layer.inputs), torch.empty(2 * N, layer.units)
    z, slope, size, h = (torch.empty(N, layer.units) for _ in range(4))
    square, norms = torch.empty(N, layer.inputs), torch.empty(layer.units, 1)
    x, r, g, s = xr[:N], xr[N:], gs[:N], gs[N:]

    def step(p: int, number: int, rate: Any) -> Any:
        w, alpha = peer.w[p], float(peer.alpha[p])
        peer.patch(number, p, x)
        torch.mm(x, w.T, out=z)
        torch.mul(z, alpha, out=s)
        torch.mul(s, s, out=size).add_(EPSILON).sqrt_()
        torch.div(s, size, out=slope).mul_(SPARSITY)
        torch.mm(s, w, out=r)
        r.add_(peer.b[p]).sub_(x)
        cost = torch.mul(r, r, out=square).sum() + SPARSITY * size.sum()
        torch.mm(r, w.T, out=h).mul_(2).add_(slope)
        by_alpha = torch.mul(h, z, out=size).sum()
        torch.mul(h, alpha, out=g)
        s.mul_(2)
        peer.m[p].addmm_(gs.T, xr, beta=MU, alpha=1 / N)
        w.sub_(peer.m[p], alpha=rate.weights)
        torch.linalg.vector_norm(w, dim=1, keepdim=True, out=norms)
        w.div_(norms)
        peer.descend_small(p, r.sum(0), by_alpha, rate)
        return cost

    def visit() -> None:
        for p in range(len(peer.w)):
            for number, rate in enumerate(RATES):
                step(p, number, rate)

    return visit


def batched(chunk: Case) -> Callable[[], Any]:
    """By hand, all positions in one batched product each."""
    peer, layer = Peer(chunk), chunk.layer
    count = len(peer.w)
    xr, gs = torch.empty(count, 2 * N, layer.inputs), torch.empty(count, 2 * N, layer.units)
    z, slope, size, h = (torch.empty(count, N, layer.units) for _ in range(4))
    x, r, g, s = xr[:, :N], xr[:, N:], gs[:, :N], gs[:, N:]

    def step(number: int, rate: Any) -> Any:
        for p in range(count):
            peer.patch(number, p, x[p])
        turned, alpha = peer.w.transpose(1, 2), peer.alpha[:, None, None]
        torch.bmm(x, turned, out=z)
        torch.mul(z, alpha, out=s)
        torch.mul(s, s, out=size).add_(EPSILON).sqrt_()
        torch.div(s, size, out=slope).mul_(SPARSITY)
        r.copy_(torch.bmm(s, peer.w)).add_(peer.b[:, None]).sub_(x)
        cost = (r * r).sum((1, 2)) + SPARSITY * size.sum((1, 2))
        torch.bmm(r, turned, out=h).mul_(2).add_(slope)
        by_alpha = torch.mul(h, z, out=size).sum((1, 2))
        torch.mul(h, alpha, out=g)
        s.mul_(2)
        peer.m.baddbmm_(gs.transpose(1, 2), xr, beta=MU, alpha=1 / N)
        peer.w.sub_(peer.m, alpha=rate.weights)
        peer.w.div_(torch.linalg.vector_norm(peer.w, dim=2, keepdim=True))
        peer.descend_small(slice(None), r.sum(1), by_alpha, rate)
        return cost

    return lambda: [step(number, rate) for number, rate in enumerate(RATES)]


def autograd(chunk: Case) -> Callable[[], Any]:
    """The objective as it is written, differentiated by torch."""
    peer = Peer(chunk)
    for part in (peer.w, peer.b, peer.alpha):
        part.requires_grad_()
    momenta = (peer.m, peer.mb, peer.ma)
    x = torch.empty(len(peer.w), N, chunk.layer.inputs)

    def step(number: int, rate: Any) -> None:
        for p in range(len(peer.w)):
            peer.patch(number, p, x[p])
        s = peer.alpha[:, None, None] * torch.bmm(x, peer.w.transpose(1, 2))
        r = torch.bmm(s, peer.w) + peer.b[:, None] - x
        ((r * r).sum() + SPARSITY * torch.sqrt(s * s + EPSILON).sum()).backward()
        with torch.no_grad():
            parts = (peer.w, peer.b, peer.alpha)
            for part, momentum, by in zip(parts, momenta, rate, strict=False):
                momentum.mul_(MU).add_(part.grad, alpha=1 / N)
                part.sub_(momentum, alpha=by)
                part.grad = None
            peer.w.div_(torch.linalg.vector_norm(peer.w, dim=2, keepdim=True))

    return lambda: [step(number, rate) for number, rate in enumerate(RATES)]


PEERS = {"loop by hand": loop, "batched by hand": batched, "autograd": autograd}


def torch_sgemm_rate(size: int, best: Callable[..., float]) -> float:
    """Rate of torch's own square product, which shows how the two BLAS compare."""
    a, b, out = (torch.ones(size, size) for _ in range(3))
    return 2 * size**3 / best(lambda: torch.mm(a, b, out=out))
