"""How the tests are spread over the workers of pytest-xdist. Knows no test, only where tests lie.

A file stays on one worker, as its tests share servers. Some places stay together as well: they use what a machine or a
checkout has once. Files that are long come first, so that no worker is left alone with one at the end; tests that
measure who waits for whom come late, on one worker, when the others have only what is LIGHT left.
"""

from __future__ import annotations

import os
from typing import Any

# The Docker Engine's names and this checkout's services, which the README's blocks start and stop; Ray's ports; the
# libraries that are compared with, whose import alone takes five seconds: two workers have them.
TOGETHER = (
    ("tests/docker/", "tests/test_docs.py"),
    ("tests/scaling/",),
    (
        "tests/models/test_parity.py",
        "tests/models/test_minilm.py",
        "tests/models/test_jina_bert.py",
        "tests/models/test_static.py",
        "tests/backends/test_backends.py",
        "tests/api/test_quantized.py",
    ),
    (
        "tests/models/test_tokenizer.py",
        "tests/backends/test_convert.py",
        "tests/optimizing/test_optimize.py",
        "tests/serving/test_inspecting.py",
        "tests/serving/test_published.py",
        "tests/serving/test_tasks.py",
        "tests/api/test_rerank_end_to_end.py",
        "tests/test_service.py",
    ),
)
# Each test has its own checkout and shares nothing: it may go to any worker.
APART = ("tests/scripts/test_manage_native.py", "tests/scripts/test_manage_life.py")
WAITING = (
    "tests/api/test_robustness.py",
    "tests/engine/test_engine.py",
    "tests/serving/test_housekeeping.py",
    "tests/vectordb/test_waiting.py",
    "tests/web/test_event_loop.py",
)
LIGHT = ("tests/agents/", "tests/machine/", "tests/web/", "tests/test_architecture.py", "tests/test_sources.py")
LONG = (
    *(place for places in TOGETHER for place in places),
    *APART,
    "tests/scripts/",
    "tests/test_no_telemetry.py",
    "tests/test_interrupt.py",
    "tests/test_mcp.py",
    "tests/test_mcp_tools.py",
    "tests/test_service_end_to_end.py",
    "tests/models/",
    "tests/bench/",
    "tests/serving/",
    "tests/vectordb/",
)


def workers() -> int:
    """Two more than there are cores, as half of the time is waiting for other processes; one more in CI, whose slow
    tests start servers, containers and Ray and have deadlines for them; four where more would not have the memory (a
    worker with the real models has about 1.5 GB)."""
    return min(4, (os.cpu_count() or 1) + (1 if os.environ.get("CI") else 2))


def scope_of(nodeid: str) -> str:
    """What must run on one worker, one after the other, has one scope."""
    for places in TOGETHER:
        if nodeid.startswith(places):
            return places[0]
    if nodeid.startswith(WAITING):
        return "waiting"
    return nodeid if nodeid.startswith(APART) else nodeid.split("::", 1)[0]


def rank(nodeid: str) -> int:
    """A key to sort by: what is long has a low one, what measures waiting a high one, what is light the highest."""
    if nodeid.startswith(WAITING):
        return len(LONG) + 1
    if nodeid.startswith(LIGHT):
        return len(LONG) + 2
    return next((place for place, start in enumerate(LONG) if nodeid.startswith(start)), len(LONG))


def scheduler(config: Any, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # not needed where tests run in one process

    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # as collected, which is by `rank`
    return ByScope(config, log)
