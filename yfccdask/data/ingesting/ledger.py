"""What is done: one small file per finished wave. An ingest goes on after the last of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from yfccdask.data.durable import replace_file
from yfccdask.errors import DataError


@dataclass(frozen=True)
class WaveRecord:
    """A finished wave.

    Attributes
    ----------
    files : int
        Files seen in it.
    images : int
        Images that it gave.
    digests : list of str
        Of the blocks that it completed, in order.
    carried : int
        Images left over, which begin the next wave's blocks.
    reasons : dict
        Files without an image, counted by category.
    """

    files: int
    images: int
    digests: list[str]
    carried: int
    reasons: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """All finished waves together."""

    waves: int
    files: int
    images: int
    digests: list[str]
    carried: int
    reasons: dict[str, int]


def write_record(ledger: Path, wave: int, record: WaveRecord) -> None:
    """Say that a wave is finished: from now on nothing of it is done again."""
    text = json.dumps(asdict(record))
    replace_file(ledger / f"wave-{wave:06d}.json", lambda stream: stream.write(text.encode()))


def read_totals(ledger: Path) -> Totals:
    """Add up the finished waves, as far as none is missing."""
    records: list[WaveRecord] = []
    while (path := ledger / f"wave-{len(records):06d}.json").is_file():
        records.append(WaveRecord(**json.loads(path.read_text())))
    return totals_of(records)


def totals_of(records: list[WaveRecord]) -> Totals:
    reasons: Counter[str] = Counter()
    for record in records:
        reasons.update(record.reasons)
    return Totals(
        len(records),
        sum(record.files for record in records),
        sum(record.images for record in records),
        [digest for record in records for digest in record.digests],
        records[-1].carried if records else 0,
        dict(reasons),
    )


def count_categories(reasons: Iterable[str]) -> dict[str, int]:
    """Count reasons by their category, most frequent first; "" is no reason."""
    return dict(Counter(reason.split(":")[0] for reason in reasons if reason).most_common())


class NoImages(DataError):
    """A source without a single image that can be used."""


def refuse_none(totals: Totals) -> None:
    """Raise `NoImages`, which lists the reasons, if no file gave an image."""
    if totals.images == 0:
        text = ", ".join(f"{count} x {name}" for name, count in totals.reasons.items())
        raise NoImages(
            f"expected at least one image among {totals.files} files, found none ({text}): "
            "nothing was written, choose another folder or a smaller size"
        )
