"""Judging, and the command that quantises: the bounds are kept, what was skipped is recorded."""

import io
import subprocess
import sys

import numpy as np
import openvino
import pytest

from embedserve.backends import artefacts
from embedserve.errors import ArtefactError, MissingExtra
from embedserve.optimizing import corpus, judge, judge_scores
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


def test_scores_that_order_as_before_pass_and_others_are_faults():
    was = np.random.default_rng(0).normal(size=(1000, 1)).astype(np.float32)
    assert judge_scores.compare(was, was).faults == []
    assert judge_scores.compare(was, was * 0.5 + 1).faults == []  # the same order, and scores that go together
    noisy = judge_scores.compare(was, was + np.random.default_rng(1).normal(size=was.shape))
    assert "correlation" in noisy.faults[-1]
    assert judge_scores.compare(was, np.full_like(was, np.nan)).faults
    own_last = was.copy()
    own_last[:: judge_scores.CANDIDATES] = -9
    assert any("MRR" in fault for fault in judge_scores.compare(was, own_last).faults)


@pytest.fixture
def cross_encoder_source(tmp_path):
    from embedserve.models.sources import resolve
    from support.tiny_models import cross_encoder

    cross_encoder("bert", tmp_path, typed=True)
    return resolve(str(tmp_path / "ce"), home=tmp_path)


def test_a_cross_encoder_is_calibrated_and_judged_on_pairs(cross_encoder_source):
    from embedserve.models.tokenizer import SECOND, load_tokenizer

    tokenizer = load_tokenizer(cross_encoder_source)
    for ids in judge_scores.calibration_ids(tokenizer, ["a", "import os", "def f(): pass"], 64):
        assert (ids & SECOND).any()
    assert len(judge_scores.calibration_ids(tokenizer, ["import os"], 64)) == 1
    pairs = corpus.judging_pairs(40)
    rows = judge_scores.judging_ids(tokenizer, pairs, 64)
    assert len(rows) == 40
    own = tokenizer.pair(pairs[1].query, [pairs[1].document], 64)[0].ids
    np.testing.assert_array_equal(rows[judge_scores.CANDIDATES], own)


@pytest.mark.parametrize(("dot_products", "said"), [(False, True), (True, False)])
def test_before_the_minutes_of_work_a_cpu_without_dot_products_is_told_what_int8_is_worth(
    dot_products, said, tiny_jina, tmp_path, monkeypatch
):
    from rich.console import Console

    from embedserve.machine import cpu
    from embedserve.optimizing.optimize import optimize

    monkeypatch.setattr(cpu, "features", lambda: cpu.CpuFeatures("an old CPU", False, dot_products, ()))
    (tmp_path / "no code").mkdir()
    console = Console(file=io.StringIO(), width=500)
    with pytest.raises(ArtefactError, match="no text to calibrate on"):
        optimize(tiny_jina, tmp_path, calibrate=tmp_path / "no code", texts=9, pairs=0, threads=1, console=console)
    assert ("an old CPU has no int8 dot products" in console.file.getvalue()) == said


@pytest.mark.slow
def test_an_int8_cross_encoder_is_judged_by_its_scores(cross_encoder_source, tmp_path, monkeypatch):
    """Embedded text by text, as models of embeddings are judged, its one number would pass whatever became of it."""
    from rich.console import Console

    from embedserve.optimizing.optimize import optimize

    monkeypatch.setattr(judge_scores, "MOST_MRR_LOSS", 1)  # of random weights, which lose more than trained ones
    options = {"calibrate": None, "texts": 100, "pairs": 200, "threads": 1, "console": Console(stderr=True)}
    notes = optimize(cross_encoder_source, tmp_path, **options).notes
    assert notes["guard"] == "passed"
    assert notes["queries"] == 20
    assert 0.99 < notes["score_correlation"] < 1  # int8 did something, and little


def tables_in_int8(model):
    """Names of look-ups in tables of int8: OpenVINO would hold each table in float32."""
    found = []
    for operation in openvino.Core().read_model(model).get_ops():
        if operation.get_type_name() == "Gather":
            source = operation.input(0).get_source_output().get_node()
            while source.get_type_name() in ("Convert", "Multiply", "Subtract"):
                source = source.input(0).get_source_output().get_node()
            if source.get_type_name() == "Constant" and source.get_element_type() in (
                openvino.Type.i8,
                openvino.Type.u8,
            ):
                found.append(operation.get_friendly_name())
    return found


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
        assert tables_in_int8(found.model) == []
    else:  # few texts and pairs: the guard may refuse, and then nothing is installed
        assert "not installed" in done.stderr
        assert found is None
