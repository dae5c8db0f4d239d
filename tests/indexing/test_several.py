"""Answers of several workspaces become one."""

from __future__ import annotations

import pytest

from embedserve.errors import IndexingFailed
from embedserve.indexing.search import Answer, Hit
from embedserve.indexing.several import asked_in, holder, merged


def answer(*scores: float | None, notes: tuple[str, ...] = (), embedded: float | None = None) -> Answer:
    return Answer([Hit(f"{at}.py", 1, 2, score, "code") for at, score in enumerate(scores)], list(notes), embedded)


def paths(*answers: tuple[str, Answer], limit: int = 10) -> list[str]:
    return [hit.path for hit in merged(answers, limit).hits]


def test_the_workspace_whose_best_hit_left_is_nearer_goes_first_and_each_keeps_its_own_order() -> None:
    found = paths(("/a", answer(0.3, 0.6, 0.1)), ("/b", answer(0.5, 0.2)))
    assert found == ["/a/0.py", "/a/1.py", "/b/0.py", "/b/1.py", "/a/2.py"]
    assert paths(("/a", answer(0.3, 0.6)), ("/b", answer(0.5)), limit=2) == ["/a/0.py", "/a/1.py"]


def test_without_cosines_they_take_turns() -> None:
    found = paths(("/a", answer(None, None, None)), ("/b", answer(None, None)))
    assert found == ["/a/0.py", "/b/0.py", "/a/1.py", "/b/1.py", "/a/2.py"]


def test_a_workspace_that_has_no_vectors_yet_is_not_put_last() -> None:
    assert paths(("/a", answer(0.9, 0.8)), ("/b", answer(None, None)))[:2] == ["/a/0.py", "/b/0.py"]


def test_notes_name_their_workspace_and_the_smallest_share_is_told() -> None:
    one = merged([("/a", answer(notes=("half",), embedded=0.5)), ("/b", answer(notes=("/b: x",), embedded=1.0))], 5)
    assert (one.hits, one.notes, one.embedded) == ([], ["/a: half", "/b: x"], 0.5)


def test_a_path_is_in_the_innermost_folder() -> None:
    assert holder(["/a", "/a/b", "/ab"], "/a/b/c.py") == "/a/b"
    assert holder(["/a", "/a/b", "/ab"], "/a/bc.py") == "/a"
    assert holder(["/a"], "/other.py") is None
    assert asked_in(["/a", "/b"], "src") == ["/a", "/b"]
    assert asked_in(["/a", "/b"], "/b/src") == ["/b"]
    with pytest.raises(IndexingFailed, match="/c is in none of /a, /b; give a path inside one of them"):
        asked_in(["/a", "/b"], "/c")
