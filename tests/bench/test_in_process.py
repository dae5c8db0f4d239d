"""`embedserve bench --in-process`: one at a time, batches of 10, batches of 50, interleaved, in texts/s."""

from __future__ import annotations

import json

import pytest

from embedserve.bench import in_process
from embedserve.cli import main


def test_each_round_has_a_turn_of_every_subject_at_every_size_with_the_same_texts():
    seen: list[tuple[str, list[str]]] = []
    subjects = [in_process.Subject(name, lambda texts, name=name: seen.append((name, texts))) for name in "ab"]
    in_process.run(subjects, rounds=2, seconds=0)
    sizes = [(name, len(texts)) for name, texts in seen[2:]]  # after each one's first call
    turns = [(name, size) for size in in_process.SIZES for name in "ab"] * 2
    assert sizes == [turn for turn in turns for _ in range(3)]
    for name in "ab":
        assert all(len(subjects["ab".index(name)].rates[size]) == 2 for size in in_process.SIZES)
    assert [texts for name, texts in seen if name == "a"] == [texts for name, texts in seen if name == "b"]


def test_the_rate_is_texts_over_the_turns_seconds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(in_process.time, "perf_counter", lambda: now[0])

    def embed(texts):
        now[0] += 0.5

    subject = in_process.Subject("half a second a call", embed)
    in_process.run([subject], rounds=1, seconds=2)
    assert {size: rates[0] for size, rates in subject.rates.items()} == {1: 2.0, 10: 20.0, 50: 100.0}
    found = in_process.as_dict([subject], "m", 1)["subjects"][0]["sizes"]["50"]
    assert found == {"texts_per_second": 100.0, "slowest": 100.0, "fastest": 100.0, "call_p50": 0.5}


@pytest.mark.slow
def test_the_real_minilm_is_measured_without_a_server(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path))
    assert main(["bench", "--in-process", "--json", "--rounds", "1", "--seconds", "0", "--precision", "fp32"]) == 0
    report = json.loads(capsys.readouterr().out)
    (subject,) = report["subjects"]
    assert (report["model"], subject["name"]) == ("all-MiniLM-L6-v2", "fp32 on cpu")
    assert set(subject["sizes"]) == {"1", "10", "50"}
    assert all(figures["texts_per_second"] > 0 for figures in subject["sizes"].values())


@pytest.mark.parametrize("more", [["http://127.0.0.1:1"], ["--naive"], ["--against", "st"]])
def test_what_needs_a_server_is_refused_with_it(more, capsys):
    assert main(["bench", "--in-process", *more]) == 2
    assert "no URL, --naive, --against or --plot" in capsys.readouterr().err
