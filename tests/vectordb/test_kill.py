"""kill -9 at random moments: every acknowledged write is there after a restart, and the storage opens."""

import os
import random
import subprocess
import threading
import time

import httpx
import pytest

from support.processes import EMBEDSERVE, clean_environment, free_port
from vectordb.conftest import Embedded, embedded_only

pytestmark = embedded_only
DIM = 64
PATH = "/collections/ws-kill"


def create(http, threshold=0):
    body = {
        "vectors": {"size": DIM, "distance": "Cosine", "on_disk": True},
        "hnsw_config": {"m": 8, "ef_construct": 32},
        "optimizers_config": {"indexing_threshold": threshold},
    }
    http.put(PATH, json=body).raise_for_status()
    http.put(f"{PATH}/index", json={"field_name": "group", "field_schema": "integer"}).raise_for_status()


def batch(start, version):
    rng = random.Random(start)
    return {
        "points": [
            {"id": i, "vector": [rng.gauss(0, 1) for _ in range(DIM)], "payload": {"v": version, "group": i % 10}}
            for i in range(start, start + 100)
        ]
    }


def stored(http):
    """Every point's version."""
    found, offset = {}, None
    while True:
        body = {"limit": 5000, "offset": offset}
        page = http.post(f"{PATH}/points/scroll", json=body).json()["result"]
        found |= {point["id"]: point["payload"]["v"] for point in page["points"]}
        offset = page["next_page_offset"]
        if offset is None:
            return found


def run_and_kill(tmp_path, count, kills, threshold, longest):
    """Upsert batches over and over; kill at random; check what was acknowledged; go on."""
    rng = random.Random(os.getpid())
    acknowledged, sent, version = {}, {}, 0
    for kill in range(kills + 1):
        with Embedded(tmp_path / "storage") as server, httpx.Client(base_url=server.url, timeout=30) as http:
            if kill == 0:
                create(http, threshold)
            else:
                found = stored(http)
                for i, least in acknowledged.items():
                    assert least <= found.get(i, -1) <= sent[i], f"point {i} after kill {kill}"
                assert set(found) <= set(sent)
                query = {"query": [1.0] * DIM, "limit": 5}
                assert len(http.post(f"{PATH}/points/query", json=query).json()["result"]["points"]) == 5
            if kill == kills:
                assert server.stop() == 0
                return len(acknowledged)
            timer = threading.Timer(rng.uniform(0.05, longest), server.process.kill)
            timer.start()
            try:
                while True:
                    start = 100 * (version % (count // 100))
                    sent |= dict.fromkeys(range(start, start + 100), version)
                    http.put(f"{PATH}/points?wait=true", json=batch(start, version)).raise_for_status()
                    acknowledged |= dict.fromkeys(range(start, start + 100), version)
                    version += 1
            except httpx.HTTPError:
                pass
            finally:
                timer.cancel()
    raise AssertionError("unreachable")


def test_acknowledged_points_survive_kill_9_during_an_upsert(tmp_path):
    assert run_and_kill(tmp_path, 5000, kills=3, threshold=0, longest=1.5) > 100


@pytest.mark.slow
def test_acknowledged_points_survive_20_times_kill_9_during_an_upsert_of_20000(tmp_path):
    assert run_and_kill(tmp_path, 20_000, kills=20, threshold=0, longest=3.0) > 5000


@pytest.mark.slow
def test_acknowledged_points_survive_kill_9_while_the_index_is_built_and_swapped_in(tmp_path):
    """A threshold so low that a build is always going on; kills meet the copy, the build and the swap."""
    assert run_and_kill(tmp_path, 2000, kills=15, threshold=10, longest=8.0) > 100


@pytest.mark.slow
def test_kill_9_at_any_moment_of_a_start_loses_no_point_and_the_next_start_opens(tmp_path):
    """Twice in a row as well: what the first killed start had begun is there for the second."""
    storage = tmp_path / "storage"
    with Embedded(storage) as server, httpx.Client(base_url=server.url, timeout=30) as http:
        create(http, threshold=1000)
        for start in range(0, 3000, 100):
            http.put(f"{PATH}/points?wait=true", json=batch(start, start)).raise_for_status()
        server.kill()  # there is something to recover
    for moment in (0.1, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8):
        starting = subprocess.Popen(
            [*EMBEDSERVE, "qdrant", "--storage", str(storage), "--port", str(free_port())],
            env=clean_environment(),
            stderr=subprocess.DEVNULL,
        )
        time.sleep(moment)
        starting.kill()
        starting.wait()
    with Embedded(storage) as server, httpx.Client(base_url=server.url, timeout=30) as http:
        assert stored(http) == {i: i // 100 * 100 for i in range(3000)}
        assert http.get("/collections").json()["result"]["collections"] == [{"name": "ws-kill"}]


@pytest.mark.slow
def test_the_child_that_builds_dies_with_the_server(tmp_path):
    import psutil

    with Embedded(tmp_path / "storage") as server, httpx.Client(base_url=server.url, timeout=30) as http:
        create(http, threshold=10)
        for start in range(0, 6000, 100):
            http.put(f"{PATH}/points?wait=true", json=batch(start, 0)).raise_for_status()
        children, deadline = [], time.monotonic() + 60
        while not children and time.monotonic() < deadline:
            children = psutil.Process(server.process.pid).children()
            time.sleep(0.05)
        assert children
        server.kill()
        gone, alive = psutil.wait_procs(children, timeout=20)
        assert gone
        assert not alive
