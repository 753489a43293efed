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
    "Encoder": "yfccdask.analysis.transformer",
    "Run": "yfccdask.data.runs",
    "TensorBoardSink": "yfccdask.dashboard.tensorboard_sink",
    "YfccdaskError": "yfccdask.errors",
    "activations": "yfccdask.analysis.network_pass",
    "attach": "yfccdask.training.control.live",
    "compare": "yfccdask.analysis.run_comparison",
    "config_to_yaml": "yfccdask.config",
    "demo": "yfccdask.cli.demonstration",
    "digest": "yfccdask.data.digests",
    "doctor": "yfccdask.training.checkup",
    "encode": "yfccdask.analysis.encoding",
    "export": "yfccdask.analysis.exporting",
    "fetch_samples": "yfccdask.data.sample_photos",
    "ingest": "yfccdask.data.ingestion",
    "list_commits": "yfccdask.data.checkpoints",
    "list_runs": "yfccdask.training.run_overviews",
    "load_config": "yfccdask.config",
    "open_run": "yfccdask.data.runs",
    "open_store": "yfccdask.data.blocks",
    "optimal": "yfccdask.analysis.optimal_inputs",
    "plan": "yfccdask.training.planning",
    "probe": "yfccdask.analysis.feature_probes",
    "read_labels": "yfccdask.analysis.labels",
    "report": "yfccdask.analysis.reporting",
    "resume": "yfccdask.training.start",
    "selectivity": "yfccdask.analysis.unit_detectors",
    "stimuli": "yfccdask.analysis.stimulus_pages",
    "strongest_images": "yfccdask.analysis.strongest_pass",
    "tags": "yfccdask.analysis.unit_words",
    "train": "yfccdask.training.start",
    "training_progress": "yfccdask.dashboard.progress",
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
