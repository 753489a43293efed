"""bzip2 files in pieces: every block of up to 900 kB can be unpacked without those before it.

A block begins with 48 bits, at any bit of the file. It is given a header and an end of its own,
so that `bz2` unpacks it and checks its CRC. A mark that is there by chance is found out, since
what it cuts doesn't unpack.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from typing import Any

import fsspec
import numpy as np

from yfccdask.data.metadata.byte_sources import CHUNK, Chunk
from yfccdask.errors import DataError
from yfccdask.numerics.bit_kernels import find_words

BLOCK, END = 0x314159265359, 0x177245385090
LONGEST_BLOCK = 2**21  # compressed bytes; real ones stay below 1.1 MB
HEADER_BITS, CRC_BITS = 48, 32


class _Window:
    """The compressed bytes from ``start`` on, read as they are asked for, and the marks in them."""

    def __init__(self, file: Any, start: int) -> None:
        self.file, self.start = file, start
        file.seek(start)
        self.data = bytearray()
        self.searched = 0  # bytes in which marks have been looked for
        self.marks: list[int] = []  # bits from `start`
        self.ended = False

    def read_more(self) -> None:
        chunk = self.file.read(CHUNK)
        self.ended = not chunk
        self.data += chunk
        first = max(0, self.searched - 6)
        places = np.empty(2**16, np.int64)
        found = find_words(
            np.frombuffer(bytes(self.data[first:]), np.uint8),
            np.uint64(BLOCK),
            np.uint64(END),
            places,
        )
        last = self.marks[-1] if self.marks else -1
        self.marks += [place for place in (places[:found] + 8 * first).tolist() if place > last]
        self.searched = len(self.data)

    def forget(self, bit: int) -> None:
        """Drop the bytes before a bit."""
        count = bit // 8
        del self.data[:count]
        self.start, self.searched = self.start + count, self.searched - count
        self.marks = [mark - 8 * count for mark in self.marks if mark >= bit]

    def is_block(self, bit: int) -> bool:
        return int.from_bytes(self.bits(bit, bit + HEADER_BITS), "big") == BLOCK

    def bits(self, first: int, last: int) -> bytes:
        """The bits from first to last, the final byte filled up with zeros."""
        part = np.frombuffer(bytes(self.data[first // 8 : last // 8 + 2]), np.uint8)
        shifted = np.unpackbits(part)[first % 8 :][: last - first]
        return np.packbits(shifted).tobytes()


def bzip2_chunks(url: str, start: int, stop: int) -> Iterator[Chunk]:
    """The blocks that begin in bytes ``start`` to ``stop``, then, marked False, what follows.

    Raises
    ------
    DataError
        A block is damaged or the file is cut off.
    """
    with fsspec.open(url, "rb") as file:
        window = _Window(file, start)
        window.read_more()
        known = start == 0  # a mark in the middle of the file may be there by chance
        while (bit := _next_block(window)) is not None:
            place = 8 * window.start + bit
            unpacked = _unpack(window, bit)
            if unpacked is None and known:
                raise DataError(
                    f"{url}: expected a whole bzip2 block at byte {place // 8:,}, found damage or "
                    "the file's end: fetch it again"
                )
            if unpacked is None:
                window.forget(bit + 8)
                continue
            known = True
            yield unpacked[0], place < 8 * stop
            window.forget(unpacked[1])


def _next_block(window: _Window) -> int | None:
    """The bit at which the next block begins; None at the file's end."""
    while True:
        for mark in window.marks:
            if window.is_block(mark):
                return mark
        if window.ended:
            return None
        if len(window.data) > CHUNK:
            window.forget(8 * (len(window.data) - 16))
        window.read_more()


def _unpack(window: _Window, bit: int) -> tuple[bytes, int] | None:
    """A block's bytes and the mark after it; None if no mark makes it whole."""
    tried = 0
    while True:
        ends = [mark for mark in window.marks if mark > bit]
        for end in ends[tried:]:
            if end - bit > 8 * LONGEST_BLOCK:
                return None
            try:
                return _unpacked(window.bits(bit, end), end - bit), end
            except (OSError, ValueError, EOFError):
                tried += 1
        if window.ended or 8 * len(window.data) - bit > 16 * LONGEST_BLOCK:
            return None
        window.read_more()


def _unpacked(block: bytes, bits: int) -> bytes:
    """Unpack one block as a stream of its own."""
    crc = block[HEADER_BITS // 8 : (HEADER_BITS + CRC_BITS) // 8]
    end = np.unpackbits(np.frombuffer(END.to_bytes(6, "big") + crc, np.uint8))
    body = np.unpackbits(np.frombuffer(block, np.uint8))[:bits]
    unpack = bz2.BZ2Decompressor()
    found = unpack.decompress(b"BZh9" + np.packbits(np.concatenate([body, end])).tobytes())
    if not unpack.eof:
        raise EOFError
    return found
