"""What is asked of an ingest, and what of it a store remembers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from distributed import Client

from yfccdask.data.block_layout import Layout
from yfccdask.data.blocks import BlockStore
from yfccdask.data.decoding import Cut
from yfccdask.data.ingesting.duplicates import DuplicateRule
from yfccdask.data.sources.listings import Listing
from yfccdask.errors import StoreError

DEFAULTS = {
    "size": 300,
    "channels": 3,
    "block_size": 960,
    "crops_per_image": 1,
    "seed": 0,
    "decode": "exact",
    "duplicates": "report",
    "near_duplicates": None,
}


@dataclass(frozen=True)
class Asked:
    """A source, what becomes of its files, and who does it."""

    listing: Listing
    layout: Layout
    cut: Cut
    rule: DuplicateRule
    wave: int
    client: Client | None
    tell: Callable[[int, int, str], None]

    def options(self) -> dict[str, Any]:
        """What decides, beside the source, about every bit of the store."""
        return {
            **asdict(self.layout),
            "crops_per_image": self.cut.crops,
            "seed": self.cut.seed,
            "decode": self.cut.decode,
            "duplicates": self.rule.handling,
            "near_duplicates": self.rule.near,
        }

    def request(self, files: int, digest: str, kind: str = "ingest") -> dict[str, Any]:
        """The request as it is written down, for a listing of so many files."""
        return {
            "kind": kind,
            "source": self.listing.described,
            "files": files,
            "files_digest": digest,
            **self.options(),
            "files_per_wave": self.wave,
        }

    def like(self, store: BlockStore) -> Asked:
        """The same with the options of a store, for what is added to it.

        Raises
        ------
        StoreError
            The store was made of an array, or an option is asked for that is not its own.
        """
        known = store.attributes().get("request", {})
        if known.get("kind") != "ingest":
            raise StoreError(
                f"expected a store of photographs at {store.path}, found one of an array: "
                "only `ingest` adds to what it has made"
            )
        for name, asked in self.options().items():
            if asked != known[name] and asked != DEFAULTS.get(name):
                raise StoreError(
                    f"expected {name} {known[name]} as in the store {store.path}, found {asked}: "
                    "what is added is cut as the rest is, leave that option out"
                )
        seeded = (known["crops_per_image"], known["seed"], known["decode"])
        cut = Cut(store.size, store.channels, *seeded)
        rule = DuplicateRule(known["duplicates"], known["near_duplicates"])
        return replace(self, layout=store.layout, cut=cut, rule=rule, wave=known["files_per_wave"])
