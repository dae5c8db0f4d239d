"""What the server does beside requests: gauges, the log line about waiting, clean-up when idle, memory diagnosis."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import tracemalloc

from embedserve import observability as obs
from embedserve.engine.worker import release
from embedserve.machine.memory import trim
from embedserve.recent import RECENT
from embedserve.serving.runtime import Runtime

log = logging.getLogger(__name__)

_TICK = 1.0
_REPORT_EVERY = 60.0
_IDLE = 60.0
_TRIM_EVERY = 15.0  # under load too: what was freed at a peak would otherwise stay
_SNAPSHOT_EVERY = 60.0


async def keep_house(runtime: Runtime) -> None:
    """Runs until cancelled."""
    last_report = cleaned = last_snapshot = last_trim = time.monotonic()
    snapshot = None
    if runtime.settings.tracemalloc:
        tracemalloc.start(8)
    while True:
        await asyncio.sleep(_TICK)
        now = time.monotonic()
        obs.RSS.set(runtime.rss)
        obs.BATCH_CAP.set(runtime.governor.cap)
        obs.QUEUE_WAITING.set(runtime.admission.waiting)
        obs.QUEUE_DEEPEST.set(runtime.admission.deepest)
        obs.QUEUE_LONGEST.set(runtime.admission.longest)
        obs.SLOTS_ACTIVE.set(runtime.admission.active)
        RECENT.tick(waiting=runtime.admission.waiting, active=runtime.admission.active, rss=runtime.rss)
        if now - last_trim >= _TRIM_EVERY:
            last_trim = now
            await asyncio.to_thread(trim)
        await _tidy(runtime)
        if now - last_report >= _REPORT_EVERY:
            last_report = now
            _report(runtime)
        idle_since = max((m.engine.idle_since for m in runtime.models), default=now)
        if runtime.models and now - idle_since > _IDLE and cleaned < idle_since:
            cleaned = now
            await asyncio.to_thread(_clean_up, runtime)
        if runtime.settings.tracemalloc and now - last_snapshot >= _SNAPSHOT_EVERY:
            last_snapshot = now
            snapshot = await asyncio.to_thread(_log_growers, snapshot)


async def _tidy(runtime: Runtime) -> None:
    """Housekeeping outlives whatever unloading a model meets."""
    try:
        await runtime.residents.tidy()
    except Exception:
        log.exception("unloading failed")


def _report(runtime: Runtime) -> None:
    stats = runtime.admission.take_stats()
    if not stats.admitted and not stats.deepest:
        return
    log.info(
        "last minute: %d requests admitted, wait %.3f s average, %.3f s longest, queue at most %d deep; "
        "%d in work, %d waiting, %.0f MB resident, at most %d texts a batch",
        stats.admitted,
        stats.average,
        stats.longest,
        stats.deepest,
        runtime.admission.active,
        runtime.admission.waiting,
        runtime.rss / 1e6,
        runtime.governor.cap,
    )


def _clean_up(runtime: Runtime) -> None:
    before = runtime.rss
    gc.collect()
    for model in runtime.models:
        release(model.engine.backend)
    trim()
    log.info("idle: gave back memory, %.0f -> %.0f MB resident", before / 1e6, runtime.rss / 1e6)


def _log_growers(before: tracemalloc.Snapshot | None) -> tracemalloc.Snapshot:
    now = tracemalloc.take_snapshot()
    if before is not None:
        for line in now.compare_to(before, "lineno")[:10]:
            log.info("tracemalloc: %s", line)
    return now
