"""The engine without HTTP: texts/s one at a time, in batches of 10 and in batches of 50, as reports often give it.

Each round has one turn of every subject at every size, so that what else the machine does falls on all of them. The
texts of a turn are different from each other and the same for all subjects.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.table import Table

from embedserve.bench.report import cpu_name, percentile
from embedserve.bench.texts import code_texts

SIZES = (1, 10, 50)  # texts in one call
_LEAST_CALLS = 3  # in a turn, however long one takes


@dataclass
class Subject:
    """embed: takes a list of texts and returns when their vectors are there. rates: size -> texts/s of each turn."""

    name: str
    embed: Callable[[list[str]], Any]
    why: str = ""
    rates: dict[int, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})
    calls: dict[int, list[float]] = field(default_factory=lambda: {size: [] for size in SIZES})  # seconds of each


def run(subjects: Sequence[Subject], *, rounds: int, seconds: float, seed: int = 0) -> None:
    """Fill in the subjects' figures. seconds: least length of a turn (one call is finished)."""
    texts = code_texts(2_000, seed)
    for subject in subjects:
        subject.embed(texts[:1])
    at = 0
    for _ in range(rounds):
        for size in SIZES:
            for subject in subjects:
                _turn(subject, size, texts, at, seconds)
            at += 50


def _turn(subject: Subject, size: int, texts: Sequence[str], at: int, seconds: float) -> None:
    start, done = time.perf_counter(), 0
    while done < _LEAST_CALLS or time.perf_counter() - start < seconds:
        batch = [texts[(at + done * size + i) % len(texts)] for i in range(size)]
        began = time.perf_counter()
        subject.embed(batch)
        subject.calls[size].append(time.perf_counter() - began)
        done += 1
    subject.rates[size].append(done * size / (time.perf_counter() - start))


def as_dict(subjects: Sequence[Subject], model: str, rounds: int) -> dict[str, Any]:
    """Rates in texts/s, medians over the turns; the spread is the slowest and the fastest turn."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "schema": 1,
        "machine": {"cpu": cpu_name(), "cores": cores},
        "model": model,
        "rounds": rounds,
        "subjects": [
            {
                "name": subject.name,
                "why": subject.why,
                "sizes": {
                    str(size): {
                        "texts_per_second": median(rates),
                        "slowest": min(rates),
                        "fastest": max(rates),
                        "call_p50": percentile(subject.calls[size], 50),
                    }
                    for size, rates in subject.rates.items()
                },
            }
            for subject in subjects
        ],
    }


def table(result: dict[str, Any]) -> Table:
    """A row for each size, a column for each subject."""
    title = f"{result['model']} in this process, texts/s (median of {result['rounds']} turns, slowest to fastest)"
    shown = Table(title=title, title_justify="left")
    shown.add_column("")
    for subject in result["subjects"]:
        shown.add_column(subject["name"], justify="right")
    for size in SIZES:
        cells = []
        for subject in result["subjects"]:
            one = subject["sizes"][str(size)]
            cells.append(f"{one['texts_per_second']:.1f} ({one['slowest']:.1f} to {one['fastest']:.1f})")
        shown.add_row("one at a time" if size == 1 else f"batches of {size}", *cells)
    return shown
