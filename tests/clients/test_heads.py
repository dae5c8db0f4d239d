"""Each file of this folder can be run by scripts/works_with.py, and its head says how."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))
import works_with

FILES = [p for p in sorted(Path(__file__).parent.iterdir()) if p.suffix in (".py", ".mjs") and p.stem != "test_heads"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_client_says_its_name_servers_dependencies_and_what_is_run(path):
    runs = works_with.runs_of(path)
    assert runs
    for run in runs:
        assert set(run.servers) <= {"qdrant", "embeddings", "rerank"}
        assert run.servers
        assert run.what
        assert run.dependencies
        assert not any("{version}" in item for item in run.dependencies)


def test_the_short_table_has_a_row_a_client_with_its_versions_and_names_what_failed(tmp_path, monkeypatch):
    what = {"servers": "qdrant", "what": "a|b", "date": "2026-01-01"}
    rows = [
        {"client": "x", "version": "1.9.0", "result": "works", **what},
        {"client": "x", "version": "1.10.0", "result": "TypeError: no", **what},
    ]
    monkeypatch.setattr(works_with, "RESULTS", tmp_path / "results.json")
    works_with.RESULTS.write_text(json.dumps(rows))
    assert works_with.short_table().splitlines()[2:] == ["| x | 1.10.0, 1.9.0 | a\\|b | 1.10.0: TypeError: no |"]
