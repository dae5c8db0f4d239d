"""The default install has neither torch nor transformers: serving, indexing, searching and quantising work without.

They are made unimportable in every process that is started here, and in its children (the conversion of a model runs in
one), by a `sitecustomize` that each Python interpreter imports first. What is not known here: that `pip` does not
install them; scripts/bench/first_hour.sh weighs that.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from embedserve.backends import select
from embedserve.errors import MissingExtra
from embedserve.models import weights
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant, minilm_service

REPOSITORY = Path(__file__).parents[1]
ABSENT = """
import sys
from importlib.machinery import PathFinder
real = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers"):
        return None
    return real(name, path, target)
PathFinder.find_spec = find_spec
"""


@pytest.fixture
def without(tmp_path):
    """An environment whose interpreters cannot find torch and transformers, and a home of its own."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(ABSENT)
    path = os.pathsep.join(p for p in (str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")) if p)
    return {"PYTHONPATH": path, "EMBEDDING_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}


def run(*words, cwd, **environment):
    return subprocess.run(
        [*EMBEDSERVE, *words],
        cwd=cwd,
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_base_dependencies_name_neither():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = " ".join(project["dependencies"] + project["optional-dependencies"]["search"])
    assert "torch" not in named
    assert "transformers" not in named


def test_the_modules_are_really_absent(without, tmp_path):
    command = [EMBEDSERVE[0], "-c", "import torch"]
    result = subprocess.run(command, env=clean_environment(**without), capture_output=True, text=True)
    assert "No module named 'torch'" in result.stderr


@pytest.mark.slow
def test_a_first_embedding_an_index_and_a_search_need_neither(without, tmp_path):
    workspace = tmp_path / "project"
    workspace.mkdir()
    (workspace / "fruit.py").write_text("def peel(apple):\n    '''Take the skin off.'''\n    return apple[1:-1]\n")
    with minilm_service(**without) as server, embedded_qdrant(tmp_path / "storage", **without) as qdrant:
        answer = httpx.post(f"{server.url}/v1/embeddings", json={"input": "hello world"}, timeout=60).json()
        assert len(answer["data"][0]["embedding"]) == 384
        where = ["--embeddings-url", f"{server.url}/v1", "--qdrant-url", qdrant.url]
        indexed = run("index", str(workspace), *where, cwd=workspace, **without)
        assert indexed.returncode == 0, indexed.stderr
        found = run("search", "remove the peel of a fruit", *where, cwd=workspace, **without)
        assert "fruit.py" in found.stdout, found.stderr


@pytest.mark.slow
def test_optimize_needs_neither(without, tmp_path):
    result = run(
        "optimize", "all-MiniLM-L6-v2", "--texts", "20", "--pairs", "100", "--no-guard", cwd=tmp_path, **without
    )
    assert result.returncode == 0, result.stderr


def test_what_needs_torch_names_the_extra(monkeypatch, tmp_path):
    """manage.sh installs the extra where it finds these words in the server's log."""
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="EMBEDDING_BACKEND=torch needs the extra 'torch'"):
        select._import_torch("EMBEDDING_BACKEND=torch")
    with pytest.raises(MissingExtra, match=r"pytorch_model\.bin is a pickle .* needs the extra 'torch'"):
        weights._pickle(tmp_path / "pytorch_model.bin")


def test_a_gpu_that_is_unused_for_want_of_torch_is_said(monkeypatch):
    monkeypatch.setattr(select, "_gpu_driver", lambda: True)
    monkeypatch.setattr(select, "_torch_is_here", lambda: False)
    monkeypatch.setattr(select.platform, "machine", lambda: "x86_64")
    assert select._device("auto", "auto") == "cpu"
    assert "the extra 'torch' is not installed" in select._backend("auto", "cpu")[1]
