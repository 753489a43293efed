"""The table of a visit's products, and what cuBLAS would be told of them."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from yfccdask.backend.device import cuda, product
from yfccdask.backend.device.products import Operand

P, n, K, D = 3, 4, 6, 10


@pytest.fixture
def buffers():
    """W and M (position, unit, input), the stacked XR and SG (position, 2 image, …)."""
    w, m = np.empty((P, K, D), np.float32), np.empty((P, K, D), np.float32)
    return w, m, np.empty((P, 2 * n, D), np.float32), np.empty((P, 2 * n, K), np.float32)


def described(made):
    """Sizes, (leading dimension, stride) of A, B and C, factors."""
    operands = [(each.leading, each.stride) for each in (made.a, made.b, made.c)]
    return made.sizes, *operands, (made.alpha, made.beta)


def test_the_four_products_are_the_table(buffers):
    w, m, xr, sg = buffers
    x, r, g, s = xr[:, :n], xr[:, n:], sg[:, :n], sg[:, n:]
    whole, inputs, codes = (D, K * D), (D, 2 * n * D), (K, 2 * n * K)
    table = [
        ("TN", (w, x, s), ((K, n, D), whole, inputs, codes, (1, 0))),
        ("NN", (w, s, r), ((D, n, K), whole, codes, inputs, (2, 1))),
        ("TN", (w, r, g), ((K, n, D), whole, inputs, codes, (1, 1))),
        ("NT", (xr, sg, m), ((D, K, 2 * n), inputs, codes, whole, (1 / n, 0.9))),
    ]
    for operation, arrays, expected in table:
        alpha, beta = expected[-1]
        made = product(operation, *arrays, alpha=alpha, beta=beta)
        assert described(made) == expected
        assert made.batch == P


def test_shapes_that_do_not_fit_are_refused(buffers):
    w, _, xr, sg = buffers
    with pytest.raises(ValueError, match="expected shapes that TN multiplies"):
        product("TN", w, sg[:, :n], xr[:, :n])
    with pytest.raises(ValueError, match="contiguous last axis"):
        product("TN", w.transpose(0, 2, 1), sg, xr)


class _Pointed:
    """An array as CuPy's wrapper reads it."""

    def __init__(self, address, dtype):
        self.data, self.dtype = SimpleNamespace(ptr=address), np.dtype(dtype)


@pytest.mark.parametrize(
    ("precision", "kind", "compute"), [("fp32", 0, 68), ("tf32", 0, 77), ("bf16", 14, 68)]
)
def test_cublas_is_told_types_and_the_compute_type(monkeypatch, precision, kind, compute):
    told = []

    def record(*values):
        pointers = values[6], values[15]
        told.append((*values[:6], "alpha", *values[7:15], "beta", *values[16:]))
        assert [_float_at(each) for each in pointers] == [2, 1]

    cublas = SimpleNamespace(gemmStridedBatchedEx=record)
    cupy = SimpleNamespace(
        RawModule=lambda **_: None,
        cuda=SimpleNamespace(get_cublas_handle=lambda: 77),
    )
    monkeypatch.setattr(cuda, "import_module", lambda _: cublas)
    operand = np.uint16 if precision == "bf16" else np.float32
    made = product(
        "NN",
        *(np.empty(shape, operand) for shape in ((P, K, D), (P, n, K))),
        np.empty((P, n, D), np.float32),
        alpha=2.0,
        beta=1.0,
        precision=precision,
    )
    places = [_Pointed(100, operand), _Pointed(200, operand), _Pointed(300, np.float32)]
    a, b, c = (
        Operand(place, each.leading, each.stride)
        for place, each in zip(places, (made.a, made.b, made.c), strict=True)
    )
    cuda.Cuda(cupy).multiply(made._replace(a=a, b=b, c=c))
    matrices = (100, kind, D, K * D, 200, kind, K, n * K), (300, 0, D, n * D)
    expected = (77, 0, 0, D, n, K, "alpha", *matrices[0], "beta", *matrices[1], P, compute, -1)
    assert told == [expected]


def _float_at(address):
    return ctypes.c_float.from_address(address).value
