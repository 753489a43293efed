"""Tables of fields to typed Arrow columns, by compiled kernels; `plain_parser` has the rules."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yfccdask.data.metadata.columns import AUTOMATIC_TITLE, LICENCE_URL, SCHEMA
from yfccdask.data.metadata.field_tables import FieldTable
from yfccdask.data.metadata.plain_parser import INTEGERS
from yfccdask.numerics.field_kernels import (
    ABSENT,
    BAD,
    FINE,
    MICROSECONDS,
    check_decimals,
    check_hashes,
    parse_integers,
    parse_moments,
)
from yfccdask.numerics.text_kernels import (
    count_items,
    count_words,
    decode_lists,
    decode_texts,
    image_paths,
    unpadded_hex,
)

Array = Any
CHECKED = (  # in the order in which the first that is bad names the reason
    *("line_number", "id", "hash", "user", "date_taken", "date_uploaded", "longitude"),
    *("latitude", "accuracy", "download_url", "server", "farm", "marker"),
)
ENCODED = ("nickname", "device", "title", "description")
PLAIN = ("user", "page_url", "download_url", "licence_name", "licence_url")
SHORT = ("secret", "secret_original", "extension")
AUTOMATIC = rf"{AUTOMATIC_TITLE}\z"
UNSIGNED = 128  # bytes from here on are not ASCII


def parse_table(table: FieldTable) -> tuple[pa.RecordBatch, Array]:
    """Parse all rows of a table.

    Returns
    -------
    batch : pyarrow.RecordBatch
        The rows that parse, in order.
    reasons : int8 array (row,)
        0 for those; else 1 + the place in `CHECKED` of the first field that is bad.
    """
    values, states = _checked(table)
    reasons = _reasons(states, len(table.starts))
    keep = reasons == 0
    whole = bool(keep.all())
    kept = table if whole else table.rows(keep)
    if not whole:
        values = {name: found[keep] for name, found in values.items()}
        states = {name: found[keep] for name, found in states.items()}
    columns = _numbers(values, states) | _decimals(kept) | _texts(kept)
    columns["hash"] = _hashes(kept, states)
    columns |= _derived(columns, values["marker"] == 0)
    if "line_number" not in columns:
        columns["line_number"] = pa.nulls(len(kept.starts), pa.int64())
    ordered = [columns[name] for name in SCHEMA.names]
    return pa.RecordBatch.from_arrays(ordered, schema=SCHEMA), reasons


def _checked(table: FieldTable) -> tuple[dict[str, Array], dict[str, Array]]:
    """Values of what becomes integers, and the states of all fields that have a grammar."""
    values, states = {}, {}
    rows = len(table.starts)
    for name in CHECKED:
        if name not in table.layout.fields:
            continue
        states[name] = np.zeros(rows, np.uint8)
        if name in INTEGERS:
            values[name] = np.empty(rows, np.int64)
            limits = INTEGERS[name][:2]
            parse_integers(*table.column(name), *limits, values[name], states[name])
        elif name == "date_taken":
            values[name] = np.empty(rows, np.int64)
            parse_moments(*table.column(name), values[name], states[name])
        elif name == "hash":
            check_hashes(*table.column(name), states[name])
        elif name in ("longitude", "latitude"):
            check_decimals(*table.column(name), states[name])
        else:
            _, starts, ends = table.column(name)
            states[name][starts == ends] = ABSENT
    return values, states


def _reasons(states: dict[str, Array], rows: int) -> Array:
    reasons = np.zeros(rows, np.int8)
    for number, name in reversed(list(enumerate(CHECKED, start=1))):
        if name in states:
            needed = INTEGERS[name][2] if name in INTEGERS else name in ("user", "download_url")
            bad = states[name] != FINE if needed else states[name] == BAD
            reasons[bad] = number
    return reasons


def _numbers(values: dict[str, Array], states: dict[str, Array]) -> dict[str, pa.Array]:
    found = {}
    for name, numbers in values.items():
        if name == "marker":
            continue
        kind = SCHEMA.field(name).type
        if name == "date_uploaded":
            numbers = numbers * MICROSECONDS
        absent = states[name] == ABSENT
        mask = absent if absent.any() else None
        stored = pa.int64() if pa.types.is_timestamp(kind) else kind
        narrow = numbers.astype(stored.to_pandas_dtype(), copy=False)
        found[name] = pa.array(narrow, stored, mask=mask).cast(kind)
    return found


def _decimals(table: FieldTable) -> dict[str, pa.Array]:
    """Longitude and latitude: as exact as Python's float."""
    return {
        name: _text(*table.column(name), percent=False).cast(pa.float64())
        for name in ("longitude", "latitude")
    }


def _texts(table: FieldTable) -> dict[str, pa.Array]:
    wide = bool(len(table.data)) and int(table.data.max()) >= UNSIGNED
    found = {
        name: _text(*table.column(name), percent=name in ENCODED, wide=wide or name in ENCODED)
        for name in (*ENCODED, *PLAIN, *SHORT)
    }
    lists = ("tags", "machine_tags")
    return found | {name: _list(*table.column(name)) for name in lists}


def _text(
    data: Array, starts: Array, ends: Array, *, percent: bool, wide: bool = True
) -> pa.StringArray:
    """Decoded text; null where the field is empty."""
    lengths = ends - starts
    room = int(lengths.sum(dtype=np.int64)) * (3 if wide else 1)
    offsets, out = np.empty(len(starts) + 1, np.int32), np.empty(room, np.uint8)
    used = decode_texts(data, starts, ends, percent, offsets, out)
    validity = None if lengths.all() else _bits(lengths > 0)
    return _strings(offsets, out, used, validity)


def _bits(valid: Array) -> pa.Buffer:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def _strings(
    offsets: Array, out: Array, used: int, validity: pa.Buffer | None = None
) -> pa.StringArray:
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(out[:used].copy())]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


def _list(data: Array, starts: Array, ends: Array) -> pa.ListArray:
    items = count_items(data, starts, ends)
    room = 3 * int((ends - starts).sum(dtype=np.int64))
    lists, offsets = np.empty(len(starts) + 1, np.int32), np.empty(items + 1, np.int32)
    out = np.empty(room, np.uint8)
    used = decode_lists(data, starts, ends, lists, offsets, out)
    return pa.ListArray.from_arrays(pa.array(lists), _strings(offsets, out, used))


def _hashes(table: FieldTable, states: dict[str, Array]) -> pa.StringArray:
    """The hash of the layout; of the download URL where there is none."""
    if "hash" not in states:
        return _url_hashes(*table.column("download_url"))
    given = _text(*table.column("hash"), percent=False)
    if given.null_count == 0:
        return given
    return pc.coalesce(given, _url_hashes(*table.column("download_url")))


def _url_hashes(data: Array, starts: Array, ends: Array) -> pa.StringArray:
    view = memoryview(data)
    digests = b"".join(
        hashlib.md5(view[start:end], usedforsecurity=False).digest()
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
    )
    offsets, out = np.empty(len(starts) + 1, np.int32), np.empty(32 * len(starts), np.uint8)
    used = unpadded_hex(np.frombuffer(digests, np.uint8).reshape(-1, 16), offsets, out)
    return _strings(offsets, out, used)


def _derived(columns: dict[str, pa.Array], photo: Array) -> dict[str, pa.Array]:
    automatic = pc.match_substring_regex(columns["title"], AUTOMATIC)
    return {
        "kind": pc.if_else(pa.array(photo), "photo", "video"),
        "licence": licence_names(columns["licence_url"]),
        "image_path": _paths(columns["hash"], photo),
        "title_words": _words(columns["title"]),
        "title_automatic": pc.fill_null(automatic, False),
        "description_words": _words(columns["description"]),
    }


def licence_names(urls: pa.StringArray) -> pa.StringArray:
    """Short names such as "CC BY-NC 2.0"; null for what is no such URL."""
    coded = urls.dictionary_encode()
    found = [re.search(LICENCE_URL, url) for url in coded.dictionary.to_pylist()]
    names = [f"CC {match[1].upper()} {match[2]}" if match else None for match in found]
    return pa.array(names, pa.string()).take(coded.indices)


def _bytes_of(texts: pa.StringArray) -> tuple[Array, Array]:
    _, offsets, data = texts.buffers()
    letters = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return np.frombuffer(offsets, np.int32)[: len(texts) + 1], letters


def _paths(hashes: pa.StringArray, photo: Array) -> pa.StringArray:
    given, letters = _bytes_of(hashes)
    offsets = np.empty(len(photo) + 1, np.int32)
    out = np.empty(44 * len(photo), np.uint8)
    used = image_paths(letters, given, photo, offsets, out)
    return _strings(offsets, out, used, None if photo.all() else _bits(photo))


def _words(texts: pa.StringArray) -> pa.Int32Array:
    offsets, letters = _bytes_of(texts)
    counts = np.empty(len(texts), np.int32)
    count_words(letters, offsets, counts)
    return pa.array(counts)
