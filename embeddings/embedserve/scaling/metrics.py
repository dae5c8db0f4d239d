"""Our Prometheus metrics as Ray's, so that each carries its application, deployment and replica.

`/metrics` through Ray Serve reaches one replica of several; Ray's metrics agent collects from all. A counter or a
gauge becomes a Ray gauge of the same name (Ray's counters take differences only), set at each publication.
Histograms give their count and sum.
"""

from __future__ import annotations

from typing import Any

from embedserve import observability as obs


class Bridge:
    """Publishes every `embedserve_*` sample of this process to Ray. Call `publish()` every few seconds."""

    def __init__(self) -> None:
        self._gauges: dict[str, Any] = {}

    def publish(self) -> None:
        from ray.serve.metrics import Gauge  # adds the tags of the replica

        for name, labels, value in obs.samples():
            gauge = self._gauges.get(name)
            if gauge is None:
                gauge = self._gauges[name] = Gauge(name, description=name, tag_keys=tuple(labels))  # type: ignore[arg-type]
            gauge.set(value, tags=labels)
