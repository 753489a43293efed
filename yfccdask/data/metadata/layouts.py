"""The layouts in which YFCC100M metadata is handed round, and what tells them apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

FIELDS = (
    "id",
    "user",
    "nickname",
    "date_taken",
    "date_uploaded",
    "device",
    "title",
    "description",
    "tags",
    "machine_tags",
    "longitude",
    "latitude",
    "accuracy",
    "page_url",
    "download_url",
    "licence_name",
    "licence_url",
    "server",
    "farm",
    "secret",
    "secret_original",
    "extension",
    "marker",
)
SQLITE_TABLE = "yfcc100m_dataset"
SQLITE_COLUMNS = (
    "photoid",
    "uid",
    "unickname",
    "datetaken",
    "dateuploaded",
    "capturedevice",
    "title",
    "description",
    "usertags",
    "machinetags",
    "longitude",
    "latitude",
    "accuracy",
    "pageurl",
    "downloadurl",
    "licensename",
    "licenseurl",
    "serverid",
    "farmid",
    "secret",
    "secretoriginal",
    "ext",
    "marker",
)


@dataclass(frozen=True)
class Layout:
    """A name and the fields of a row, in order."""

    name: str
    fields: tuple[str, ...]

    @property
    def columns(self) -> int:
        return len(self.fields)


WITHOUT_HASH = Layout("23 columns", FIELDS)
WITH_HASH = Layout("24 columns", ("id", "hash", *FIELDS[1:]))
NUMBERED = Layout("25 columns", ("line_number", "id", "hash", *FIELDS[1:]))
SQLITE = Layout("SQLite", FIELDS)
JSON_LINES = Layout("JSON lines", (*FIELDS, "hash"))
JSON_KEYS = (*SQLITE_COLUMNS, "key")
BY_COLUMNS = {layout.columns: layout for layout in (WITHOUT_HASH, WITH_HASH, NUMBERED)}
BY_NAME = {layout.name: layout for layout in (*BY_COLUMNS.values(), SQLITE, JSON_LINES)}


def layout_of(lines: list[bytes]) -> Layout | None:
    """The layout that most of some lines have; None if no line is of any.

    Examples
    --------
    >>> layout_of([b"\\t" * 24, b"dirt"]).name
    '25 columns'
    """
    found = (
        JSON_LINES if line.lstrip().startswith(b"{") else BY_COLUMNS.get(line.count(b"\t") + 1)
        for line in lines
    )
    counts = Counter(layout for layout in found if layout is not None)
    if not counts:
        return None
    return max(counts, key=lambda layout: (counts[layout], layout.columns))
