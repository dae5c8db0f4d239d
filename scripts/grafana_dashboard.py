"""Writes embeddings/grafana/embedserve.json, a Grafana dashboard of /metrics: `python scripts/grafana_dashboard.py`."""

import json
from pathlib import Path

PATH = Path(__file__).resolve().parents[1] / "embeddings" / "grafana" / "embedserve.json"
RATE = "[$__rate_interval]"


def quantile(name, share):
    return f"histogram_quantile({share}, sum by (le) (rate({name}_bucket{RATE})))"


def rate(name, by=""):
    return f"sum{' by (' + by + ')' if by else ''} (rate({name}{RATE}))"


def mean(name):
    return f"{rate(name + '_sum')} / {rate(name + '_count')}"


# title, unit, (query, legend)...
PANELS = [
    ("Texts a second", "short", (rate("embedserve_texts_total"), "embedded"),
     (rate("embedserve_dropped_texts_total"), "dropped: client left")),
    ("Requests a second", "short", (rate("embedserve_requests_total", "status"), "{{status}}")),
    ("Request time", "s", (quantile("embedserve_request_seconds", 0.5), "p50"),
     (quantile("embedserve_request_seconds", 0.95), "p95")),
    ("Wait for a slot", "s", (quantile("embedserve_queue_seconds", 0.5), "p50"),
     (quantile("embedserve_queue_seconds", 0.95), "p95")),
    ("Waiting and in work", "short", ("sum(embedserve_queue_waiting)", "waiting"),
     ("sum(embedserve_slots_active)", "in work")),
    ("Refused and failed", "short", (rate("embedserve_refused_total"), "429"),
     (rate("embedserve_inference_failures_total"), "inference failed"),
     (rate("embedserve_out_of_memory_total"), "split for memory")),
    ("Memory", "bytes", ("embedserve_rss_bytes", "resident {{instance}}"),
     ("embedserve_memory_limit_bytes", "limit {{instance}}")),
    ("Texts in a micro-batch", "short", (mean("embedserve_batch_texts"), "mean"),
     ("embedserve_batch_cap_texts", "cap {{instance}}")),
    ("Padding", "percentunit",
     (f"1 - {rate('embedserve_computed_tokens_total')} / {rate('embedserve_padded_tokens_total')}", "padded share")),
    ("Cache hits", "percentunit",
     (rate("embedserve_cache_hits_total") + " / (" + rate("embedserve_cache_hits_total") + " + "
      + rate("embedserve_cache_misses_total") + ")", "share")),
    ("Event loop and collector", "s", ("embedserve_event_loop_blocked_max_seconds", "longest block {{instance}}"),
     (mean("embedserve_gc_seconds"), "mean collection")),
    ("Models in memory", "short", ("embedserve_models_loaded", "{{instance}}")),
]  # fmt: skip


def panel(number, title, unit, *queries):
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"h": 8, "w": 8, "x": 8 * (number % 3), "y": 8 * (number // 3)},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(65 + index), "expr": query, "legendFormat": legend}
            for index, (query, legend) in enumerate(queries)
        ],
    }


def dashboard():
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "title": "embedserve",
        "uid": "embedserve",
        "schemaVersion": 39,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": [panel(number, *row) for number, row in enumerate(PANELS)],
    }


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(dashboard(), indent=1) + "\n")
