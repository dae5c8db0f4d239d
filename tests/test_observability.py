"""The log: nothing from outside can look like a line of its own."""

import io
import json
import logging
import re
import sys
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from embedserve import observability as obs

ROOT = Path(__file__).parent.parent


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


def metrics():
    """name -> (kind, what it says), of all that /metrics of the embedding server has of ours."""
    ours = [metric for metric in vars(obs).values() if isinstance(metric, MetricWrapperBase)]
    families = [family for metric in ours for family in metric.collect()]
    return {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, family.documentation)
        for family in families
        if family.name.startswith("embedserve_")
    }


def test_the_grafana_dashboard_asks_only_for_metrics_that_there_are():
    sys.path.insert(0, str(ROOT / "scripts"))
    import grafana_dashboard

    written = json.loads(grafana_dashboard.PATH.read_text())
    assert written == grafana_dashboard.dashboard(), "run scripts/grafana_dashboard.py"
    asked = set(re.findall(r"embedserve_\w+", json.dumps([row[2:] for row in grafana_dashboard.PANELS])))
    known = metrics()
    assert {
        name for name in asked if name not in known and re.sub("_(bucket|sum|count)$", "", name) not in known
    } == set()
    assert len(asked) > 15


def test_every_metric_is_on_the_page_that_lists_them():
    page = (ROOT / "memory-bank/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|$", page, re.MULTILINE)
    listed = {name: (kind, meaning) for name, kind, meaning in rows}
    missing = "\n".join(f"| `{name}` | {kind} | {said} |" for name, (kind, said) in metrics().items())
    assert listed == metrics(), missing
