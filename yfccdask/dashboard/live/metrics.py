"""The run in training for Prometheus, in the scheduler's own ``/metrics``.

As for distributed's own metrics, `prometheus_client` has to be installed; without it, nothing is
added and nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from distributed import Scheduler

try:
    from distributed.http.prometheus import PrometheusCollector
    from distributed.http.scheduler.prometheus import core
    from prometheus_client import REGISTRY
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
except ModuleNotFoundError:  # prometheus_client is for those who ask for metrics
    core = None  # type: ignore[assignment]
    PrometheusCollector = object  # type: ignore[assignment, misc]

STATES = (
    "empty", "starting", "running", "pausing", "paused", "stopping", "recovering",
    "finished", "stopped", "failed",
)  # fmt: skip
BY_LAYER: tuple[tuple[str, str, str], ...] = (
    ("blocks", "blocks", "Data blocks that a layer has trained on"),
    ("planned_blocks", "of", "Data blocks that a layer is to be trained on"),
    ("objective", "objective", "A layer's mean objective over its last block"),
    ("images_per_second", "images_per_second", "A layer's images per second in this session"),
)


class RunCollector(PrometheusCollector):
    """Gauges and counters of the run that a controller trains, or trained last.

    Names begin with distributed's own namespace, ``dask_yfccdask_`` by default.
    """

    def __init__(self, server: Scheduler) -> None:
        super().__init__(server)
        self.subsystem = "yfccdask"

    def collect(self) -> Iterator[Any]:
        """All metrics; each scheduler of a process has a controller of its own."""
        controller = self.server.plugins.get("yfccdask")
        if controller is None:
            return
        run = controller.status_now()
        yield self.states(run["state"])
        if run["state"] != "empty":
            yield from self.layers(run["layers"])
            yield from self.whole_run(run)

    def gauge(self, name: str, text: str, value: float) -> Any:
        """One number."""
        return GaugeMetricFamily(self.build_name(name), text, value=value)

    def states(self, state: str) -> Any:
        """1 for the state that the run is in, 0 for all others."""
        text = "Whether the run is in a state"
        family = GaugeMetricFamily(self.build_name("state"), text, labels=["state"])
        for name in STATES:
            family.add_metric([name], float(name == state))
        return family

    def layers(self, layers: list[dict[str, Any]]) -> Iterator[Any]:
        """What there is for each layer; what isn't known yet is left out."""
        for name, key, text in BY_LAYER:
            family = GaugeMetricFamily(self.build_name(f"layer_{name}"), text, labels=["layer"])
            for layer in layers:
                if layer[key] is not None:
                    family.add_metric([str(layer["layer"])], layer[key])
            yield family

    def whole_run(self, run: dict[str, Any]) -> Iterator[Any]:
        """Ticks, workers, commits, losses."""
        if run["tick"] is not None:
            yield self.gauge("tick", "The next tick of the schedule", run["tick"])
        yield self.gauge("workers", "Workers that the run is planned on", run["workers"])
        name = self.build_name("workers_lost")
        yield CounterMetricFamily(name, "Losses that a session has recovered from", run["lost"])
        if commit := run["commit"]:
            yield self.gauge("commit", "Number of the last commit", commit["number"])
            text = "When the last commit was written, since the epoch"
            yield self.gauge("commit_time_seconds", text, commit["time"])
            text = "Seconds that the last commit took"
            yield self.gauge("commit_duration_seconds", text, commit["seconds"])
        if run["commit_share"] is not None:
            text = "Share of this session's time that commits took"
            yield self.gauge("commit_share", text, run["commit_share"])


def add_metrics(scheduler: Scheduler) -> bool:
    """Add the run's metrics to a scheduler's ``/metrics``, once a process.

    Returns whether `prometheus_client` is there.
    """
    if core is None:
        return False
    if RunCollector in core.COLLECTORS:
        return True
    core.COLLECTORS.append(RunCollector)
    if core.PrometheusHandler._collectors:  # somebody has asked already: it registers once only
        late = RunCollector(scheduler)
        core.PrometheusHandler._collectors += (late,)
        REGISTRY.register(late)
    return True
