"""What was measured, as a dictionary (the JSON), a table for a terminal and a picture.

Percentiles are nearest-rank: a value that was really seen. Rates are medians over the turns; `x` is the median of
the per-round ratios to the first server.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from embedserve.bench.runner import Plan, Subject
from embedserve.errors import MissingExtra

SCHEMA = 1
_MB = 1024 * 1024


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Nearest rank; None for no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def as_dict(subjects: Sequence[Subject], plan: Plan) -> dict[str, Any]:
    """The JSON. Seconds, bytes, texts/s; a figure that could not be taken is null."""
    return {
        "schema": SCHEMA,
        "machine": {
            "cpu": cpu_name(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "system": platform.platform(),
        },
        "load": {
            "parallel": plan.parallel,
            "texts_per_request": plan.texts,
            "rounds": plan.rounds,
            "least_seconds_per_turn": plan.seconds,
            "texts": "the same wave again and again" if plan.repeat else "unique",
            "duplicates": plan.duplicates,
        },
        "baseline": subjects[0].name,
        "servers": [_server(subject, subjects[0]) for subject in subjects],
    }


def _server(subject: Subject, baseline: Subject) -> dict[str, Any]:
    turns = subject.turns
    latencies = [value for turn in turns for value in turn.latencies]
    seconds = sum(turn.seconds for turn in turns)
    achieved = median(turn.operations / turn.seconds for turn in turns) if subject.shape and turns else None
    cpu = [turn.server_cpu for turn in turns if turn.server_cpu is not None]
    return {
        "name": subject.name,
        "url": subject.endpoint.url,
        "model": subject.model,
        "precision": subject.precision or None,
        "texts": sum(turn.texts for turn in turns),
        "texts_per_second": median(subject.rates()) if turns else None,
        "texts_per_second_each_turn": subject.rates(),
        "tokens_per_second": median(turn.tokens / turn.seconds for turn in turns) if turns else None,
        "ratio": subject.ratio(baseline),
        "cosine_mean": subject.cosine[0] if subject.cosine else None,
        "cosine_worst": subject.cosine[1] if subject.cosine else None,
        "gflops": achieved / 1e9 if achieved else None,
        "matmul_gflops": subject.rate / 1e9 if subject.rate else None,
        "matmul_share": achieved / subject.rate if achieved and subject.rate else None,
        "request_latency": _spread(latencies),
        "single_idle": _spread(subject.idle),
        "single_loaded": _spread(subject.loaded),
        "errors": dict(subject.errors),
        "server_cpu_seconds": sum(cpu) if cpu else None,
        "texts_per_server_cpu_second": sum(t.texts for t in turns) / sum(cpu) if sum(cpu) else None,
        "server_cores_used": sum(cpu) / seconds if cpu and seconds else None,
        "client_cores_used": sum(turn.client_cpu for turn in turns) / seconds if seconds else None,
        "peak_rss": subject.peak_rss,
        "final_rss": subject.final_rss,
        "cold_start": subject.cold_start,
    }


def _spread(values: Sequence[float]) -> dict[str, float | int | None]:
    return {"count": len(values), **{f"p{p}": percentile(values, p) for p in (50, 95, 99)}}


def table(report: dict[str, Any]) -> Table:
    """One column for each server, one row for each figure."""
    load, servers = report["load"], report["servers"]
    size = f"{load['parallel']} x {load['texts_per_request']} code texts ({load['texts']})"
    title = f"{size}, {load['rounds']} interleaved rounds, {report['machine']['cores']} cores"
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for server in servers:
        shown.add_column(server["name"], justify="right")

    def row(label: str, cells: list[str]) -> None:
        if any(cell != "–" for cell in cells):
            shown.add_row(label, *cells)

    row("texts/s", [_number(s["texts_per_second"]) for s in servers])
    row("  each round", [" ".join(_number(v) for v in s["texts_per_second_each_turn"]) for s in servers])
    row(f"× {report['baseline']}", [_number(s["ratio"], 2) for s in servers])
    row("tokens/s", [_number(s["tokens_per_second"]) for s in servers])
    row("share of matrix-product rate", [_percent(s["matmul_share"]) for s in servers])
    row("  GFLOP/s of", [_of(s["gflops"], s["matmul_gflops"]) for s in servers])
    for key, label in (
        ("request_latency", "request"),
        ("single_idle", "one text, idle"),
        ("single_loaded", "one text, under load"),
    ):
        row(f"{label} p50 / p95 / p99 ms", [_latency(s[key]) for s in servers])
    row("errors", [str(sum(s["errors"].values())) for s in servers])
    row("server CPU s (cores used)", [_of(s["server_cpu_seconds"], s["server_cores_used"]) for s in servers])
    row("texts per server CPU s", [_number(s["texts_per_server_cpu_second"]) for s in servers])
    row("load generator, cores used", [_number(s["client_cores_used"], 2) for s in servers])
    row("peak / final RSS MB", [_of(_mega(s["peak_rss"]), _mega(s["final_rss"]), digits=0) for s in servers])
    row("start to first embedding s", [_number(s["cold_start"], 2) for s in servers])
    row("cosine to the first, mean / worst", [_of(s["cosine_mean"], s["cosine_worst"], digits=5) for s in servers])
    return shown


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _of(first: float | None, second: float | None, digits: int = 1) -> str:
    return "–" if first is None else f"{_number(first, digits)} / {_number(second, digits)}"


def _mega(size: int | None) -> float | None:
    return None if size is None else size / _MB


def _latency(spread: dict[str, Any]) -> str:
    if not spread["count"]:
        return "–"
    return " / ".join(f"{spread[key] * 1000:.{1 if spread[key] < 0.1 else 0}f}" for key in ("p50", "p95", "p99"))


def plot(report: dict[str, Any], path: Path) -> None:
    """Throughput, request latency and memory side by side, as a PNG."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtra("--plot", "dev") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    servers = report["servers"]
    names = [server["name"] for server in servers]
    panels: list[tuple[str, list[float]]] = [
        ("texts/s", [s["texts_per_second"] or 0 for s in servers]),
        ("request p95, s", [s["request_latency"]["p95"] or 0 for s in servers]),
        ("one text under load p95, ms", [(s["single_loaded"]["p95"] or 0) * 1000 for s in servers]),
        ("peak RSS, MB", [(s["peak_rss"] or 0) / _MB for s in servers]),
    ]
    panels = [panel for panel in panels if any(panel[1])]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(3.6 * len(panels), 0.9 + 0.5 * len(names)), squeeze=False)
    for axis, (title, values) in zip(axes[0], panels, strict=True):
        bars = axis.barh(names, values, color=[f"C{i}" for i in range(len(names))])
        axis.bar_label(bars, fmt="%.0f" if max(values) >= 10 else "%.2f", padding=3)
        axis.set_title(title, fontsize=10)
        axis.set_xlim(0, max(values) * 1.25)
        axis.invert_yaxis()
        axis.spines[["top", "right"]].set_visible(False)
        if axis is not axes[0][0]:
            axis.set_yticklabels([])
    figure.tight_layout()
    figure.savefig(path, format="png", dpi=110)
    pyplot.close(figure)
