"""YFCC100M metadata: its layouts, typed Parquet of them, and manifests for `ingest`."""
