"""How many replicas a model needs: by the requests at it and by the texts that wait in its replicas.

Requests alone mislead: one request of 2,600 texts is minutes of work and counts as one. So each replica reports the
texts in its backlog, and the policy takes the larger of two ratios:

    desired = max(ongoing requests / target_ongoing_requests, queued texts / target_queued_texts)

Ray applies the delays, the factors and the bounds of `autoscaling_config` to it. Pure arithmetic over Ray's context.
"""

from __future__ import annotations

import math
from typing import Any

QUEUED_TEXTS = "queued_texts"


class BacklogPolicy:
    """A policy for Ray Serve's `AutoscalingPolicy`; `target_queued_texts` is per replica."""

    def __init__(self, target_queued_texts: float) -> None:
        self.target_queued_texts = target_queued_texts

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """(desired replicas, state). 0 replicas with a request waiting become 1 at once (Ray does it before us)."""
        texts = sum((context.aggregated_metrics or {}).get(QUEUED_TEXTS, {}).values())
        return desired_replicas(
            ongoing=context.total_num_requests,
            texts=texts,
            target_ongoing=context.config.get_target_ongoing_requests(),
            target_texts=self.target_queued_texts,
        ), {}


def desired_replicas(*, ongoing: float, texts: float, target_ongoing: float, target_texts: float) -> float:
    """Replicas for `ongoing` requests and `texts` queued texts. No work: 0 (the minimum bounds it)."""
    desired = max(ongoing / target_ongoing, texts / target_texts)
    return desired if math.isfinite(desired) and desired > 0 else 0.0
