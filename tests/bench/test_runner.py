"""Load, interleaving and judging, against small servers inside the test."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from embedserve.bench.client import Endpoint, request_body, served_model
from embedserve.bench.load import Prober, Request, drive, judge
from embedserve.bench.report import as_dict, percentile
from embedserve.bench.runner import Plan, Subject, run
from embedserve.bench.shapes import SHAPES, Shape
from embedserve.errors import SetupError
from support.fake_openai import FakeOpenAI

NO_PROBES = Plan(parallel=2, texts=3, rounds=3, seconds=0, unique_waves=4, idle_probes=1, probe_seconds=0)
QUICK = replace(NO_PROBES, rounds=2, unique_waves=8, idle_probes=2, probe_seconds=0.2, probe_pause=0.02)


def subject(server: FakeOpenAI) -> Subject:
    return Subject(server.name, Endpoint(server.url), server.name)


def load(server: FakeOpenAI, waves: int, size: int = 2) -> list[list[Request]]:
    texts = [[f"text {wave} {n}" for n in range(size)] for wave in range(waves)]
    return [[Request(request_body(part, server.name), tuple(map(len, part)))] * 4 for part in texts]


def test_requests_have_the_clients_exact_shape() -> None:
    with FakeOpenAI() as server:
        run([subject(server)], QUICK)
    for body, headers in zip(server.bodies, server.headers, strict=True):
        assert set(body) == {"input", "model", "encoding_format"}
        assert body["encoding_format"] == "base64"
        assert body["model"] == "fake-model"
        assert isinstance(body["input"], list)
        assert headers["Authorization"] == "Bearer local"
    assert {len(body["input"]) for body in server.bodies} == {1, 3}


def test_turns_of_several_servers_are_interleaved_a_b_a_b() -> None:
    log: list[str] = []
    with FakeOpenAI("A", log=log) as a, FakeOpenAI("B", log=log) as b:
        run([subject(a), subject(b)], NO_PROBES)
    idle = 3 + 1
    turns = [name for name, _ in itertools.groupby(log[2 * idle :])]
    assert turns == ["A", "B", "A", "B", "A", "B"]


def test_servers_get_the_same_unique_texts_in_the_same_order() -> None:
    with FakeOpenAI("A") as a, FakeOpenAI("B") as b:
        run([subject(a), subject(b)], replace(NO_PROBES, parallel=1, rounds=2))
    sent = [[body["input"] for body in server.bodies if len(body["input"]) == 3] for server in (a, b)]
    assert sent[0] == sent[1]
    assert len({text for texts in sent[0] for text in texts}) == 6


def test_a_turn_keeps_exactly_so_many_requests_in_flight() -> None:
    with FakeOpenAI() as server:
        server.delay = 0.05
        turn = drive(Endpoint(server.url), iter(load(server, 3)), 4, 3, 0)
        judge(turn, None)
    assert server.most_in_flight == 4
    assert len(server.bodies) == 12
    assert turn.texts == 24
    assert turn.tokens == 240
    assert turn.seconds >= 3 * 0.05


def test_a_turn_lasts_at_least_as_long_as_asked_and_ends_on_a_waves_border() -> None:
    with FakeOpenAI() as server:
        server.delay = 0.01
        turn = drive(Endpoint(server.url), itertools.cycle(load(server, 2)), 2, 1, 0.3)
    assert turn.seconds >= 0.3
    assert len(server.bodies) % 4 == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((503, {"error": {"message": "not ready"}}), "503 not ready"),
        ((200, {"data": []}), "wrong answer: 2 texts were sent, 0 vectors"),
        ((200, {"data": [{"embedding": [float("nan")]}] * 2}), "wrong answer: the answer holds NaN"),
        ((200, {"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}), "of different lengths"),
        ((200, []), "wrong answer"),
    ],
)
def test_wrong_answers_are_errors_and_not_counted_as_texts(answer: Any, said: str) -> None:
    with FakeOpenAI() as server:
        server.fail = lambda number: answer if number == 1 else None
        turn = drive(Endpoint(server.url), iter(load(server, 1)), 1, 1, 0)
        judge(turn, None)
    assert turn.texts == 6
    assert sum(turn.errors.values()) == 1
    assert said in next(iter(turn.errors))


def test_a_server_that_dies_is_errors_not_a_hang() -> None:
    with FakeOpenAI() as server:
        waves = load(server, 1)
    turn = drive(Endpoint(server.url), iter(waves), 2, 1, 0)
    judge(turn, None)
    assert sum(turn.errors.values()) == 4
    assert "no answer: ConnectionRefusedError" in next(iter(turn.errors))


def test_ratios_are_medians_of_the_rounds_and_throughput_ignores_the_probes() -> None:
    with FakeOpenAI("slow") as slow, FakeOpenAI("fast") as fast:
        slow.delay, fast.delay = 0.15, 0.03  # long beside what a busy machine adds
        subjects = [subject(slow), subject(fast)]
        run(subjects, QUICK)
    report = as_dict(subjects, QUICK)
    first, second = report["servers"]
    assert first["ratio"] == 1
    assert 2 < second["ratio"] < 6
    assert second["texts"] == QUICK.rounds * 6
    assert second["single_loaded"]["count"] > 0
    assert first["errors"] == second["errors"] == {}
    assert second["cosine_mean"] == pytest.approx(1)


@pytest.mark.slow
def test_another_models_vectors_show_in_the_cosine() -> None:
    class Other(FakeOpenAI):
        def answer(self, texts: list[str]) -> dict[str, Any]:
            answer = super().answer(texts)
            for item in answer["data"]:
                item["embedding"] = [0.0, 0.0, 1.0, 0.0]
            return answer

    with FakeOpenAI("A") as a, Other("B") as b:
        subjects = [subject(a), subject(b)]
        run(subjects, QUICK)
    assert subjects[1].cosine == (0, 0)


def test_probing_stops_with_the_load_and_keeps_each_latency() -> None:
    with FakeOpenAI() as server:
        server.delay = 0.02
        bodies = [request_body([f"x{n}"], "m") for n in range(1_000)]
        with Prober(Endpoint(server.url), bodies) as prober:
            drive(Endpoint(server.url), iter(load(server, 2)), 2, 2, 0)
    assert 1 < len(prober.latencies) < 100
    assert min(prober.latencies) >= 0.02


def test_percentiles_are_nearest_rank() -> None:
    values = list(range(1, 101))
    assert [percentile(values, p) for p in (50, 95, 99, 100)] == [50, 95, 99, 100]
    assert percentile([3.0], 99) == 3
    assert percentile([4, 1, 3, 2], 50) == 2
    assert percentile([], 50) is None


def test_operations_of_the_two_models_are_those_of_their_shapes() -> None:
    jina, mini = SHAPES["jina-code-v2"], SHAPES["all-MiniLM-L6-v2"]
    assert jina.per_token == 226_492_416
    assert jina.per_token_and_length == 36_864
    assert mini.per_token == 21_233_664
    assert jina.operations(100, [400]) == 100 * 226_492_416 + 36_864 * 100**2
    assert jina.operations(100, [200, 200]) == 100 * 226_492_416 + 36_864 * 2 * 50**2


def test_a_cut_text_does_no_more_attention_than_the_limit() -> None:
    shape = Shape(layers=1, width=1, inner=1, gated=False, max_tokens=10)
    assert shape.operations(10, [1_000]) == shape.per_token * 10 + shape.per_token_and_length * 10**2


def test_a_server_that_is_not_up_is_named() -> None:
    with pytest.raises(SetupError, match=r"no server at http://127\.0\.0\.1:1/v1"):
        served_model(Endpoint("http://127.0.0.1:1/v1"), None)


def test_a_refused_key_says_where_to_give_it() -> None:
    with FakeOpenAI(key="secret") as server:
        with pytest.raises(SetupError, match="--api-key"):
            served_model(Endpoint(server.url), None)
        assert served_model(Endpoint(server.url, "secret"), None)["id"] == "fake-model"


def test_a_model_that_is_not_served_is_the_servers_own_error() -> None:
    with FakeOpenAI() as server:
        server.fail = lambda number: (404, {"error": {"message": "model 'x' is not served; served: fake-model"}})
        with pytest.raises(SetupError, match="model 'x' is not served"):
            run([Subject("s", Endpoint(server.url), "x")], QUICK)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/v1", "http://h:1/v1/", "http://h:1/v1/embeddings"])
def test_a_base_url_may_be_written_in_each_way_users_write_it(url: str) -> None:
    assert Endpoint(url).base == "/v1"
