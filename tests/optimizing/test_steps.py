"""Progress off a terminal: lines that say how far, and no more of them than a log bears."""

import io

from rich.console import Console

from embedserve.optimizing import steps
from embedserve.optimizing.steps import shown_on


def said(monkeypatch, seconds_each):
    now = [0.0]
    monkeypatch.setattr(steps.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    with shown_on(Console(file=out, width=40)) as bar:
        task = bar.add_task("calibrate", total=100)
        for _ in range(100):
            now[0] += seconds_each
            bar.advance(task)
    return out.getvalue().splitlines()


def test_a_slow_step_says_how_far_it_is_and_how_long_it_will_take(monkeypatch):
    lines = said(monkeypatch, 1.0)
    assert lines[0] == "calibrate ..."
    assert lines[1] == "calibrate: 5 of 100 after 5 s, about 95 s left"
    assert lines[-1] == "calibrate: 100 of 100 after 100 s"
    assert len(lines) == 21


def test_a_quick_step_is_two_lines(monkeypatch):
    assert said(monkeypatch, 0.01) == ["calibrate ...", "calibrate: 100 of 100 after 1 s"]
