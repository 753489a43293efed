"""Which photographs there are, and their bytes: folders, archives, buckets, manifests.

`listings` turns any source into tables of rows, once; `contents` reads the bytes of some rows
inside a task. Ingest asks nothing else of a source.
"""

from yfccdask.data.sources.folders import CREDIT_COLUMNS, CREDITS, folder_manifest
from yfccdask.data.sources.listings import Listing, listing
from yfccdask.data.sources.manifest_rows import COLUMNS, SourceLost, printable

__all__ = [
    "COLUMNS",
    "CREDITS",
    "CREDIT_COLUMNS",
    "Listing",
    "SourceLost",
    "folder_manifest",
    "listing",
    "printable",
]
