"""The log: nothing from outside can look like a line of its own."""

import io
import logging

import pytest

from embedserve import observability as obs


@pytest.fixture
def written(monkeypatch):
    """What goes to the log, through the handler that the server sets up."""
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr("sys.stderr", stream)
    obs.set_up_logging("info")
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x1b[2K", "\u2028", "\x85", "\x0b"])
def test_no_argument_forges_a_line(written, end):
    forged = "2026-01-01T00:00:00 ERROR   [-] root: disk gone"
    logging.getLogger("embedserve.api").warning("GET %s -> 404: %s", f"/x{end}{forged}", f"model 'a{end}{forged}'")
    assert len(written.getvalue().splitlines()) == 1
    assert written.getvalue().rstrip("\n").isprintable()


def test_a_traceback_of_ours_keeps_its_lines(written):
    logging.getLogger("embedserve.api").error("unhandled %s\n%s", "ValueError", obs.Lines("one\ntwo"))
    assert len(written.getvalue().splitlines()) == 3
