"""Lines of a piece of a file: each line belongs to exactly one piece, however it is cut.

A piece is the bytes from a to b. It owns the lines that begin in (a, b], the first piece of a file
also the one at 0; the last of them ends after b. So pieces need to know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from yfccdask.data.metadata.byte_sources import Chunk
from yfccdask.data.metadata.field_tables import LONGEST_LINE


@dataclass(frozen=True)
class LineBlock:
    """Whole lines; ``offset`` and ``size`` are bytes of the piece.

    A line that is much too long is a block of its own, of which only the beginning is there.
    """

    data: bytes
    offset: int
    size: int


class _Buffer:
    """Bytes that are read and not yet given out; ``cut`` of the first line are dropped."""

    def __init__(self) -> None:
        self.data, self.base, self.cut, self.limit = bytearray(), 0, 0, -1

    def take(self, count: int) -> LineBlock:
        block = LineBlock(bytes(self.data[:count]), self.base, count + self.cut)
        del self.data[:count]
        self.base, self.cut = self.base + block.size, 0
        return block

    def over(self) -> bool:
        """Whether what comes next is another piece's."""
        return 0 <= self.limit < self.base

    def drop(self) -> None:
        """Keep only as much of an endless line as shows that it is one."""
        self.cut += len(self.data) - LONGEST_LINE - 1
        del self.data[LONGEST_LINE + 1 :]


def owned_blocks(chunks: Iterable[Chunk], first: bool, block_bytes: int) -> Iterator[LineBlock]:
    """Cut a piece's bytes, and those that follow it, into blocks of the lines that it owns.

    Parameters
    ----------
    chunks : iterable of (bytes, bool)
        From the piece's first byte on; the flag says whether they are the piece's.
    first : bool
        Whether the piece begins the file.
    block_bytes : int
        About how many bytes a block has.
    """
    buffer, read, skip = _Buffer(), 0, not first
    for chunk, own in chunks:
        if not own and buffer.limit < 0:
            buffer.limit = read
        read += len(chunk)
        buffer.data += chunk
        if skip:
            end = buffer.data.find(b"\n") + 1
            buffer.take(end or len(buffer.data))
            skip = not end
        if buffer.over():
            return
        if not skip:
            yield from _ready(buffer, block_bytes)
            if buffer.over():
                return
    if buffer.data and not skip:
        yield buffer.take(len(buffer.data))


def _ready(buffer: _Buffer, block_bytes: int) -> Iterator[LineBlock]:
    """Give out what is whole: the rest of the piece, or a block's worth."""
    if buffer.cut:
        end = buffer.data.find(b"\n") + 1
        if not end:
            buffer.drop()
            return
        yield buffer.take(end)
        if buffer.over():
            return
    if buffer.limit >= 0:
        end = buffer.data.find(b"\n", buffer.limit - buffer.base) + 1
    else:
        end = 0 if len(buffer.data) < block_bytes else buffer.data.rfind(b"\n") + 1
    if end:
        yield buffer.take(end)
    elif len(buffer.data) > max(block_bytes, LONGEST_LINE + 1):
        yield from _drop_last(buffer)


def _drop_last(buffer: _Buffer) -> Iterator[LineBlock]:
    """Where there is too much: give out the whole lines, drop most of the one that goes on."""
    end = buffer.data.rfind(b"\n") + 1
    if end:
        yield buffer.take(end)
    if len(buffer.data) > LONGEST_LINE + 1:
        buffer.drop()
