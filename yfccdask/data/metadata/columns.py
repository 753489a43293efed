"""The Parquet's columns, with their types, units and what they mean; its format version."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

FORMAT, FORMAT_VERSION = "yfccdask-metadata", 1
TEXT, TEXTS = pa.string(), pa.list_(pa.field("item", pa.string()))
LICENCE_URL = r"/licenses/([a-z-]+)/([0-9.]+)"
CAMERA_PREFIXES = (
    *("img", "imga", "imgp", "cimg", "rimg", "simg", "mg", "imag", "dsc", "dscn", "dscf", "dsci"),
    *("pict", "sam", "sany", "hpim", "dcp", "kif", "mvi", "mov", "vid", "p"),
)
FILE_ENDINGS = ("jpg", "jpeg", "png", "gif", "tif", "tiff", "bmp", "avi", "mov", "mp4", "raw")


def _any_case(words: tuple[str, ...]) -> str:
    """ASCII letters of either case, spelt out: engines fold other letters differently."""
    return "|".join("".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in w) for w in words)


AUTOMATIC_TITLE = (  # add the engine's own sign for the end of the text
    rf"^_?(?:{_any_case(CAMERA_PREFIXES)})[ _-]?[0-9]{{3,}}(?:\.(?:{_any_case(FILE_ENDINGS)}))?"
)

_COLUMNS: tuple[tuple[str, pa.DataType, str, str], ...] = (
    ("id", pa.int64(), "", "identifier of the photo or video at Flickr"),
    ("hash", TEXT, "", "MD5 of the download URL, each byte in hex without padding"),
    ("kind", TEXT, "", "'photo' or 'video' (the marker 0 or 1)"),
    ("user", TEXT, "", "NSID of the user"),
    ("nickname", TEXT, "", "the user's name, decoded"),
    ("date_taken", pa.timestamp("us"), "us", "when it was taken, by the camera's own clock"),
    ("date_uploaded", pa.timestamp("us", "UTC"), "us", "when it was uploaded"),
    ("device", TEXT, "", "capture device, decoded"),
    ("title", TEXT, "", "title, decoded"),
    ("description", TEXT, "", "description, decoded; may hold HTML"),
    ("tags", TEXTS, "", "user tags, split at commas, then decoded; empty if there are none"),
    ("machine_tags", TEXTS, "", "machine tags, as tags"),
    ("longitude", pa.float64(), "degree_east", "longitude"),
    ("latitude", pa.float64(), "degree_north", "latitude"),
    ("accuracy", pa.int8(), "", "accuracy of the position, 1 (world) to 16 (street)"),
    ("page_url", TEXT, "", "page at Flickr"),
    ("download_url", TEXT, "", "URL of the file"),
    ("licence", TEXT, "", "short name made of the licence's URL, e.g. 'CC BY-NC 2.0'"),
    ("licence_name", TEXT, "", "name of the licence as in the release"),
    ("licence_url", TEXT, "", "URL of the licence"),
    ("server", pa.int32(), "", "server at Flickr"),
    ("farm", pa.int32(), "", "farm at Flickr"),
    ("secret", TEXT, "", "secret in the URLs"),
    ("secret_original", TEXT, "", "secret in the URL of the original"),
    ("extension", TEXT, "", "extension of the original; means nothing for videos"),
    ("image_path", TEXT, "", "photos only: HHH/HHH/HASH.jpg below data/images/ of the bucket"),
    ("line_number", pa.int64(), "", "first column of the 25-column layout, else null"),
    ("title_words", pa.int32(), "words", "words of the title, 0 if there is none"),
    ("title_automatic", pa.bool_(), "", "whether the title looks like a camera's file name"),
    ("description_words", pa.int32(), "words", "words of the description"),
)


def _field(name: str, kind: pa.DataType, unit: str, description: str) -> pa.Field:
    labels = {"description": description} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, metadata=labels)


SCHEMA = pa.schema([_field(*column) for column in _COLUMNS])
REPEATED = [  # worth a dictionary
    *("kind", "user", "nickname", "device", "tags.list.element", "machine_tags.list.element"),
    *("accuracy", "licence", "licence_name", "licence_url", "server", "farm", "extension"),
    *("title_words", "description_words"),
]


def file_schema(facts: dict[str, Any]) -> pa.Schema:
    """The schema with the file's own metadata: format, version, and ``facts`` as JSON."""
    labels = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "facts": json.dumps(facts)}
    return SCHEMA.with_metadata(labels)
