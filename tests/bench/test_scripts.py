"""The long-running scripts, run short against a real server process with the fake backend."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path / "home"))


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / name), "--model", "fake", "--precision", "auto", *arguments],
        env={**os.environ, "EMBEDDING_BACKEND": "fake", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_soak_writes_a_line_a_second_and_a_picture(tmp_path: Path) -> None:
    done = run("soak.py", "--seconds", "6", "--out", str(tmp_path))
    assert "growth" in done.stdout, done.stderr
    (wrong,) = [line for line in done.stdout.splitlines() if "wrong answers" in line]
    assert "ok" in wrong
    rows = list(csv.DictReader((tmp_path / "soak.csv").open()))
    assert list(rows[0]) == ["seconds", "rss_mb", "threads", "texts"]
    assert 4 <= len(rows) <= 7
    assert float(rows[-1]["rss_mb"]) > 10
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_growth_compares_medians_so_that_one_peak_does_not_count() -> None:
    rows = [(float(at), 100.0, 1, 0) for at in range(100)]
    rows[60] = (60.0, 900.0, 1, 0)
    rows[95] = (95.0, 900.0, 1, 0)
    assert script("soak").growth(rows, after=60) == (100, 100)


def test_growth_sees_a_slow_leak() -> None:
    start, end = script("soak").growth([(float(at), 100.0 + at, 1, 0) for at in range(200)], after=60)
    assert end / start - 1 == pytest.approx(294 / 160 - 1)


def test_stress_passes_on_a_server_that_keeps_its_promises() -> None:
    done = run("stress.py", "--seconds", "2", "--slow-seconds", "3")
    assert "slowest search meanwhile" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout


def test_stress_fails_and_says_what_broke() -> None:
    done = run("stress.py", "--seconds", "1", "--slow-seconds", "1", "--most-mb", "1")
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_cold_start_prints_each_start_and_keeps_its_bound() -> None:
    done = run("cold_start.py", "--times", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("starts, s:")
    assert run("cold_start.py", "--times", "2", "--bound", "0.01").returncode == 1


def test_a_terminated_run_leaves_no_server_behind(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "soak.py"), "--model", "fake", "--out", str(tmp_path)]
    running = subprocess.Popen(command, env={**os.environ, "EMBEDDING_BACKEND": "fake"}, stderr=subprocess.DEVNULL)
    children: list[psutil.Process] = []
    while not children:
        children = psutil.Process(running.pid).children()
        time.sleep(0.05)
    time.sleep(0.5)
    running.terminate()
    assert running.wait(60) == 143
    assert not psutil.wait_procs(children, timeout=10)[1]
