"""Rows in the release's layouts, clean or with every kind of dirt; made from a seed."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_plus

from yfccdask.data.metadata.layouts import (
    FIELDS,
    JSON_KEYS,
    NUMBERED,
    SQLITE_COLUMNS,
    SQLITE_TABLE,
    Layout,
)
from yfccdask.data.metadata.plain_parser import unpadded_md5

WORDS = [
    "the",
    "of",
    "beach",
    "nikon",
    "canon",
    "london",
    "2012",
    "snow",
    "café",
    "München",
    "東京",
    "ночь",
    "<b>night</b>",
    "&",
    '"q"',
]
TAGS = ["square", "square format", "new york", "hs 310", "sam, the pirate", "ночь", "<i>x</i>"]
DEVICES = ["Canon PowerShot ELPH 310 HS", "NIKON CORPORATION NIKON D60", "Apple iPhone 4S", ""]
TITLES = ["IMG_0520", "DSC04449", "P1050677", "img_0081.JPG", "IMG_0520 edited", ""]
LICENCES = ["by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"]
DIRT = [  # (field, bytes) that make a reject
    ("id", b"12x"),
    ("id", b""),
    ("user", b""),
    ("date_taken", b"2012-02-30 00:00:00.0"),
    ("date_taken", b"yesterday"),
    ("date_uploaded", b"1e9"),
    ("longitude", b"1,5"),
    ("latitude", b"nan"),
    ("accuracy", b"300"),
    ("download_url", b""),
    ("server", b"0x10"),
    ("farm", b"99999999999"),
    ("marker", b"2"),
    ("marker", b"0\r"),
]
ODDITIES = [  # and that don't
    ("title", b"broken %E6%97 %zz %4 %"),
    ("title", b"raw \xe6\x97\xa5 \xff\xfe bytes %E2\x82%AC"),
    ("description", b'a "stray quote and \xe2\x80\xa8 a line separator \x0b\x0c\x1c\x85'),
    ("description", b"%3Cscript%3Ealert%281%29%3C%2Fscript%3E%00%1b%0A%09tab"),
    ("tags", b",,a,,b+c,%2C,"),
    ("date_taken", b"null"),
    ("date_taken", b"0000-00-00 00:00:00.0"),
    ("date_taken", b"4501-01-01 00:00:00.0"),
    ("date_taken", b"1826-01-01 00:00:00.25"),
    ("longitude", b"-3.3E-5"),
    ("licence_url", b"nowhere"),
    ("device", b""),
    ("nickname", b"%F0%9F%98%80%20%80"),
]


def fields_of(random_: random.Random, number: int) -> dict[str, bytes]:
    """The fields of one clean row."""
    identifier = 10**9 + 7919 * number
    user, secret = f"{random_.randrange(3000) + 10**7}@N0{number % 9}", f"{number:010x}"
    placed = random_.random() < 0.49
    licence = random_.choice(LICENCES)
    tags = random_.sample(TAGS, random_.randrange(5))
    title = random_.choice([*TITLES, " ".join(random_.choices(WORDS, k=4))])
    described = random_.random() < 0.32
    texts = {
        "id": identifier,
        "user": user,
        "nickname": quote_plus(random_.choice(WORDS)),
        "date_taken": f"{random_.randrange(1990, 2014)}-0{number % 9 + 1}-1{number % 10} 09:56:37",
        "date_uploaded": 1_100_000_000 + number % 10**8,
        "device": quote_plus(random_.choice(DEVICES)),
        "title": quote_plus(title),
        "description": quote_plus(" ".join(random_.choices(WORDS, k=20))) if described else "",
        "tags": ",".join(quote_plus(tag) for tag in tags),
        "machine_tags": "uploaded%3Aby%3Dinstagram" if number % 7 == 0 else "",
        "longitude": f"{random_.uniform(-180, 180):.6f}" if placed else "",
        "latitude": f"{random_.uniform(-60, 80):.6f}" if placed else "",
        "accuracy": random_.randrange(1, 17) if placed else "",
        "page_url": f"http://www.flickr.com/photos/{user}/{identifier}/",
        "download_url": f"http://farm8.staticflickr.com/7205/{identifier}_{secret}.jpg",
        "licence_name": f"Attribution {licence} License",
        "licence_url": f"http://creativecommons.org/licenses/{licence}/2.0/",
        "server": 7205,
        "farm": 8,
        "secret": secret,
        "secret_original": secret[::-1],
        "extension": "jpg",
        "marker": int(random_.random() < 0.01),
    }
    return {name: str(value).encode() for name, value in texts.items()}


def made_fields(count: int, seed: int = 0, dirt: float = 0.0) -> Iterator[dict[str, bytes]]:
    """Rows as fields with number and hash; a share of ``dirt`` has a field that is odd or bad."""
    random_ = random.Random(seed)
    for number in range(count):
        fields = fields_of(random_, number + seed * 10**7)
        if random_.random() < dirt:
            name, value = random_.choice(DIRT + ODDITIES)
            fields[name] = value
        fields["line_number"] = str(number).encode()
        fields["hash"] = unpadded_md5(fields["download_url"]).encode()
        yield fields


def made_lines(
    count: int, seed: int = 0, dirt: float = 0.0, layout: Layout = NUMBERED
) -> list[bytes]:
    """Lines without their newlines; some dirty ones have too few or too many columns."""
    random_, lines = random.Random(seed + 1), []
    for fields in made_fields(count, seed, dirt):
        line = b"\t".join(fields[name] for name in layout.fields)
        if random_.random() < dirt / 5:
            line = random_.choice([line[: len(line) // 2], line + b"\textra", b"", b"\t\t", b"?"])
        lines.append(line)
    return lines


def json_lines(count: int, seed: int = 0, dirt: float = 0.0) -> list[bytes]:
    """Lines as the package `yfcc100m` writes them; some dirty ones are no JSON."""
    random_, lines = random.Random(seed + 1), []
    for fields in made_fields(count, seed, dirt):
        texts = {k: v.decode("utf-8", "replace") for k, v in fields.items()}
        row = dict(zip(JSON_KEYS, (texts[name] for name in (*FIELDS, "hash")), strict=True))
        for key, kind in (("longitude", float), ("latitude", float), ("accuracy", int)):
            with contextlib.suppress(ValueError):
                row[key] = kind(row[key]) if row[key] else None
        line = json.dumps(row).encode()
        if random_.random() < dirt / 5:
            line = random_.choice(
                [line[:-1], b"[]", b"", b'{"title": ["a"]}', b"\xff{", b"1" * 5000]
            )
        lines.append(line)
    return lines


def write_database(path: Path, count: int, seed: int = 0, dirt: float = 0.0) -> None:
    """A file as the SQLite release."""
    with sqlite3.connect(path) as database:
        columns = ", ".join(SQLITE_COLUMNS)
        database.execute(f"CREATE TABLE {SQLITE_TABLE} ({columns})")
        marks = ", ".join("?" * len(SQLITE_COLUMNS))
        for fields in made_fields(count, seed, dirt):
            row = [fields[name].decode("utf-8", "replace") or None for name in FIELDS]
            database.execute(f"INSERT INTO {SQLITE_TABLE} VALUES ({marks})", row)
    database.close()


def write_shard(path: Path, lines: list[bytes], members: int = 3) -> None:
    """JSON lines in gzip of several members, as that package appends them."""
    step = -(-len(lines) // members)
    with path.open("wb") as file:
        for at in range(0, len(lines), step):
            file.write(gzip.compress(b"\n".join(lines[at : at + step]) + b"\n"))
