"""The whole way, everything real: `manage.sh start all` without Docker or hub, MiniLM's weights, the embedded Qdrant,
two code bases, known answers."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.checkout import Checkout
from support.processes import EMBEDSERVE, clean_environment

ASYNCIO = Path(sysconfig.get_path("stdlib")) / "asyncio"
REPOSITORY = Path(__file__).parents[2]

INDEXING = "embeddings/embedserve/indexing/"

# A question, and the file and the line of code that answer it. This file asks them too, so it must not be found:
# in this repository only the package is searched.
QUESTIONS = [
    (ASYNCIO, "", "run a function in a separate thread", "threads.py", "def to_thread"),
    (ASYNCIO, "", "cancel all tasks when the loop is closed", "runners.py", "def _cancel_all_tasks"),
    (ASYNCIO, "", "queue that gives the entry with the lowest priority first", "queues.py", "class PriorityQueue"),
    (
        REPOSITORY,
        "embeddings",
        "row, level and title of each header in a markdown file",
        INDEXING + "markdown.py",
        "def headers",
    ),
    (REPOSITORY, "embeddings", "bytes in a size like 512m", "embeddings/embedserve/settings.py", "def parse_size"),
    (REPOSITORY, "embeddings", "pause as long as the server asked for", INDEXING + "embedder.py", "def _pause"),
]


# Half of this repository's text, which no question is about.
LEFT_OUT = {ASYNCIO: [], REPOSITORY: ["--exclude", "/tests/", "--exclude", "/memory-bank/"]}


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    pytest.importorskip("qdrant_edge")
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.make_venv()
    del checkout.env["EMBEDDING_BACKEND"]  # not the fake one
    try:
        started = checkout.run("start", "all", timeout=300, HF_HUB_OFFLINE="1")
        assert started.returncode == 0, started.stdout + started.stderr
        qdrant = f"http://127.0.0.1:{checkout.qdrant_port}"
        yield ["--embeddings-url", checkout.url("/v1"), "--qdrant-url", qdrant]
        assert checkout.run("stop").returncode == 0
    finally:
        checkout.close()


def embedserve(*arguments: str) -> str:
    result = subprocess.run([*EMBEDSERVE, *arguments], capture_output=True, text=True, env=clean_environment())
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_asyncio_and_this_repository_are_indexed_and_known_answers_come_first_or_second(
    options: list[str],
) -> None:
    for folder in (ASYNCIO, REPOSITORY):
        report = json.loads(embedserve("index", str(folder), "--json", *LEFT_OUT[folder], *options))
        assert report["complete"]
        assert report["model"] == "all-MiniLM-L6-v2"
        assert report["stored"] == report["chunks"] > 1000 * (folder == ASYNCIO)
    again = json.loads(embedserve("index", str(ASYNCIO), "--json", *options))
    assert (again["embedded"], again["deleted"]) == (0, 0)
    assert again["seconds"] < 30  # "takes seconds"; the machine may be busy
    misses = []
    for folder, prefix, question, path, needle in QUESTIONS:
        where = ["--workspace", str(folder), "--path-prefix", prefix]
        hits = json.loads(embedserve("search", question, *where, "--json", "--limit", "5", *options))
        right = [rank for rank, hit in enumerate(hits, 1) if hit["path"] == path and needle in hit["code"]]
        if not right or right[0] > 2:
            found = [f"{hit['path']}:{hit['start_line']}" for hit in hits]
            misses.append(f"{question!r}: {path} {needle} is at {right or 'no'} of {found}")
    assert not misses, os.linesep.join(misses)
