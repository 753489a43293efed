"""Images: photographs to blocks on disk, and blocks to Dask arrays."""

from yfccdask.data.block_writing import write_store
from yfccdask.data.blocks import BlockStore, block, block_moments, open_store
from yfccdask.data.ingestion import IngestReport, ingest
from yfccdask.data.sample_photos import fetch_samples

__all__ = [
    "BlockStore",
    "IngestReport",
    "block",
    "block_moments",
    "fetch_samples",
    "ingest",
    "open_store",
    "write_store",
]
