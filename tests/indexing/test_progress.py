"""What a person sees off a terminal: lines with the file, the rate and the time left."""

from __future__ import annotations

import re

import pytest

from embedserve.indexing import progress
from embedserve.indexing.progress import Display


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def test_off_a_terminal_a_line_every_five_seconds_names_files_rate_and_time_left(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Display() as display:
        display.start("embedding", files=10, size=1000)
        for second in range(1, 11):
            now[0] = 100.0 + second
            display.advance(1, size=50, name=f"src/f{second}.py", texts=7)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "embedding: 5/10 files, 35 texts (25%), 7 texts/s, 15 s left; src/f5.py",
        "embedding: 10/10 files, 70 texts (50%), 7 texts/s, 10 s left; src/f10.py",
    ]


def test_before_anything_is_done_no_time_is_promised(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Display() as display:
        display.start("reading", files=3)
        now[0] += 6.0
        display.advance(0, name="big.py")
    assert re.fullmatch(r"reading: 0/3 files \(0%\), 0 files/s; big.py\n", capsys.readouterr().err)


def test_quiet_shows_notes_only_and_each_once(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=True) as display:
        display.start("reading", files=3)
        now[0] += 60.0
        display.advance(3)
        for said in ("busy", "busy", "ready", "busy"):
            display.note(said)
    assert capsys.readouterr().err.splitlines() == ["busy", "ready", "busy"]
