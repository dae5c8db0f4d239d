"""Judging, and the command that quantises: the bounds are kept, what was skipped is recorded."""

import subprocess
import sys

import numpy as np
import pytest

from embedserve.backends import artefacts
from embedserve.errors import MissingExtra
from embedserve.optimizing import corpus, judge
from embedserve.optimizing.judge import Quality, Verdict


def verdict(loss=0.0, cosine=0.999):
    return Verdict(Quality(0.5, 0.8), Quality(0.5 - loss, 0.8), cosine, 0.9, 1000)


def test_a_model_within_the_bounds_has_no_faults():
    assert verdict(loss=0.0049, cosine=0.991).faults == []
    assert verdict(loss=-0.1).faults == []


@pytest.mark.parametrize(
    "bad", [verdict(loss=0.006), verdict(cosine=0.98), verdict(loss=np.nan), verdict(cosine=np.nan)]
)
def test_each_broken_bound_is_a_fault_and_so_is_nan(bad):
    assert len(bad.faults) == 1


def test_ranks_count_ties_against_the_model():
    queries = np.eye(3, dtype=np.float32)
    assert judge.ranks_of(queries, queries).tolist() == [1, 1, 1]
    assert judge.ranks_of(queries, np.ones((3, 3), np.float32)).tolist() == [3, 3, 3]


def test_calibration_and_judging_share_no_function():
    judged = {pair.document for pair in corpus.judging_pairs(10_000)}
    assert len(judged) > 1000
    assert judged.isdisjoint(corpus.calibration_texts(None, 400))


def test_a_folder_to_calibrate_on_may_hold_anything(tmp_path):
    (tmp_path / "a.rs").write_text("fn main() {}\n" * 40)
    (tmp_path / "b.bin").write_bytes(b"\0\xff" * 500)
    (tmp_path / "c.txt").write_bytes("кириллица".encode("cp1251"))
    texts = corpus.calibration_texts(tmp_path, 10)
    assert texts
    assert all("main" in t for t in texts)


def test_without_nncf_the_extra_is_named(tiny_jina, tmp_path, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from rich.console import Console

    from embedserve.optimizing import optimize

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(optimize, "version", missing)
    with pytest.raises(MissingExtra, match=r"embedserve\[optimize\]"):
        optimize.optimize(
            tiny_jina, tmp_path, calibrate=None, texts=1, pairs=0, threads=1, console=Console(stderr=True)
        )


@pytest.mark.slow
def test_optimize_installs_a_judged_model_and_refuses_a_worse_one(minilm, home, monkeypatch):
    command = [
        sys.executable,
        "-m",
        "embedserve.cli",
        "optimize",
        "all-MiniLM-L6-v2",
        "--texts",
        "100",
        "--pairs",
        "600",
    ]
    import os

    environment = {**os.environ, "EMBEDDING_HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    found = artefacts.find(minilm, "int8", home)
    if done.returncode == 0:
        assert found.notes["guard"] == "passed"
        assert found.notes["cosine_mean"] > 0.99
    else:  # few texts and pairs: the guard may refuse, and then nothing is installed
        assert "not installed" in done.stderr
        assert found is None
