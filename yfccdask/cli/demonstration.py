"""``demo``: the main job from photographs to a report, using again what exists."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from yfccdask.analysis.reporting import report
from yfccdask.config import Config, load_config
from yfccdask.dashboard.summary import layer_summaries
from yfccdask.data.blocks import BlockStore, open_store
from yfccdask.data.commits import has_finished
from yfccdask.data.ingestion import ingest
from yfccdask.data.runs import Run, open_run
from yfccdask.data.sample_photos import fetch_samples
from yfccdask.data.sources import folder_manifest
from yfccdask.errors import YfccdaskError
from yfccdask.training.clusters import ClusterRequest
from yfccdask.training.loop import OnEvent
from yfccdask.training.start import resume, train, with_client

DEMO_RUN, DEMO_DATA = Path("demo-run"), Path("demo-data")
CROPS = 18_900  # enough distinct patches for edges; see docs/learning.md
OnFiles = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Demonstration:
    """What a demo made: the run, its report, and each layer's summary."""

    run: Run
    report: Path
    layers: list[dict[str, Any]]


def demo(
    *,
    images: str | Path | None = None,
    run: str | Path = DEMO_RUN,
    data: str | Path = DEMO_DATA,
    crops: int = CROPS,
    overrides: Iterable[str] = (),
    cluster: ClusterRequest | None = None,
    on_files: OnFiles | None = None,
    on_event: OnEvent = lambda event: None,
) -> Demonstration:
    """Fetch or take photographs, ingest them, train three layers, write a report.

    Parameters
    ----------
    images : path, optional
        A folder of one's own photographs; by default the samples are fetched.
    run, data : path
        Where the run goes, and where photographs and blocks are kept.
    crops : int
        Crops to cut in all if every file is a photograph; as many from each.
    overrides : iterable of str
        ``key=value`` changes to the demo configuration.
    cluster : ClusterRequest, optional
    on_files, on_event : callables, optional
        Progress of the files (done, total, text) and events of the training.
    """
    config, cluster = load_config("demo", overrides), cluster or ClusterRequest()
    run, data = Path(run), Path(data)
    photos = Path(images) if images else data / "photos"
    if images is None:
        fetch_samples(photos, on_progress=on_files)
    store = _store(photos, data, crops, config, cluster, on_files)
    there, page = _same_run(run, config, store), run / "report.html"
    follow = {"cluster": cluster, "on_event": on_event, "on_connect": on_event}
    whole = there is not None and has_finished(there.path)
    if there is None:
        trained = train(config, store, run, **follow)
    else:
        trained = there if whole else resume(there, **follow)
    if not (whole and page.exists()):
        page = report(trained, store=store, cluster=cluster)
    return Demonstration(trained, page, layer_summaries(trained))


def _store(
    photos: Path,
    data: Path,
    crops: int,
    config: Config,
    cluster: ClusterRequest,
    on_files: OnFiles | None,
) -> BlockStore:
    count = len(folder_manifest(photos))
    done = with_client(
        cluster,
        ingest,
        photos,
        data / f"blocks-{sha256(str(photos.resolve()).encode()).hexdigest()[:8]}",
        size=config.images.size,
        channels=config.images.channels,
        block_size=config.batching.data_block,
        crops_per_image=max(1, -(-crops // max(count, 1))),
        on_progress=on_files,
    )
    return open_store(done.store)


def _same_run(path: Path, config: Config, store: BlockStore) -> Run | None:
    """The run at ``path``, if there is one: of this configuration and store, finished or not."""
    if not path.exists():
        return None
    run = open_run(path)
    if run.config == config and run.provenance["store"]["digest"] == store.digest:
        return run
    raise YfccdaskError(
        f"{path}: expected a run of this configuration and these photographs, found another: "
        "name another folder with --run, or remove it"
    )
