"""What must not run at the same time is on one worker (tests/support/workers.py)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.workers import APART, LIGHT, LONG, WAITING, rank, scope_of, workers

TESTS = Path(__file__).parent


@pytest.mark.parametrize("place", sorted({*APART, *LIGHT, *LONG, *WAITING}))
def test_every_place_that_is_named_is_there(place):
    assert (TESTS.parent / place).exists()


def test_tests_of_one_file_of_docker_and_of_ray_stay_on_one_worker():
    assert scope_of("tests/api/test_rerank.py::test_a[x::y]") == scope_of("tests/api/test_rerank.py::test_b")
    assert scope_of("tests/docker/test_a.py::test_a") == scope_of("tests/docker/test_readme.py::test_b")
    assert scope_of("tests/docker/test_a.py::test_a") == scope_of("tests/test_docs.py::test_b")  # one checkout
    assert scope_of("tests/scaling/test_bulk.py::test_a") == scope_of("tests/scaling/test_ray_serve.py::test_b")
    assert scope_of("tests/docker/test_a.py::test_a") != scope_of("tests/scaling/test_bulk.py::test_a")


def test_long_files_come_before_the_rest():
    assert (
        rank("tests/docker/test_container.py::test_a") < rank("tests/scripts/test_a.py") < rank("tests/api/test_a.py")
    )


def test_tests_of_waiting_come_together_when_only_light_ones_are_left():
    assert {rank(name) for name in WAITING} == {1 + rank("tests/indexing/test_a.py")}
    assert {rank(name + "test_a.py") for name in LIGHT if name.endswith("/")} == {2 + rank("tests/indexing/test_a.py")}
    assert len({scope_of(name + "::test_a") for name in WAITING}) == 1


def test_there_are_few_workers_on_a_large_machine(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert workers() == 4


@pytest.mark.slow
def test_a_failure_on_a_worker_names_its_test(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_right():\n    pass\n\ndef test_wrong():\n    assert 1 == 2\n")
    command = [sys.executable, "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "-c", os.devnull, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "test_it.py::test_wrong - assert 1 == 2" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
