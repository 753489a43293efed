"""NVRTC by itself, without a driver: CUDA source to a cubin, and what ptxas says of it."""

import ctypes
import re
from importlib.util import find_spec
from pathlib import Path

import pytest


def nvrtc_library() -> ctypes.CDLL:
    """The compiler of the package nvidia-cuda-nvrtc; the test is skipped where there is none."""
    spec = find_spec("nvidia")
    folders = list(spec.submodule_search_locations or []) if spec else []
    found = [path for each in folders for path in Path(each).glob("*/lib/libnvrtc.so.*")]
    if not found:
        pytest.skip("expected the package nvidia-cuda-nvrtc: pip install nvidia-cuda-nvrtc")
    return ctypes.CDLL(str(found[0]))


def compiled(source: str, options: list[str]) -> tuple[bytes, str]:
    """The cubin and the compiler's log; fails with the log where it doesn't compile."""
    library, program = nvrtc_library(), ctypes.c_void_p()
    library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"x.cu", 0, None, None)
    given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    result = library.nvrtcCompileProgram(program, len(options), given)
    log = _read(library, program, "ProgramLog").decode().rstrip("\0")
    assert result == 0, log
    return _read(library, program, "CUBIN"), log


def _read(library: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(library, f"nvrtcGet{what}")(program, buffer)
    return buffer.raw


def usage(log: str) -> dict[str, dict[str, int]]:
    """Per kernel: registers, bytes of stack frame, spill stores and spill loads."""
    numbers: dict[str, dict[str, int]] = {}
    kernel = ""
    for line in log.splitlines():
        if named := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = named[1]
            numbers[kernel] = {}
        for name, pattern in {
            "stack": r"(\d+) bytes stack frame",
            "spill_stores": r"(\d+) bytes spill stores",
            "spill_loads": r"(\d+) bytes spill loads",
            "registers": r"Used (\d+) registers",
        }.items():
            if kernel and (found := re.search(pattern, line)):
                numbers[kernel][name] = int(found[1])
    return numbers
