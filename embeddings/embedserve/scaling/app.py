"""`serve run embedserve.scaling.app:build models=all-MiniLM-L6-v2 max_replicas=4`: the service on Ray Serve.

One model: its deployment is the ingress, and Ray's proxy talks to the replicas directly. Several: a router before one
deployment for each. Every option of a deployment can be changed by name in a Serve config file (`deployments:`).
"""

from __future__ import annotations

import re
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from embedserve.scaling.autoscaling import BacklogPolicy
from embedserve.scaling.options import ScaleOptions
from embedserve.scaling.replica import Replica, RoutedReplica
from embedserve.scaling.router import Router
from embedserve.settings import load_settings, parse_size
from ray import serve


def build(options: ScaleOptions) -> serve.Application:
    """The Ray Serve application for `options` (Ray makes them from key=value words or from the config's `args`)."""
    names = options.model_names
    if len(names) == 1:
        return _deployment(names[0], options, ingress=True)
    bound = {f"model_{index}": _deployment(name, options, ingress=False) for index, name in enumerate(names)}
    router: Any = serve.deployment(serve.ingress()(Router))
    router = router.options(
        name="router",
        num_replicas="auto",
        max_ongoing_requests=256,
        autoscaling_config=AutoscalingConfig(min_replicas=1, max_replicas=4, target_ongoing_requests=64),
        ray_actor_options={"num_cpus": 0.1},
    )
    bound_router: serve.Application = router.bind(names=names, **bound)
    return bound_router


def _deployment(name: str, options: ScaleOptions, *, ingress: bool) -> serve.Application:
    drain = load_settings().drain_timeout
    actor: dict[str, Any] = {"num_cpus": options.cpus}
    if options.gpus:
        actor["num_gpus"] = options.gpus
    if options.memory:
        actor["memory"] = parse_size(options.memory)
    deployment: Any = serve.deployment(serve.ingress()(Replica) if ingress else RoutedReplica)
    deployment = deployment.options(
        name="embedserve" if ingress else deployment_name(name),
        max_ongoing_requests=options.max_ongoing_requests,
        graceful_shutdown_wait_loop_s=0.5,
        graceful_shutdown_timeout_s=drain + 5,
        logging_config={"enable_access_log": False},  # ours has the reasons
        health_check_period_s=5,
        health_check_timeout_s=30,
        ray_actor_options=actor,
        autoscaling_config=AutoscalingConfig(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            target_ongoing_requests=options.target_ongoing_requests,
            upscale_delay_s=options.upscale_delay,
            downscale_delay_s=options.downscale_delay,
            look_back_period_s=20,
            policy=AutoscalingPolicy(  # type: ignore[no-untyped-call]
                policy_function=BacklogPolicy, policy_kwargs={"target_queued_texts": options.target_queued_texts}
            ),
        ),
    )
    bound: serve.Application = deployment.bind(name, options.threads, options.memory)
    return bound


def deployment_name(model: str) -> str:
    """A model's deployment: its name in letters that Ray and Prometheus take."""
    return re.sub(r"[^a-zA-Z0-9_-]+", "-", model).strip("-").lower() or "model"
