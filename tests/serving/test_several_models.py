"""Two real models in one process: MiniLM and a tiny random ModernBERT, through OpenVINO, over HTTP."""

import concurrent.futures
import json
import subprocess
import sys

import httpx
import numpy as np
import pytest

from support.live import real_server
from support.processes import clean_environment
from support.tiny_models import TEXTS, sentence_transformer

MINILM = "all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory):
    """(folder, the library's unit vectors of TEXTS)."""
    folder = tmp_path_factory.mktemp("modernbert")
    rows = sentence_transformer("modernbert", folder).encode(TEXTS)
    return folder / "st", rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors(server, model, texts=TEXTS):
    body = {"model": model, "input": texts}
    answer = httpx.post(server.url + "/v1/embeddings", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return np.array([row["embedding"] for row in answer.json()["data"]], dtype=np.float32)


@pytest.mark.slow
def test_both_answer_rightly_when_asked_at_once_the_second_for_the_first_time(modernbert, tmp_path):
    folder, wanted = modernbert
    with real_server(tmp_path, f"{MINILM},{folder}", backend="openvino", precision="fp32") as server:
        listed = httpx.get(server.url + "/v1/models").json()["data"]
        assert [(one["state"], one["default"]) for one in listed] == [("loaded", True), ("on disk", False)]
        first, second = (one["id"] for one in listed)
        alone = vectors(server, first)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(vectors, server, name) for _ in range(4) for name in (first, second)]
            answers = [one.result() for one in asked]
        for mini, modern in zip(answers[::2], answers[1::2], strict=True):
            assert (mini * alone).sum(1).min() > 1 - 1e-5
            assert (modern * wanted).sum(1).min() > 1 - 1e-5
        assert {one["state"] for one in httpx.get(server.url + "/v1/models").json()["data"]} == {"loaded"}


@pytest.mark.slow
def test_an_idle_real_model_leaves_and_gives_the_same_vectors_when_it_is_back(modernbert, tmp_path):
    folder, wanted = modernbert
    with real_server(tmp_path, f"{MINILM},{folder}", backend="openvino", precision="fp32", keep_alive=1.0) as server:
        second = server.runtime.entries[1]
        for _ in range(2):
            assert (vectors(server, second.id) * wanted).sum(1).min() > 1 - 1e-5
            server.wait_for(lambda: second.state == "on disk", 30)


# In a process of its own: what the other tests have imported and freed would blur the figure.
ROUNDS = """
import asyncio, json, sys, time
from pathlib import Path
from embedserve.api.server import _tame_malloc
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings

async def body(home, models, backend):
    settings = Settings(home=Path(home), model=models, backend=backend, precision="fp32", keep_alive=1.0, cache="off")
    runtime = Runtime(settings)
    await runtime.load()
    assert runtime.failure is None, runtime.failure
    found = []
    for _ in range(11):
        for entry in runtime.entries:
            async with runtime.use(entry.id) as model:
                await model.engine.embed(["def add(a, b): return a + b " * n for n in (1, 5, 20)] * 8)
        both = runtime.rss
        await runtime.residents.tidy(time.monotonic() + 60)
        assert not runtime.models
        found.append((both, runtime.rss))
    await runtime.close()
    print(json.dumps(found))

_tame_malloc()
asyncio.run(body(*sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_after_ten_rounds_of_load_and_unload_memory_is_back_within_five_percent(backend, modernbert, tmp_path):
    command = [sys.executable, "-c", ROUNDS, str(tmp_path), f"{MINILM},{modernbert[0]}", backend]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rounds = json.loads(done.stdout)
    (both, once), (_, last) = rounds[0], rounds[-1]
    assert both - once > 50e6, "unloading gave nothing back"
    assert last <= 1.05 * once, rounds
