"""The service as its users meet it: a real process, the real MiniLM, real HTTP, the real openai SDK."""

import ast
import asyncio
import base64
import inspect
import subprocess
import sys

import httpx
import numpy as np
import pytest

from support.processes import Process, clean_environment, minilm_service


@pytest.fixture(scope="module")
def service():
    with minilm_service(EMBEDDING_PRECISION="fp32") as process:
        yield process


@pytest.fixture(scope="module")
def reference():
    """sentence-transformers on the same weights."""
    from pathlib import Path

    from sentence_transformers import SentenceTransformer

    from embedserve.models.sources import resolve

    folder = resolve("all-MiniLM-L6-v2", home=Path("/nonexistent")).folder
    model = SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = 256
    return lambda texts: model.encode(texts, normalize_embeddings=True)


def code_texts(count, shortest=1, longest=200):
    """Real code of the standard library: statements and functions of these lengths in characters."""
    texts = []
    for module in (asyncio.base_events, asyncio.streams, ast, inspect, subprocess):
        source = inspect.getsource(module)
        lines = source.splitlines(keepends=True)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.stmt):  # (ast.get_source_segment splits the whole source for each node)
                texts.append("".join(lines[node.lineno - 1 : node.end_lineno]).strip())
    return [text for text in dict.fromkeys(texts) if shortest <= len(text) <= longest][:count]


def embed(service, texts, **fields):
    body = {"input": texts, "encoding_format": "base64", **fields}
    answer = httpx.post(service.url + "/v1/embeddings", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    return np.stack([np.frombuffer(base64.b64decode(d["embedding"]), "<f4") for d in answer.json()["data"]])


def test_hello_world_is_the_published_vector(service):
    vector = embed(service, ["hello world"])[0]
    np.testing.assert_allclose(vector[:5], [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362], atol=1e-3)


@pytest.mark.slow
def test_through_the_whole_service_it_equals_sentence_transformers(service, reference):
    texts = [*code_texts(30), *code_texts(10, 400, 2000), "привіт, світе 🙂", "\t\n \n", " ", "ａ" * 3000, "x"]
    got, want = embed(service, texts), reference(texts)
    assert (got * want).sum(1).min() > 0.99999
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)


def test_a_file_of_2614_texts_comes_back_in_order_and_each_equals_its_single(service):
    texts = code_texts(2614, longest=60)
    texts = (texts * 2)[:2614]  # a file repeats itself too
    assert len(texts) == 2614
    got = embed(service, texts)
    for i in (0, 777, 2613):
        assert got[i] @ embed(service, [texts[i]])[0] > 0.99999


def test_the_openai_sdk_gets_the_same_vector_in_both_formats(service):
    import openai  # a second

    client = openai.OpenAI(base_url=service.url + "/v1", api_key="any")
    by_base64 = client.embeddings.create(model="all-MiniLM-L6-v2", input="def f(): pass").data[0].embedding
    by_float = client.embeddings.create(model="all-MiniLM-L6-v2", input="def f(): pass", encoding_format="float")
    np.testing.assert_allclose(by_base64, by_float.data[0].embedding, atol=1e-7)
    assert by_float.usage.prompt_tokens == 8


def test_naming_the_model_that_is_not_served_says_why_and_how_to_get_it(service):
    answer = httpx.post(service.url + "/v1/embeddings", json={"input": "x", "model": "jina-code-v2"})
    assert answer.status_code == 404
    message = answer.json()["error"]["message"]
    assert "all-MiniLM-L6-v2" in message
    assert "embedserve pull jina-code-v2" in message


@pytest.mark.slow
def test_auto_falls_back_to_minilm_loudly(tmp_path):
    """No hub answers and no file of jina-code-v2 is at hand."""
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "EMBEDDING_CACHE": "off"}
    with Process(["serve"], "/ready", **environment) as process:
        health = httpx.get(process.url + "/health").json()
        listed = httpx.get(process.url + "/v1/models").json()["data"][0]
    assert health["model"] == "all-MiniLM-L6-v2"
    assert "jina-code-v2" in health["notice"]
    assert listed["notice"] == health["notice"]


@pytest.mark.slow
def test_a_disk_cache_survives_a_restart_bit_for_bit(tmp_path):
    texts = code_texts(100, longest=80)
    vectors = []
    for _ in range(2):
        with minilm_service(EMBEDDING_CACHE="disk", EMBEDDING_HOME=str(tmp_path)) as process:
            vectors.append(embed(process, texts))
            metrics = httpx.get(process.url + "/metrics").text
    np.testing.assert_array_equal(*vectors)
    assert 'embedserve_cache_hits_total{layer="disk"} 100.0' in metrics


def test_show_settings_prints_every_setting_and_no_secret():
    command = [sys.executable, "-m", "embedserve.cli", "serve", "--show-settings", "--port", "4321"]
    environment = clean_environment(EMBEDDING_API_KEY="hunter2")
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    assert "EMBEDDING_PORT=4321" in shown
    assert "EMBEDDING_API_KEY=(set)" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "no-such-model"], "no-such-model"),
        (["--model", "all-MiniLM-L6-v2", "--backend", "openvino", "--device", "cuda"], "EMBEDDING_BACKEND=torch"),
        (["--port", "99999"], "EMBEDDING_PORT"),
    ],
)
def test_a_wrong_start_says_why_and_exits_2(arguments, says):
    command = [sys.executable, "-m", "embedserve.cli", "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1]
