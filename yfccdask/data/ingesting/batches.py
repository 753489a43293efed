"""Batches of files: decoded into one array on disk, and not again once they are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yfccdask.data.decoding import Cut, Decoded, Rejected, decode
from yfccdask.data.durable import replace_file
from yfccdask.data.ingesting.looks import look_of
from yfccdask.data.sources.archive_index import DAMAGE, compression_of, opened
from yfccdask.data.sources.contents import Access, Content, Item, read_contents
from yfccdask.data.sources.manifest_rows import BROKEN, STORED

COPY_BYTES = 2**20


class Outcome(NamedTuple):
    """What became of a file: ``reason`` is "" if it gave images, sizes are those of the file."""

    reason: str
    source_digest: str = ""
    bytes: int = 0
    width: int = 0
    height: int = 0
    look: str = ""


def decode_batch(
    folder: str, number: int, items: Sequence[Item], cut: Cut, access: Access, looks: bool
) -> list[Outcome]:
    """Decode some files into one array on disk, ``part-NUMBER.npy``, and say what became of each.

    A batch that an earlier ingest has finished is not decoded again. ``looks`` asks for perceptual
    hashes.

    Raises
    ------
    SourceLost
        The source is gone.
    """
    listed = Path(folder, f"part-{number:05d}.json")
    asked = hashlib.sha256(repr((list(items), cut, looks)).encode(errors="replace")).hexdigest()
    if (former := _former(listed, asked)) is not None:
        return former
    outcomes, images = [], []
    for item, content in zip(items, read_contents(items, access), strict=True):
        outcome, decoded = _outcome(content, item.id, cut, looks)
        outcomes.append(outcome)
        if decoded is not None:
            images.append(decoded.images)
    if images:
        squares = np.concatenate(images)
        replace_file(listed.with_suffix(".npy"), lambda stream: np.save(stream, squares))
    text = json.dumps({"asked": asked, "rows": outcomes})
    replace_file(listed, lambda stream: stream.write(text.encode()))
    return outcomes


def unpack_members(
    folder: str, number: int, path: str, items: Sequence[Item], storage: dict[str, Any]
) -> list[Item]:
    """Copy members of a compressed tar into one plain file, in one pass; say where they are now.

    Parameters
    ----------
    items : sequence of Item
        Their offsets are those of the decompressed stream.
    """
    target = Path(folder, f"unpacked-{number:05d}")
    moved: dict[Item, Item] = {}

    def copy(out: Any) -> None:
        with opened(path, storage, compression_of(path)) as stream:
            for item in sorted(items, key=lambda item: item.offset):
                moved[item] = _copied(stream, item, out, str(target))

    replace_file(target, copy)
    return [moved[item] for item in items]


def _copied(stream: Any, item: Item, out: Any, target: str) -> Item:
    """Copy one member; damage on the way becomes its trouble."""
    place, left = out.tell(), item.length
    try:
        stream.seek(item.offset)
        while left and (piece := stream.read(min(left, COPY_BYTES))):
            out.write(piece)
            left -= len(piece)
    except (*DAMAGE, OSError) as error:
        if getattr(error, "errno", None) is not None:  # not of the archive, but of a disk
            raise
        return item._replace(packing=BROKEN, trouble=f"damaged: in the archive: {error}")
    return item._replace(path=target, offset=place, packing=STORED)


def _outcome(
    content: Content, identity: str, cut: Cut, looks: bool
) -> tuple[Outcome, Decoded | None]:
    if isinstance(content, Rejected):
        return Outcome(content.reason), None
    known = hashlib.sha256(content).hexdigest(), len(content)
    try:
        decoded = decode(content, identity, cut)
    except Rejected as why:
        return Outcome(why.reason, *known, why.width, why.height), None
    look = look_of(content, identity, cut, decoded) if looks else ""
    return Outcome("", *known, decoded.width, decoded.height, look), decoded


def _former(listed: Path, asked: str) -> list[Outcome] | None:
    """A batch that an earlier ingest has finished, if its images are there too."""
    if not listed.is_file():
        return None
    found = json.loads(listed.read_text())
    rows = [Outcome(*row) for row in found["rows"]]
    whole = listed.with_suffix(".npy").is_file() or all(row.reason for row in rows)
    return rows if whole and found["asked"] == asked else None
