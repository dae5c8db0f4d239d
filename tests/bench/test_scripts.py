"""The long-running scripts, run short against a real server process with the fake backend."""

from __future__ import annotations

import base64
import csv
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from embedserve.bench.client import Reply

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


@pytest.mark.slow
def test_the_soak_judges_a_hundred_clients_and_writes_its_report(tmp_path: Path) -> None:
    done = run("soak.py", "--seconds", "6", "--texts", "300", "--pool", "60", "--out", str(tmp_path))
    assert "growth" in done.stdout, done.stderr
    rows = list(csv.DictReader((tmp_path / "soak.csv").open()))
    assert list(rows[0]) == ["seconds", "rss_mb", "threads", "descriptors", "texts"]
    assert 4 <= len(rows) <= 19
    assert float(rows[-1]["rss_mb"]) > 10
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((tmp_path / "soak.json").read_text())
    kept = {check["check"]: check["kept"] for check in report["checks"]}
    assert kept["wrong answers"], report
    assert kept["texts answered rightly"], report
    assert kept["descriptors before, after"], report
    assert {"embed", "search", "abort", "large file"} <= report["acts"].keys()


def test_the_soak_knows_a_vector_of_another_text_and_one_that_is_not_quite_its_own() -> None:
    crowd = script("soak_crowd")
    pool = crowd.Pool(["a", "b", "c"], ["m"])
    pool.vectors["m"] = np.eye(3, dtype=np.float32)
    bent = np.array([0.99, 0.141, 0], np.float32)
    assert pool.faults(reply_of(pool.vectors["m"][[2, 0]]), [2, 0], "m") == ""
    assert "cosine 0.0000" in pool.faults(reply_of(pool.vectors["m"][[0, 2]]), [2, 0], "m")
    assert "cosine 0.99" in pool.faults(reply_of(bent[None]), [0], "m")
    assert "not an answer" in pool.faults(reply_of(bent[None]), [0, 1], "m")


def reply_of(vectors: np.ndarray) -> Reply:
    data = [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in vectors]
    return Reply(200, json.dumps({"data": data}).encode(), 0.0)


def test_growth_compares_medians_so_that_one_peak_does_not_count() -> None:
    soak = script("soak")
    rows = [soak.Sample(float(at), 100.0, 1, 1, 0) for at in range(100)]
    rows[60] = rows[60]._replace(rss_mb=900.0)
    rows[95] = rows[95]._replace(rss_mb=900.0)
    assert soak.growth(rows, after=60) == (100, 100)


def test_growth_sees_a_slow_leak() -> None:
    soak = script("soak")
    start, end = soak.growth([soak.Sample(float(at), 100.0 + at, 1, 1, 0) for at in range(200)], after=60)
    assert end / start - 1 == pytest.approx(294 / 160 - 1)


@pytest.mark.slow
def test_stress_passes_on_a_server_that_keeps_its_promises() -> None:
    done = run("stress.py", "--seconds", "2", "--slow-seconds", "3")
    assert "slowest search meanwhile" in done.stdout, done.stderr
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_stress_fails_and_says_what_broke() -> None:
    done = run("stress.py", "--seconds", "1", "--slow-seconds", "1", "--most-mb", "1")
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


@pytest.mark.slow
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
