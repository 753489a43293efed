"""Learn visual features from very large photo collections without labels, on Dask.

Every command of ``yfccdask`` is also a function here::

    import yfccdask

    yfccdask.ingest("photos", "blocks", size=64, crops_per_image=300)
    run = yfccdask.train("demo", "blocks", "run")
    yfccdask.report(run)

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module, metadata
from typing import Any

_PUBLIC = {
    "BlockStore": "yfccdask.data.blocks",
    "ClusterRequest": "yfccdask.training.clusters",
    "Config": "yfccdask.config",
    "Run": "yfccdask.data.runs",
    "YfccdaskError": "yfccdask.errors",
    "attach": "yfccdask.training.control.live",
    "config_to_yaml": "yfccdask.config",
    "demo": "yfccdask.cli.demonstration",
    "digest": "yfccdask.data.digests",
    "doctor": "yfccdask.training.checkup",
    "fetch_samples": "yfccdask.data.sample_photos",
    "ingest": "yfccdask.data.ingestion",
    "list_commits": "yfccdask.data.checkpoints",
    "list_runs": "yfccdask.training.run_overviews",
    "load_config": "yfccdask.config",
    "open_run": "yfccdask.data.runs",
    "open_store": "yfccdask.data.blocks",
    "plan": "yfccdask.training.planning",
    "report": "yfccdask.analysis.reporting",
    "resume": "yfccdask.training.start",
    "strongest_images": "yfccdask.analysis.strongest_pass",
    "train": "yfccdask.training.start",
    "verify_run": "yfccdask.data.checkpoints",
    "write_store": "yfccdask.data.block_writing",
}

__version__ = metadata.version("yfccdask")
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'yfccdask' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
