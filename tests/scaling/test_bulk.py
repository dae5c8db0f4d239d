"""Bulk indexing on a real Ray: the points of a single run, whatever dies meanwhile; equal texts embedded once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from qdrant_client import QdrantClient

from embedserve.indexing.progress import Display
from embedserve.indexing.stored import MARKER_ID
from embedserve.indexing.workspace import collection_name
from support.processes import EMBEDSERVE, Process, clean_environment, embedded_qdrant, minilm_service

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.slow

LIBRARY = Path(os.__file__).parent
PACKAGES = ("logging", "json", "http")  # real code: of Python's own library


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", HF_HUB_OFFLINE="1")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def qdrant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with embedded_qdrant(tmp_path_factory.mktemp("storage")) as running:
        yield running


def repositories(root: Path, names: tuple[str, ...]) -> list[str]:
    """Copies of real packages, as folders of their own."""
    for name in names:
        target = root / name / "src"
        target.mkdir(parents=True)
        for path in sorted((LIBRARY / name).rglob("*.py")):
            copy = target / path.relative_to(LIBRARY / name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    return [str(root / name) for name in names]


def points(url: str, workspace: str) -> dict[str, Any]:
    """id -> (payload, vector) of all chunks."""
    client = QdrantClient(url=url, check_compatibility=False, timeout=60)
    found, _ = client.scroll(collection_name(workspace), limit=100_000, with_vectors=True)
    client.close()
    return {str(p.id): (p.payload, p.vector) for p in found if str(p.id) != MARKER_ID}


def kill_an_actor(deadline: float) -> bool:
    """SIGKILL to the process of this cluster that embeds; False: it was not seen."""
    session = ray._private.worker._global_node.get_session_dir_path()
    while time.monotonic() < deadline:
        for process in psutil.process_iter():
            try:
                ours = "MapWorker" in process.cmdline()[0] and session in " ".join(process.parent().cmdline())
            except (psutil.Error, IndexError, AttributeError):
                continue
            if ours:
                time.sleep(1.5)  # in the middle of its work
                os.kill(process.pid, signal.SIGKILL)
                return True
        time.sleep(0.05)
    return False


def test_a_run_with_a_killed_worker_makes_the_points_of_embedserve_index(
    cluster: None, qdrant: Process, home: Path, tmp_path: Path
) -> None:
    from embedserve.scaling.bulk import index_repositories
    from embedserve.scaling.work import Bulk

    paths = repositories(tmp_path, PACKAGES)
    killed: list[bool] = []
    killer = threading.Thread(target=lambda: killed.append(kill_an_actor(time.monotonic() + 60)))
    killer.start()
    bulk = Bulk(qdrant.url, model="all-MiniLM-L6-v2", actors=1, threads=1, home=str(home))
    with Display(quiet=True) as display:
        reports = index_repositories(paths, bulk, display)
    killer.join()
    assert killed == [True]
    assert all(report.complete for report in reports)
    made = {path: points(qdrant.url, path) for path in paths}
    assert sum(len(found) for found in made.values()) == sum(report.chunks for report in reports) > 300

    with minilm_service(EMBEDDING_HOME=str(home)) as service:
        options = ["--embeddings-url", service.url + "/v1", "--qdrant-url", qdrant.url]
        environment = clean_environment(EMBEDDING_HOME=str(home))
        for path in paths:
            command = [*EMBEDSERVE, "index", path, "--recreate", *options]
            subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    for path in paths:
        single = points(qdrant.url, path)
        assert made[path].keys() == single.keys()
        assert {key: value[0] for key, value in made[path].items()} == {k: value[0] for k, value in single.items()}
        ours, theirs = (np.array([found[key][1] for key in single]) for found in (made[path], single))
        assert np.abs(ours - theirs).max() < 2e-3  # bf16, in batches of another make-up


def test_a_second_run_does_nothing_and_a_clone_is_not_embedded_again(
    cluster: None, qdrant: Process, home: Path, tmp_path: Path
) -> None:
    from embedserve.scaling.bulk import index_repositories
    from embedserve.scaling.work import Bulk

    [first] = repositories(tmp_path / "one", ("json",))
    [clone] = repositories(tmp_path / "two", ("json",))
    bulk = Bulk(qdrant.url, model="all-MiniLM-L6-v2", home=str(home))
    with Display(quiet=True) as display:
        [report] = index_repositories([first], bulk, display)
        assert report.chunks > 20
        [again] = index_repositories([first], bulk, display)
        assert (again.complete, again.changed, again.stored) == (True, 0, 0)
        [other] = index_repositories([clone], bulk, display)
        assert (other.chunks, other.embedded) == (report.chunks, 0)
        Path(first, "src", "decoder.py").unlink()
        [less] = index_repositories([first], bulk, display)
    assert less.deleted > 0
    assert not [payload for payload, _ in points(qdrant.url, first).values() if payload["path"] == "src/decoder.py"]


def test_machines_share_what_the_collection_has_and_search_all_of_it(
    cluster: None, qdrant: Process, tmp_path: Path
) -> None:
    """Two homes are two machines: neither has the other's cache."""
    from embedserve.indexing.creating import Server, Wanted, create
    from embedserve.indexing.qdrant import Qdrant
    from embedserve.scaling.bulk import index_repositories
    from embedserve.scaling.work import Bulk

    async def make() -> None:
        client = Qdrant(qdrant.url)
        await create(client, Wanted("team", "all-MiniLM-L6-v2", 384), Server())
        await client.close()

    asyncio.run(make())
    [first] = repositories(tmp_path / "one", ("json",))
    [clone] = repositories(tmp_path / "two", ("json",))
    made = []
    for number, (path, name) in enumerate(((first, "json"), (clone, "fork"))):
        home = str(tmp_path / f"home{number}")
        bulk = Bulk(qdrant.url, model="all-MiniLM-L6-v2", home=home, collection="team", repositories={path: name})
        with Display(quiet=True) as display:
            made += index_repositories([path], bulk, display)
            [again] = index_repositories([path], bulk, display)
            assert (again.complete, again.stored) == (True, 0)
    one, two = made
    assert one.chunks == two.chunks > 20
    assert (two.embedded, two.reused) == (0, two.chunks)
    assert 0 < one.engine_seconds <= one.seconds
    client = QdrantClient(url=qdrant.url, check_compatibility=False, timeout=60)
    found, _ = client.scroll("team", limit=10_000, with_vectors=True)
    client.close()
    vectors: dict[str, set[bytes]] = {}
    for point in found:
        if (point.payload or {}).get("type") == "chunk":
            vectors.setdefault(point.payload["digest"], set()).add(np.float32(point.vector).tobytes())
    assert all(len(one_text) == 1 for one_text in vectors.values())
