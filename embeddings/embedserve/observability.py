"""Every metric, the log's set-up, and the request id. No text of a user's is ever logged or labelled."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Summary, generate_latest

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="-")

REQUESTS = Counter("embedserve_requests_total", "Answered HTTP requests", ["path", "status"])
REQUEST_SECONDS = Histogram(
    "embedserve_request_seconds",
    "Time from the request's headers to the answer's",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
TEXTS = Counter("embedserve_texts_total", "Texts embedded")
TOKENS = Counter("embedserve_tokens_total", "Tokens the model saw, special tokens included")
TRUNCATED = Counter("embedserve_truncated_texts_total", "Texts cut at the model's limit")
DROPPED = Counter("embedserve_dropped_texts_total", "Texts not computed because their client had gone")
DISCONNECTS = Counter("embedserve_disconnects_total", "Clients that left before their answer")

QUEUE_WAITING = Gauge("embedserve_queue_waiting", "Requests waiting for a slot")
QUEUE_DEEPEST = Gauge("embedserve_queue_deepest", "Most requests that ever waited at once")
SLOTS_ACTIVE = Gauge("embedserve_slots_active", "Requests in work")
QUEUE_SECONDS = Histogram(
    "embedserve_queue_seconds",
    "Wait for a slot",
    buckets=(0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 280),
)
QUEUE_LONGEST = Gauge("embedserve_queue_longest_seconds", "Longest wait for a slot so far")
REFUSED = Counter("embedserve_refused_total", "Requests answered 429")
LOOP_BLOCKED = Gauge(
    "embedserve_event_loop_blocked_max_seconds",
    "Longest time that the event loop was blocked while requests were in flight, since the models were loaded",
)
GC_SECONDS = Summary("embedserve_gc_seconds", "The collection after each embedding request")

BATCHES = Counter("embedserve_batches_total", "Micro-batches computed")
BATCH_TEXTS = Histogram("embedserve_batch_texts", "Texts in a micro-batch", buckets=(1, 2, 4, 8, 16, 32, 64))
BATCH_SECONDS = Histogram(
    "embedserve_batch_seconds",
    "Inference time of a micro-batch",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
PADDED_TOKENS = Counter("embedserve_padded_tokens_total", "Tokens computed, padding included")
COMPUTED_TOKENS = Counter("embedserve_computed_tokens_total", "Real tokens computed (cache hits are not)")
INFERENCE_FAILURES = Counter("embedserve_inference_failures_total", "Micro-batches that failed")
OUT_OF_MEMORY = Counter("embedserve_out_of_memory_total", "Micro-batches split for want of memory")

CACHE_HITS = Counter("embedserve_cache_hits_total", "Texts answered from the cache", ["layer"])
CACHE_MISSES = Counter("embedserve_cache_misses_total", "Texts not in the cache")

RSS = Gauge("embedserve_rss_bytes", "Resident memory")
MEMORY_LIMIT = Gauge("embedserve_memory_limit_bytes", "Memory this process may use")
MODELS_LOADED = Gauge("embedserve_models_loaded", "Models in memory")
MODEL_LOADS = Counter("embedserve_model_loads_total", "Models brought into memory", ["model"])
MODEL_UNLOADS = Counter("embedserve_model_unloads_total", "Models taken out of memory", ["model"])
BATCH_CAP = Gauge("embedserve_batch_cap_texts", "Present cap on texts in a micro-batch")


def observe_batch(lengths: Sequence[int], computed: int, seconds: float) -> None:
    """One micro-batch of texts with these lengths in tokens, `computed` of them with the padding."""
    BATCHES.inc()
    BATCH_TEXTS.observe(len(lengths))
    BATCH_SECONDS.observe(seconds)
    COMPUTED_TOKENS.inc(sum(lengths))
    PADDED_TOKENS.inc(computed)


def totals() -> dict[str, float]:
    """Sums since the start, by short names: what the status page's rows are differences of."""
    found: dict[str, float] = {"errors": 0.0}
    for name, metric in _TOTALS.items():
        samples = [s for family in metric.collect() for s in family.samples if s.name.endswith(("_total", "_sum"))]
        found[name] = sum(s.value for s in samples)
        if name == "requests":
            found["errors"] = sum(s.value for s in samples if s.labels["status"] >= "400")
    found["queue_count"] = sum(
        s.value for family in QUEUE_SECONDS.collect() for s in family.samples if s.name.endswith("_count")
    )
    return found


_TOTALS = {
    "requests": REQUESTS,
    "texts": TEXTS,
    "tokens": TOKENS,
    "truncated": TRUNCATED,
    "dropped": DROPPED,
    "refused": REFUSED,
    "batches": BATCHES,
    "batch_texts": BATCH_TEXTS,
    "padded_tokens": PADDED_TOKENS,
    "computed_tokens": COMPUTED_TOKENS,
    "queue_seconds": QUEUE_SECONDS,
    "cache_hits": CACHE_HITS,
    "cache_misses": CACHE_MISSES,
    "out_of_memory": OUT_OF_MEMORY,
}


def metrics_text() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        if isinstance(record.args, tuple):
            record.args = tuple(_printable(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


class Lines(str):
    """Text of our own making, such as a traceback, that may take several lines of the log."""


def _printable(text: str) -> str:
    """Control characters and line ends escaped: what came from outside (a path, a model's name) forges no line."""
    if isinstance(text, Lines) or text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def event(logger: logging.Logger, name: str, **fields: str | int | float) -> None:
    """Log `name key=value ...` at level info; as JSON, each field is a key of the line's object."""
    shown = " ".join(f"{key}={v:.3f}" if isinstance(v, float) else f"{key}={v}" for key, v in fields.items())
    logger.info("%s %s", name, shown, extra={"event": name, "fields": fields})


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, so that nothing in a message can look like a second line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "request_id": getattr(record, "request_id", "-"),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (name := getattr(record, "event", None)) is not None:
            line |= {"event": name, **record.fields}  # type: ignore[attr-defined]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up_logging(level: str, style: str = "text") -> None:
    """Log lines to stderr: time, level, request id, message. style: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_RequestIdFilter())
    text = logging.Formatter("%(asctime)s %(levelname)-7s [%(request_id)s] %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(_JsonFormatter() if style == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("httpx", "httpcore", "uvicorn.access", "nncf", "filelock", "urllib3"):
        logging.getLogger(noisy).setLevel("WARNING")


def samples() -> Iterator[tuple[str, dict[str, str], float]]:
    """(name, labels, value) of every counter and gauge of ours, and of each histogram's count and sum."""
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.startswith("embedserve_") and not sample.name.endswith(("_bucket", "_created")):
                yield sample.name, dict(sample.labels), float(sample.value)
