"""Files are cut once for words and vectors: what is kept between, and that it is only ever the same cutting."""

import errno
import io
import tempfile

import pytest

from embedserve.indexing.chunk import Chunk, Cut, chunk_text
from embedserve.indexing.languages import PYTHON
from embedserve.indexing.spool import Spool, packed

CUT = chunk_text("a.py", "def one():\n    return 1\n" * 30 + "x = '\\ud800'\n", PYTHON)


@pytest.fixture
def spool(tmp_path):
    spool = Spool(str(tmp_path / "index"))
    yield spool
    spool.close()


def test_a_cutting_comes_back_as_it_was_with_its_ids_and_its_reason(spool):
    odd = Cut([Chunk("b.py", "python", 1, 1, "lone \ud800", number=2, generated=True)], "cut along its paragraphs")
    spool.put("a.py", "of a", packed(CUT))
    spool.put("b.py", "of b", packed(odd))
    assert spool.take("a.py", "of a") == CUT
    assert spool.take("b.py", "of b") == odd
    assert [chunk.id for chunk in spool.take("a.py", "of a").chunks] == [chunk.id for chunk in CUT.chunks]


def test_a_file_that_changed_or_was_never_kept_is_cut_again(spool):
    assert spool.take("a.py", "of a") is None
    spool.put("a.py", "of a", packed(CUT))
    assert spool.take("a.py", "of another content") is None
    spool.put("a.py", "later", packed(Cut()))
    assert spool.take("a.py", "of a") is None
    assert spool.take("a.py", "later") == Cut()


def test_no_file_is_seen_in_the_folder_so_a_kill_leaves_none(spool, tmp_path):
    spool.put("a.py", "of a", packed(CUT))
    assert list((tmp_path / "index").iterdir()) == []


def test_a_disk_that_is_full_costs_a_second_cutting_and_nothing_else(spool, monkeypatch):
    full = io.BytesIO()
    full.write = lambda _content: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_options: full)
    spool.put("a.py", "of a", packed(CUT))
    assert spool.take("a.py", "of a") is None


def test_a_closed_one_keeps_and_gives_nothing(spool, tmp_path):
    spool.put("a.py", "of a", packed(CUT))
    spool.close()
    spool.put("b.py", "of b", packed(CUT))
    assert spool.take("a.py", "of a") is None
    assert spool.take("b.py", "of b") is None
