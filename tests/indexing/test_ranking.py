"""Fusion and the rules of ranking, each alone."""

import pytest

from embedserve.indexing import ranking
from embedserve.indexing.fusion import bm25_ranking, reciprocal_ranks
from embedserve.indexing.ranking import Candidate, rank
from embedserve.indexing.tokens import query_words, words


def order(question, *candidates):
    return [item.at for item in rank(question, candidates)]


def test_an_identifier_gives_its_parts_and_itself():
    assert words("getHTTPUser_name2") == ["get", "http", "user", "nam", "2", "gethttpusername2"]
    assert words("größeBerechnen") == ["größe", "berechnen", "größeberechnen"]


def test_endings_meet_and_stop_words_go():
    assert words("routes routing routed") == ["rout"] * 3
    assert query_words("how is the route found") == ["rout", "found"]
    assert query_words("the") == ["the"]


def test_reciprocal_ranks_prefer_what_both_rankings_hold():
    score = reciprocal_ranks([[0, 1], [2, 1]], [0.5, 0.5], 3)
    assert score[1] > score[0] == score[2]


def test_a_ranking_weighs_as_much_as_it_is_given():
    score = reciprocal_ranks([[0, 1], [1, 0]], [0.7, 0.3], 2)
    assert score[0] > score[1]


def test_bm25_prefers_the_rare_word_and_leaves_out_who_has_none():
    documents = [["common", "x"], ["common", "rare"], ["common", "y"], ["z"]]
    assert bm25_ranking(["common", "rare"], documents)[0] == 1
    assert 3 not in bm25_ranking(["common", "rare"], documents)
    assert bm25_ranking(["a"], []) == []


def test_words_lift_a_chunk_that_the_cosine_put_lower():
    assert (
        order("parse cookie", Candidate("a.py", "python", "unrelated"), Candidate("b.py", "python", "parse cookie"))[0]
        == 1
    )


def test_the_definition_of_the_identifier_comes_before_its_uses():
    use = Candidate("a.py", "python", "load_config()")
    definition = Candidate("b.py", "python", "def load_config(): ...", ("load_config",))
    assert order("load_config", use, definition) == [1, 0]
    assert ranking.definition_bonus("load_config", ["load_config"]) == ranking.DEFINES_QUESTION
    assert ranking.definition_bonus("where does load_config read", ["load_config"]) == ranking.DEFINES_WORD
    assert ranking.definition_bonus("where is the config", ["config"]) == 0


def test_a_files_chunks_vote_for_its_best_one():
    assert ranking.file_votes(["a", "a", "b"], [2, 1, 1]) == pytest.approx([ranking.VOTES, 0, ranking.VOTES / 3])


def test_a_file_named_in_the_question_gains_and_a_barrel_takes_its_folders_name():
    asked = query_words("session cookies")
    assert ranking.name_bonus(asked, "src/sessions.py") > ranking.name_bonus(asked, "src/other.py") == 0
    assert ranking.name_bonus(asked, "src/session/__init__.py") > ranking.QUESTION_IN_NAME / 2


@pytest.mark.parametrize(
    ("path", "language", "factor"),
    [
        ("src/app.py", "python", 1),
        ("tests/test_app.py", "python", ranking.TEST),
        ("test/app.bash", "bash", 1),
        ("lib/test_runner.c", "c", 1),
        ("examples/app.py", "python", ranking.ASIDE),
        ("README.md", "markdown", ranking.PROSE),
        ("src/__init__.py", "python", ranking.BARREL),
    ],
)
def test_kinds_of_files(path, language, factor):
    assert ranking.file_factor("how are requests sent", path, language) == factor


def test_a_question_about_tests_does_not_lose_them():
    assert ranking.file_factor("test of the client", "tests/test_client.py", "python") == 1


def test_further_chunks_of_a_file_give_way_and_repetitions_go():
    same = [Candidate("a.py", "python", f"text {n}") for n in range(3)]
    other = Candidate("b.py", "python", "text 9")
    found = order("meaning", *same, other)
    assert found.index(3) == 1
    assert order("meaning", same[0], Candidate("c.py", "python", "text   0")) == [0]


def test_why_says_what_moved_a_hit():
    (item,) = rank("load", [Candidate("tests/test_load.py", "python", "def load(): ...", ("load",))])
    assert [reason.split()[0] for reason in item.why] == ["name", "defines", "votes", "file"]
    assert rank("anything", []) == []
