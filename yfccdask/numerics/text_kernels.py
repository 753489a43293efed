"""Fields to UTF-8 text, compiled: percent-decoding, tags, counts of words, paths.

Texts are kept as Arrow does: one buffer of bytes and ``offsets``, int32 (row + 1,). What can't be
UTF-8 becomes U+FFFD, one for each longest beginning of a character (Unicode, chapter 3.9, as
WHATWG and Python's "replace" have it). A character may not be begun by a raw byte and go on
with an escaped one, or the other way round.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
PERCENT, PLUS, COMMA, SLASH = 37, 43, 44, 47


@njit(nogil=True, cache=True)
def _nibble(byte: Any) -> Any:
    """The value of a hexadecimal digit, or -1."""
    if 48 <= byte <= 57:
        return byte - 48
    letter = byte | 32
    return letter - 87 if 97 <= letter <= 102 else -1


@njit(nogil=True, cache=True)
def _next_byte(data: Array, at: int, end: int, percent: bool) -> tuple[Any, int, bool]:
    """The byte that a field stands for at ``at``, how long it is, whether it is escaped."""
    byte = np.int64(data[at])
    if percent and byte == PLUS:
        return 32, 1, False
    if percent and byte == PERCENT and at + 2 < end:
        high, low = _nibble(np.int64(data[at + 1])), _nibble(np.int64(data[at + 2]))
        if high >= 0 and low >= 0:
            return high * 16 + low, 3, True
    return byte, 1, False


@njit(nogil=True, cache=True)
def _lead(byte: int) -> tuple[int, int, int]:
    """How many bytes follow a leading one, and the first one's range; 0 if it leads nothing."""
    if 0xC2 <= byte <= 0xDF:
        return 1, 0x80, 0xBF
    if 0xE0 <= byte <= 0xEF:
        return 2, 0xA0 if byte == 0xE0 else 0x80, 0x9F if byte == 0xED else 0xBF
    if 0xF0 <= byte <= 0xF4:
        return 3, 0x90 if byte == 0xF0 else 0x80, 0x8F if byte == 0xF4 else 0xBF
    return 0, 0, 0


@njit(nogil=True, cache=True)
def _decode_character(
    data: Array, at: int, end: int, percent: bool, out: Array, to: int
) -> tuple[int, int]:
    """Decode one character that is not plain ASCII; return where to read and write on."""
    byte, length, escaped = _next_byte(data, at, end, percent)
    at += length
    out[to] = byte
    if byte < 128:
        return at, to + 1
    following, low, high = _lead(byte)
    taken = 0
    while taken < following and at < end:
        byte, length, same = _next_byte(data, at, end, percent)
        if same != escaped or byte < low or byte > high:
            break
        taken += 1
        out[to + taken] = byte
        at += length
        low, high = 0x80, 0xBF
    if following == 0 or taken < following:
        out[to], out[to + 1], out[to + 2] = 0xEF, 0xBF, 0xBD
        return at, to + 3
    return at, to + following + 1


@njit(nogil=True, cache=True)
def _decode(data: Array, start: int, end: int, percent: bool, out: Array, to: int) -> int:
    """Decode one field into ``out``; return where it ends there."""
    at = start
    while at < end:
        byte = data[at]
        if byte < 128 and not (percent and byte in (PERCENT, PLUS)):
            out[to] = byte
            at += 1
            to += 1
        else:
            at, to = _decode_character(data, at, end, percent, out, to)
    return to


@njit(nogil=True, cache=True)
def decode_texts(
    data: Array, starts: Array, ends: Array, percent: bool, offsets: Array, out: Array
) -> int:
    """Decode fields into ``out``, which has three bytes of room for each of theirs.

    Parameters
    ----------
    data : uint8 array (byte,)
    starts, ends : int32 arrays (row,)
    percent : bool
        Whether ``%XX`` and ``+`` stand for bytes and spaces.
    offsets : int32 array (row + 1,)
    out : uint8 array
        One byte of room for each of a field's is enough where none is above 127.

    Returns
    -------
    int
        The bytes written.
    """
    to = 0
    for row in range(starts.shape[0]):
        offsets[row] = to
        to = _decode(data, starts[row], ends[row], percent, out, to)
    offsets[starts.shape[0]] = to
    return to


@njit(nogil=True, cache=True)
def count_items(data: Array, starts: Array, ends: Array) -> int:
    """How many items between commas are not empty."""
    items = 0
    for row in range(starts.shape[0]):
        length = 0
        for at in range(starts[row], ends[row]):
            if data[at] == COMMA:
                length = 0
            else:
                items += 1 if length == 0 else 0
                length += 1
    return items


@njit(nogil=True, cache=True)
def decode_lists(
    data: Array, starts: Array, ends: Array, lists: Array, offsets: Array, out: Array
) -> int:
    """Split fields at commas, then percent-decode the items; empty ones are left out.

    ``lists``, int32 (row + 1,), receives each row's first item; ``offsets``, int32 (item + 1,),
    each item's first byte. Returns the bytes written.
    """
    to, item = 0, 0
    for row in range(starts.shape[0]):
        lists[row] = item
        begin = starts[row]
        for at in range(starts[row], ends[row] + 1):
            if at == ends[row] or data[at] == COMMA:
                if at > begin:
                    offsets[item] = to
                    to = _decode(data, begin, at, True, out, to)
                    item += 1
                begin = at + 1
    lists[starts.shape[0]] = item
    offsets[item] = to
    return to


@njit(nogil=True, cache=True)
def count_words(data: Array, offsets: Array, counts: Array) -> None:
    """Count the runs of bytes other than space, tab, LF, VT, FF and CR; int32 (row,)."""
    for row in range(counts.shape[0]):
        words, inside = 0, False
        for at in range(offsets[row], offsets[row + 1]):
            blank = data[at] == 32 or 9 <= data[at] <= 13
            words += 1 if not blank and not inside else 0
            inside = not blank
        counts[row] = words


@njit(nogil=True, cache=True)
def unpadded_hex(digests: Array, offsets: Array, out: Array) -> int:
    """Print digests, uint8 (row, 16), each byte as ``%x``; return the bytes written."""
    to = 0
    for row in range(digests.shape[0]):
        offsets[row] = to
        for byte in digests[row]:
            if byte >= 16:
                out[to] = _hex_digit(byte >> 4)
                to += 1
            out[to] = _hex_digit(byte & 15)
            to += 1
    offsets[digests.shape[0]] = to
    return to


@njit(nogil=True, cache=True)
def _hex_digit(nibble: int) -> int:
    return nibble + 48 if nibble < 10 else nibble + 87


@njit(nogil=True, cache=True)
def image_paths(
    hashes: Array, offsets: Array, wanted: Array, path_offsets: Array, out: Array
) -> int:
    """Write ``HHH/HHH/HASH.jpg`` for the rows ``wanted``; return the bytes written."""
    to = 0
    for row in range(wanted.shape[0]):
        path_offsets[row] = to
        if not wanted[row]:
            continue
        first, last = offsets[row], offsets[row + 1]
        for group in range(2):
            for at in range(first + 3 * group, first + 3 * group + 3):
                out[to] = hashes[at]
                to += 1
            out[to] = SLASH
            to += 1
        for at in range(first, last):
            out[to] = hashes[at]
            to += 1
        for letter in (46, 106, 112, 103):  # .jpg
            out[to] = letter
            to += 1
    path_offsets[wanted.shape[0]] = to
    return to
