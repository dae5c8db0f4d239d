"""Work in processes of its own gives the same results, whatever happens to the workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embedserve.indexing import cutters
from embedserve.indexing.cutters import in_parallel


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutters.os, "sched_getaffinity", lambda _: {0, 1}, raising=False)


def test_every_job_is_done_once_in_other_processes() -> None:
    jobs = [f"a/{number}" for number in range(500)]
    assert sorted(in_parallel(os.path.basename, jobs)) == sorted(map(os.path.basename, jobs))


def test_a_few_jobs_start_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutters.subprocess, "Popen", lambda *_, **__: pytest.fail("a process was started"))
    assert list(in_parallel(os.path.basename, ["a/b"])) == ["b"]


def test_what_dead_workers_leave_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    started = cutters._started

    def dying(work: object) -> object:
        process = started(work)  # type: ignore[arg-type]
        assert process
        process.kill()
        return process

    monkeypatch.setattr(cutters, "_started", dying)
    jobs = [f"a/{number}" for number in range(200)]
    assert sorted(in_parallel(os.path.basename, jobs)) == sorted(map(os.path.basename, jobs))


def test_without_processes_the_caller_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(cutters.subprocess, "Popen", refused)
    assert len(list(in_parallel(os.path.basename, ["a/b"] * 200))) == 200


def test_a_worker_ends_with_the_process_that_it_works_for(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\nfrom embedserve.indexing import cutters\n"
        "process = cutters._started(os.path.basename)\nprint(process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    worker = int(done.stdout)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{worker}/stat").read_text().split(") ")[1][0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")
