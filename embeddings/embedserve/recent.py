"""The last ten minutes in memory: a row of figures every two seconds, the latest errors with their reasons, who asks.

It is for the status page; Prometheus reads the counters themselves (observability.py), of which these rows are
differences. Bounded: 300 rows, 50 kinds of error, 50 clients, 20 jobs, the latencies of one row. It keeps no text of a
user.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from embedserve import observability as obs

STEP, WINDOW = 2.0, 600.0
_KINDS = 50
_LATENCIES = 10_000
_BULK, _PAUSE, _JOBS = 8, 60.0, 20  # least texts in a request of a job; seconds without one that end it; jobs kept


@dataclass(frozen=True)
class Row:
    """One step. Rates are a second; `p50` and `p95` (seconds) are None where no request ended; `at` is Unix time."""

    at: float
    texts: float
    tokens: float
    requests: float
    errors: float
    waiting: int
    active: int
    rss: int
    p50: float | None
    p95: float | None
    wait: float | None  # mean wait for a slot, seconds
    batch_texts: float | None  # mean texts in a micro-batch
    padding: float | None  # share of the computed tokens that was padding
    hits: float | None  # share of the texts that the cache answered


@dataclass
class Refusal:
    """One kind of error: the same path, status and reason count together."""

    at: float
    path: str
    status: int
    reason: str
    request_id: str
    count: int = 1


@dataclass
class Client:
    """Everything that called itself the same (User-Agent)."""

    name: str
    requests: int = 0
    seen: float = 0.0


@dataclass
class Job:
    """A client's run of requests with many texts each: it indexes a repository. Times are Unix times."""

    client: str
    began: float
    seen: float
    texts: int = 0


class Recent:
    """One process's memory of itself; `RECENT` below is the one."""

    def __init__(self) -> None:
        self.rows: deque[Row] = deque(maxlen=int(WINDOW / STEP))
        self._refusals: dict[tuple[str, int, str], Refusal] = {}
        self._clients: dict[str, Client] = {}
        self._jobs: deque[Job] = deque(maxlen=_JOBS)
        self._latencies: list[float] = []
        self._before: dict[str, float] = {}
        self._since = time.monotonic()  # of the row that is open

    def answered(self, client: str, seconds: float) -> None:
        """An embedding request ended well after this long."""
        if len(self._latencies) < _LATENCIES:
            self._latencies.append(seconds)
        name = _shown(client)
        known = self._clients.setdefault(name, Client(name))
        known.requests += 1
        known.seen = time.time()
        _bound(self._clients, lambda one: one.seen)

    def embedded(self, client: str, texts: int) -> None:
        """A request's texts were embedded; those of a large one belong to a job of the client's."""
        if texts < _BULK:
            return
        now, name = time.time(), _shown(client)
        job = next((one for one in self._jobs if one.client == name and now - one.seen < _PAUSE), None)
        if job is None:
            job = Job(name, now, now)
            self._jobs.appendleft(job)
        job.texts += texts
        job.seen = now

    def refused(self, path: str, status: int, reason: str, request_id: str) -> None:
        """A request was answered with an error; `reason` is what its body said."""
        key = (path[:200], status, reason[:500])
        known = self._refusals.get(key)
        if known is None:
            self._refusals[key] = Refusal(time.time(), *key, request_id)
            _bound(self._refusals, lambda one: one.at)
        else:
            known.count += 1
            known.at, known.request_id = time.time(), request_id

    def tick(self, *, waiting: int, active: int, rss: int) -> None:
        """Close a row, if its time has come."""
        now = time.monotonic()
        if now - self._since < STEP:
            return
        totals = obs.totals()
        self.rows.append(self._row(now - self._since, totals, waiting, active, rss))
        self._latencies.clear()
        self._before, self._since = totals, now

    def refusals(self) -> list[dict[str, Any]]:
        """The latest first."""
        return [asdict(one) for one in sorted(self._refusals.values(), key=lambda one: -one.at)]

    def clients(self) -> list[dict[str, Any]]:
        """Of the last ten minutes, the busiest first."""
        fresh = [one for one in self._clients.values() if time.time() - one.seen < WINDOW]
        return [asdict(one) for one in sorted(fresh, key=lambda one: -one.requests)]

    def jobs(self) -> list[dict[str, Any]]:
        """The latest first; `running` while its next request may come."""
        return [asdict(one) | {"running": time.time() - one.seen < _PAUSE} for one in self._jobs]

    def _row(self, seconds: float, totals: dict[str, float], waiting: int, active: int, rss: int) -> Row:
        def grown(name: str) -> float:
            return max(0.0, totals.get(name, 0.0) - self._before.get(name, 0.0))

        sorted_latencies = sorted(self._latencies)
        looked_up = grown("cache_hits") + grown("cache_misses")
        return Row(
            at=round(time.time(), 1),
            texts=round(grown("texts") / seconds, 2),
            tokens=round(grown("tokens") / seconds, 1),
            requests=round(grown("requests") / seconds, 2),
            errors=round(grown("errors") / seconds, 2),
            waiting=waiting,
            active=active,
            rss=rss,
            p50=_percentile(sorted_latencies, 0.50),
            p95=_percentile(sorted_latencies, 0.95),
            wait=_ratio(grown("queue_seconds"), grown("queue_count")),
            batch_texts=_ratio(grown("batch_texts"), grown("batches")),
            padding=_ratio(grown("padded_tokens") - grown("computed_tokens"), grown("padded_tokens")),
            hits=_ratio(grown("cache_hits"), looked_up),
        )


RECENT = Recent()


def _shown(client: str) -> str:
    return (client or "(no name)")[:80]


def _percentile(values: list[float], share: float) -> float | None:
    """Nearest rank."""
    return round(values[min(len(values) - 1, int(share * len(values)))], 4) if values else None


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None


def _bound(kept: dict[Any, Any], age: Any) -> None:
    if len(kept) > _KINDS:
        del kept[min(kept, key=lambda key: age(kept[key]))]
