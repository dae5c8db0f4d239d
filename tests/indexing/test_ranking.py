"""Fusion and the rules of ranking, each alone."""

import pytest

from embedserve.indexing import ranking
from embedserve.indexing.entry import Entry
from embedserve.indexing.fusion import bm25_ranking, reciprocal_ranks
from embedserve.indexing.passages import passages
from embedserve.indexing.question import asks_for_one
from embedserve.indexing.ranking import Ranked, rank
from embedserve.indexing.tokens import query_words, words


def order(question, *candidates):
    """As ranked by meaning in this order, and by words among themselves."""
    by_words = bm25_ranking(query_words(question), [words(candidate.text) for candidate in candidates])
    return [item.at for item in rank(question, candidates, range(len(candidates)), by_words)]


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
    assert order("parse cookie", Entry("a.py", "python", "unrelated"), Entry("b.py", "python", "parse cookie"))[0] == 1


def test_the_definition_of_the_identifier_comes_before_its_uses():
    use = Entry("a.py", "python", "load_config()")
    definition = Entry("b.py", "python", "def load_config(): ...", ("load_config",))
    assert order("load_config", use, definition) == [1, 0]
    assert ranking.definition_bonus("load_config", ["load_config"]) == ranking.DEFINES_QUESTION
    assert ranking.definition_bonus("where does load_config read", ["load_config"]) == ranking.DEFINES_WORD
    assert ranking.definition_bonus("where is the config", ["config"]) == 0


def test_a_files_chunks_vote_for_its_best_one():
    votes = ranking.file_votes(["a", "a", "b"], [2, 2, 1], {"a": 4, "b": 4})
    assert votes == pytest.approx([ranking.VOTES, 0, ranking.VOTES / 4])


def test_a_long_file_has_more_votes_by_chance():
    short, long = ranking.file_votes(["short", "long"], [1, 1], {"short": 4, "long": 100})
    assert (short, long) == pytest.approx((ranking.VOTES, ranking.VOTES / 5))
    assert ranking.file_votes(["a", *["b"] * 4], [1] * 5)[:2] == pytest.approx([ranking.VOTES / 2, ranking.VOTES])


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
    assert ranking.file_factor("how are requests sent", Entry(path, language, "")) == factor


def test_a_question_about_tests_does_not_lose_them():
    assert ranking.file_factor("test of the client", Entry("tests/test_client.py", "python", "")) == 1


@pytest.mark.parametrize(("kind", "factor"), [("function", 1), ("class", 1), ("block", ranking.BARREL)])
def test_a_function_in_a_barrel_file_is_as_good_as_anothers(kind, factor):
    assert ranking.file_factor("how are logs written", Entry("log/__init__.py", "python", "", kind=kind)) == factor


def test_further_chunks_of_a_file_give_way_and_repetitions_go():
    same = [Entry("a.py", "python", f"text {n}") for n in range(3)]
    other = Entry("b.py", "python", "text 9")
    found = order("meaning", *same, other)
    assert found.index(3) == 1
    assert order("meaning", same[0], Entry("c.py", "python", "text   0")) == [0]


def test_the_nearest_of_all_does_not_give_way_to_other_files():
    entries = [Entry(path, "python", f"{path} {n}") for n, path in enumerate(("a", "a", "b"))]
    found = [Ranked(0, 1.0), Ranked(1, 0.9), Ranked(2, 0.7)]
    assert [item.at for item in ranking.spread(found, entries, [1])] == [0, 1, 2]
    assert [item.at for item in ranking.spread(found, entries, [2])] == [0, 2, 1]


@pytest.mark.parametrize(
    ("question", "one"),
    [
        ("Return the largest of the sizes", True),
        ("parses a size such as 512m", True),
        ("copies every file: with its mode", True),
        ("session management and cookies", False),
        ("how are routes matched", False),
        ("request context handling", False),
        ("set operations", False),
        ("The files below a folder that no rule leaves out, in the order of names", True),
        ("how are the files below a folder that no rule leaves out found", False),
        ("", False),
    ],
)
def test_a_sentence_that_begins_with_a_verb_or_describes_at_length_asks_for_one_function(question, one):
    assert asks_for_one(question) is one


def test_where_one_function_is_asked_for_a_first_place_counts_more_than_two_middling_ones():
    entries = [Entry(f"{n}.py", "python", f"text {n}") for n in range(9)]
    by_meaning, by_words = [0, *range(2, 8), 1], [*range(2, 8), 8, 1]

    def first_of(question, *off):
        ranks = {item.at: place for place, item in enumerate(rank(question, entries, by_meaning, by_words, off=off))}
        return min(0, 1, key=ranks.__getitem__)

    assert first_of("return all the cookies") == 0
    assert first_of("cookies of a session") == first_of("return all the cookies", "one") == 1


def test_where_one_function_is_asked_for_a_file_may_have_several():
    entries = [Entry(path, "python", f"{path} {n}") for n, path in enumerate(("a.py", "a.py", "b.py"))]
    off = ("votes", "words")
    assert [item.at for item in rank("return all the cookies", entries, [0, 1, 2], [], off=off)] == [0, 1, 2]
    assert [item.at for item in rank("cookies of a session", entries, [0, 1, 2], [], off=off)] == [0, 2, 1]


def test_why_says_what_moved_a_hit():
    (item,) = rank("load", [Entry("tests/test_load.py", "python", "def load(): ...", ("load",))], [0], [0])
    assert [reason.split()[0] for reason in item.why] == ["name", "defines", "own", "votes", "file"]
    assert rank("anything", [], [], []) == []


def test_a_name_of_its_own_in_the_question_lifts_a_chunk():
    asked = query_words("retry the middleware with backoff")
    assert ranking.own_name_bonus(asked, ["retryMiddleware"]) > ranking.own_name_bonus(asked, ["retryRequestBody"]) > 0
    assert ranking.own_name_bonus(asked, []) == 0


@pytest.mark.parametrize(
    ("question", "called"),
    [
        ("how does app.handle dispatch", {"handle"}),
        ("what Store::open and close() do", {"open", "close"}),
        ("the loop of run_until_complete", {"run_until_complete"}),
        ("how requests are sent", set()),
    ],
)
def test_names_that_a_sentence_calls(question, called):
    assert ranking.called_names(question) == called


def test_a_chunk_without_a_vector_stands_by_its_words_as_high_as_one_that_both_found():
    first, second = Entry("a.py", "python", "one"), Entry("b.py", "python", "two")
    assert rank("parse", [first, second], [1], [0, 1], [0])[0].at == 0
    assert rank("parse", [first, second], [1], [0, 1])[0].at == 1


@pytest.mark.parametrize("rule", ranking.RULES)
def test_each_rule_can_be_left_out_and_then_says_nothing(rule):
    mine = Entry("tests/load_file/test_load.py", "python", "def load_file(): ...", ("load_file",), point="1")
    entries = [mine, Entry("tests/load_file/test_load.py", "python", "other", point="2")]
    whole = rank("load_file", entries, [0, 1], [0], off=())
    without = rank("load_file", entries, [0, 1], [0], off=(rule,))
    assert not any(reason.startswith(rule + " ") for item in without for reason in item.why)
    assert rule in ("meaning", "words", "one", "repeated") or any(
        reason.startswith(rule + " ") for item in whole for reason in item.why
    )


def parts_of_a_function(lines, of=10):
    """Entries of `of` lines each, of one function."""
    return [
        Entry(
            "a.py",
            "python",
            "\n".join(f"l{n}" for n in range(at, at + of)),
            (),
            at,
            at + of - 1,
            "function",
            ("f",),
            (1, lines),
        )
        for at in range(1, lines, of)
    ]


def shown(ranked, entries, limit=10):
    def between(path, first, last):
        inside = [e for e in entries if e.path == path and e.start_line <= last and e.end_line >= first]
        return sorted(inside, key=lambda e: e.start_line)

    return passages([Ranked(at, 1.0) for at in ranked], entries, between, limit)


def test_a_part_of_a_function_is_shown_as_the_whole_and_the_other_parts_fold_into_it():
    parts = parts_of_a_function(30)
    other = Entry("b.py", "python", "x = 1")
    found = shown([1, 3, 0, 2], [*parts, other])
    assert [(p.entry.path, p.entry.start_line, p.entry.end_line) for p in found] == [("a.py", 1, 30), ("b.py", 1, 1)]
    assert found[0].entry.text.split("\n") == [f"l{n}" for n in range(1, 31)]
    assert found[0].folded == [0, 2]
    assert "whole definition" in found[0].why


def test_blank_lines_between_parts_keep_their_numbers():
    first, _, third = parts_of_a_function(30)
    [found] = shown([0], [first, third])
    assert found.entry.text.split("\n")[20] == "l21"


def test_a_function_that_is_too_long_is_shown_by_its_part():
    parts = parts_of_a_function(300)
    assert [(p.entry.start_line, p.entry.end_line) for p in shown([4, 7], parts)] == [(41, 50), (71, 80)]


def test_a_class_that_holds_a_method_shown_before_takes_its_place():
    method = Entry("a.py", "python", "m", (), 5, 8, "method", ("C", "m"), (5, 8))
    head = Entry("a.py", "python", "class C", ("C",), 1, 4, "class", ("C",), (1, 8))
    [found] = shown([0, 1], [method, head])
    assert (found.entry.start_line, found.entry.end_line) == (1, 8)


def test_parts_of_one_long_line_stay_apart():
    pieces = [Entry("a.js", "javascript", f"piece{n}", (), 1, 1, "function", ("f",), (1, 2)) for n in range(3)]
    assert len(shown([0, 1, 2], pieces)) == 3


def test_almost_equal_copies_are_shown_once_and_named():
    lines = [f"line {n}" for n in range(20)]
    copy = [*lines[:-1], "another last line"]
    other = [*lines[:14], *(f"other {n}" for n in range(6))]
    texts = {"a.py": lines, "b.py": copy, "c.py": other}
    entries = [Entry(path, "python", "\n".join(text), (), 1, 20) for path, text in texts.items()]
    found = shown([0, 1, 2], entries)
    assert [passage.entry.path for passage in found] == ["a.py", "c.py"]
    assert found[0].why == ["also b.py:1-20"]
