"""Lines of bytes to fields and typed values, compiled: no text is made here.

A *field* is ``data[start:end]``. Every parser returns values and a state per row: `FINE`, `ABSENT`
(an empty field) or `BAD` (not of the grammar); what is not fine has the value 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

Array = Any
FINE, ABSENT, BAD = 0, 1, 2
TAB, MINUS, POINT, ZERO, NINE = 9, 45, 46, 48, 57
MOST_DIGITS, LONGEST_DECIMAL = 18, 40
MICROSECONDS = 1_000_000


@njit(nogil=True, cache=True)
def split_fields(data: Array, starts: Array, ends: Array, bounds: Array, found: Array) -> None:
    """Find the tab-separated fields of every line.

    Parameters
    ----------
    data : uint8 array (byte,)
    starts, ends : int32 arrays (row,)
        Where each line begins, and its end (exclusive, without the newline).
    bounds : int32 array (row, columns + 1)
        Receives where each field begins; field c ends at ``bounds[:, c + 1] - 1``. Rows with
        another number of fields are left half written.
    found : int32 array (row,)
        Receives the number of fields.
    """
    columns = bounds.shape[1] - 1
    for row in range(starts.shape[0]):
        bounds[row, 0] = starts[row]
        count = 1
        for at in range(starts[row], ends[row]):
            if data[at] == TAB:
                if count < columns:
                    bounds[row, count] = at + 1
                count += 1
        bounds[row, columns] = ends[row] + 1
        found[row] = count


@njit(nogil=True, cache=True)
def parse_integers(
    data: Array, starts: Array, ends: Array, low: int, high: int, values: Array, states: Array
) -> None:
    """Parse ``-?[0-9]{1,18}`` between ``low`` and ``high`` into int64 (row,)."""
    for row in range(starts.shape[0]):
        start, end = starts[row], ends[row]
        values[row] = 0
        states[row] = ABSENT if start == end else BAD
        negative = start < end and data[start] == MINUS
        first = start + 1 if negative else start
        if first >= end or end - first > MOST_DIGITS:
            continue
        value, fine = np.int64(0), True
        for at in range(first, end):
            fine = fine and ZERO <= data[at] <= NINE
            value = value * 10 + (np.int64(data[at]) - ZERO)
        if negative:
            value = -value
        if fine and low <= value <= high:
            values[row], states[row] = value, FINE


@njit(nogil=True, cache=True)
def _digits(data: Array, at: int, end: int) -> int:
    """The end of a run of digits that begins at ``at``."""
    while at < end and ZERO <= data[at] <= NINE:
        at += 1
    return at


@njit(nogil=True, cache=True)
def _is_decimal(data: Array, start: int, end: int) -> bool:
    at = start + 1 if data[start] == MINUS else start
    whole = _digits(data, at, end)
    if whole == at or end - start > LONGEST_DECIMAL:
        return False
    at = whole
    if at < end and data[at] == POINT:
        at = _digits(data, whole + 1, end)
        if at == whole + 1:
            return False
    if at < end and (data[at] == 69 or data[at] == 101):  # E, e
        at += 1
        if at < end and (data[at] == 43 or data[at] == MINUS):
            at += 1
        last = _digits(data, at, end)
        if last == at or last - at > 2:
            return False
        at = last
    return bool(at == end)


@njit(nogil=True, cache=True)
def check_decimals(data: Array, starts: Array, ends: Array, states: Array) -> None:
    """Check ``-?[0-9]+(.[0-9]+)?([eE][+-]?[0-9]{1,2})?`` of at most 40 bytes."""
    for row in range(starts.shape[0]):
        if starts[row] == ends[row]:
            states[row] = ABSENT
        else:
            states[row] = FINE if _is_decimal(data, starts[row], ends[row]) else BAD


@njit(nogil=True, cache=True)
def _number(data: Array, start: int, end: int) -> Any:
    """The value of ``end - start`` digits, or -1."""
    value = np.int64(0)
    for at in range(start, end):
        if not ZERO <= data[at] <= NINE:
            return -1
        value = value * 10 + (np.int64(data[at]) - ZERO)
    return value


@njit(nogil=True, cache=True)
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar; -10**9 if there is no such day."""
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    longest = 30 + (month + month // 8) % 2
    if month == 2:
        longest = 29 if leap else 28
    if year < 1 or month < 1 or month > 12 or day < 1 or day > longest:
        return -(10**9)
    shifted = year - 1 if month <= 2 else year  # years that begin in March
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return shifted * 365 + shifted // 4 - shifted // 100 + shifted // 400 + of_year - 719468


@njit(nogil=True, cache=True)
def _moment(data: Array, start: int, end: int) -> tuple[Any, int]:
    """Microseconds since 1970 of one field, and its state."""
    if end - start < 19 or end - start > 26:
        return 0, BAD
    marks = data[start + 4] == MINUS and data[start + 7] == MINUS and data[start + 10] == 32
    if not (marks and data[start + 13] == 58 and data[start + 16] == 58):
        return 0, BAD
    year, month = _number(data, start, start + 4), _number(data, start + 5, start + 7)
    day, hour = _number(data, start + 8, start + 10), _number(data, start + 11, start + 13)
    minute, second = _number(data, start + 14, start + 16), _number(data, start + 17, start + 19)
    fraction: Any = np.int64(0)
    digits = end - start - 20
    if end - start > 19:
        fraction = _number(data, start + 20, end)
        if data[start + 19] != POINT or digits < 1 or fraction < 0:
            return 0, BAD
        for _ in range(6 - digits):
            fraction *= 10
    if year == 0 and month == 0 and day == 0 and hour == 0 and minute == 0 and second == 0:
        return 0, ABSENT
    days = _days(year, month, day)
    clock = 0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59
    if days == -(10**9) or not clock:
        return 0, BAD
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    return seconds * MICROSECONDS + fraction, FINE


@njit(nogil=True, cache=True)
def parse_moments(data: Array, starts: Array, ends: Array, values: Array, states: Array) -> None:
    """Parse ``YYYY-MM-DD hh:mm:ss[.f]`` into int64 microseconds since 1970.

    The word ``null`` and a moment of zeros only are `ABSENT`, as an empty field is.
    """
    for row in range(starts.shape[0]):
        start, end = starts[row], ends[row]
        null = end - start == 4 and data[start] == 110 and data[start + 1] == 117
        if start == end or (null and data[start + 2] == 108 and data[start + 3] == 108):
            values[row], states[row] = 0, ABSENT
        else:
            values[row], states[row] = _moment(data, start, end)


@njit(nogil=True, cache=True)
def check_hashes(data: Array, starts: Array, ends: Array, states: Array) -> None:
    """Check ``[0-9a-f]{16,32}``: an MD5 whose bytes are printed without padding."""
    for row in range(starts.shape[0]):
        start, end = starts[row], ends[row]
        fine = 16 <= end - start <= 32
        for at in range(start, end):
            fine = fine and (ZERO <= data[at] <= NINE or 97 <= data[at] <= 102)
        states[row] = ABSENT if start == end else (FINE if fine else BAD)
