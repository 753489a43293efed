"""One row at a time in plain Python: the rules to be read, and the oracle of the fast way."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote_plus

from yfccdask.data.metadata.columns import AUTOMATIC_TITLE, LICENCE_URL
from yfccdask.data.metadata.field_tables import LONGEST_LINE, json_fields
from yfccdask.data.metadata.layouts import JSON_LINES, Layout

Row = dict[str, Any]
INTEGER = re.compile(rb"-?[0-9]{1,18}")
DECIMAL = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
MOMENT = re.compile(
    rb"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?"
)
HASH = re.compile(rb"[0-9a-f]{16,32}")
WORD = re.compile(r"[^ \t\n\v\f\r]+")
AUTOMATIC = re.compile(AUTOMATIC_TITLE + r"\Z")
LICENCE = re.compile(LICENCE_URL)
EPOCH = datetime(1970, 1, 1)
INTEGERS = {  # name: least, most, whether it must be there
    "line_number": (0, 10**18, True),
    "id": (0, 10**18, True),
    "date_uploaded": (0, 253_402_300_799, False),
    "accuracy": (-128, 127, False),
    "server": (-(2**31), 2**31 - 1, False),
    "farm": (-(2**31), 2**31 - 1, False),
    "marker": (0, 1, True),
}


class Rejected(Exception):
    """A row that doesn't parse; its argument is the reason's word."""


def parse_line(line: bytes, layout: Layout) -> Row:
    """Parse a line without its newline.

    Returns
    -------
    dict
        A value for each of the Parquet's columns.

    Raises
    ------
    Rejected
    """
    if len(line) > LONGEST_LINE:
        raise Rejected("too_long")
    if layout is JSON_LINES:
        fields: Sequence[bytes] | None = json_fields(line)
        if fields is None:
            raise Rejected("json")
        return parse_fields(fields, layout)
    fields = line.split(b"\t")
    if len(fields) != layout.columns:
        raise Rejected("columns")
    return parse_fields(fields, layout)


def parse_fields(fields: Sequence[bytes], layout: Layout) -> Row:
    """Parse the fields of a row; `Rejected` names the first that is not of its grammar."""
    raw = dict(zip(layout.fields, fields, strict=True))
    number = _integer("line_number", raw["line_number"]) if "line_number" in raw else None
    row: Row = {"line_number": number, "id": _integer("id", raw["id"])}
    row["hash"] = _hash(raw)
    row["user"] = _needed("user", raw["user"])
    row["date_taken"] = _moment(raw["date_taken"])
    uploaded = _integer("date_uploaded", raw["date_uploaded"])
    row["date_uploaded"] = None if uploaded is None else _uploaded(uploaded)
    row["longitude"] = _decimal("longitude", raw["longitude"])
    row["latitude"] = _decimal("latitude", raw["latitude"])
    row["accuracy"] = _integer("accuracy", raw["accuracy"])
    row["download_url"] = _needed("download_url", raw["download_url"])
    row["server"], row["farm"] = _integer("server", raw["server"]), _integer("farm", raw["farm"])
    photo = _integer("marker", raw["marker"]) == 0
    return row | _texts(raw) | _derived(raw, row["hash"], photo)


def _texts(raw: dict[str, bytes]) -> Row:
    plain = ("page_url", "licence_name", "licence_url", "secret", "secret_original", "extension")
    encoded = ("nickname", "device", "title", "description")
    row: Row = {name: raw[name].decode("utf-8", "replace") or None for name in plain}
    row |= {name: percent_decoded(raw[name]) or None for name in encoded}
    for name in ("tags", "machine_tags"):
        row[name] = [percent_decoded(tag) for tag in raw[name].split(b",") if tag]
    return row


def _derived(raw: dict[str, bytes], found: str, photo: bool) -> Row:
    title, description = percent_decoded(raw["title"]), percent_decoded(raw["description"])
    licence = LICENCE.search(raw["licence_url"].decode("utf-8", "replace"))
    return {
        "kind": "photo" if photo else "video",
        "licence": f"CC {licence[1].upper()} {licence[2]}" if licence else None,
        "image_path": f"{found[:3]}/{found[3:6]}/{found}.jpg" if photo else None,
        "title_words": len(WORD.findall(title)),
        "title_automatic": AUTOMATIC.search(title) is not None,
        "description_words": len(WORD.findall(description)),
    }


def percent_decoded(field: bytes) -> str:
    """Decode UTF-8, then percent-escapes; what is no UTF-8 becomes U+FFFD.

    Examples
    --------
    >>> percent_decoded(b"caf%C3%A9+%41%zz%FF")
    'café A%zz\ufffd'
    """
    return unquote_plus(field.decode("utf-8", "replace"), errors="replace")


def unpadded_md5(url: bytes) -> str:
    """The release's hash of a download URL.

    Examples
    --------
    >>> unpadded_md5(b"http://farm8.staticflickr.com/7205/6985418911_df7747990d.jpg")
    '4e2f7a26a1dfbf165a7e30bdabf7e72a'
    """
    return "".join(f"{byte:x}" for byte in hashlib.md5(url, usedforsecurity=False).digest())


def _integer(name: str, field: bytes) -> int | None:
    low, high, needed = INTEGERS[name]
    if not field and not needed:
        return None
    if not INTEGER.fullmatch(field) or not low <= int(field) <= high:
        raise Rejected(name)
    return int(field)


def _decimal(name: str, field: bytes) -> float | None:
    if field and (len(field) > 40 or not DECIMAL.fullmatch(field)):
        raise Rejected(name)
    return float(field) if field else None


def _needed(name: str, field: bytes) -> str:
    if not field:
        raise Rejected(name)
    return field.decode("utf-8", "replace")


def _hash(raw: dict[str, bytes]) -> str:
    if raw.get("hash"):
        if not HASH.fullmatch(raw["hash"]):
            raise Rejected("hash")
        return raw["hash"].decode()
    return unpadded_md5(raw["download_url"])


def _moment(field: bytes) -> datetime | None:
    if field in (b"", b"null"):
        return None
    found = MOMENT.fullmatch(field)
    if found is None:
        raise Rejected("date_taken")
    if not any(map(int, found.groups()[:6])):
        return None
    micro = int((found[7] or b"0").ljust(6, b"0"))
    try:
        return datetime(*map(int, found.groups()[:6]), micro)  # type: ignore[call-arg, arg-type]
    except ValueError:
        raise Rejected("date_taken") from None


def _uploaded(seconds: int) -> datetime:
    return (EPOCH + timedelta(seconds=seconds)).replace(tzinfo=UTC)
