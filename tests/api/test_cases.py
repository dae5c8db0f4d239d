"""Requests that real clients sent and that once failed, each with the status that it must get (cases/*.json).

The cases of the embedded Qdrant are in tests/vectordb/cases.
"""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest

from support.processes import minilm_service

CASES = {path.stem: json.loads(path.read_text()) for path in sorted(Path(__file__).with_name("cases").glob("*.json"))}


@pytest.fixture(scope="module")
def url():
    with minilm_service() as process:
        yield process.url


def send(url, case):
    return httpx.request(case["method"], url + case["path"], json=case["body"], timeout=60)


@pytest.mark.parametrize("name", CASES)
def test_the_request_gets_the_status_that_its_client_needs(url, name):
    answer = send(url, CASES[name])
    assert answer.status_code == CASES[name]["expect_status"], answer.text


@pytest.mark.parametrize("name", [name for name in CASES if "langchain" in name])
def test_foreign_token_ids_are_refused_with_the_setting_that_helps(url, name):
    assert "check_embedding_ctx_length=False" in send(url, CASES[name]).json()["error"]["message"]


def test_the_models_own_token_ids_are_the_text(url):
    (ids,) = send(url, CASES["03-own-token-ids-stay-accepted"]).json()["data"]
    (text,) = httpx.post(url + "/v1/embeddings", json={"input": "hello world"}, timeout=60).json()["data"]
    np.testing.assert_allclose(ids["embedding"], text["embedding"], atol=1e-6)


def test_ollamas_and_teis_answers_are_in_their_shapes(url):
    (listed,) = httpx.post(url + "/v1/embeddings", json={"input": "a"}, timeout=60).json()["data"]
    ollama = send(url, CASES["33-ollama-embed"]).json()
    assert {"model", "embeddings", "prompt_eval_count"} <= set(ollama)
    np.testing.assert_allclose(ollama["embeddings"], [listed["embedding"]], atol=1e-6)
    np.testing.assert_allclose(send(url, CASES["34-tei-embed"]).json(), [listed["embedding"]], atol=1e-6)


def test_vectors_that_are_of_length_1_anyway_may_be_asked_for_as_they_are(url):
    """Haystack's embedders for TEI ask so by default; a model without a last Normalize step refuses it."""
    asked = {"inputs": "a"}
    plain = httpx.post(url + "/embed", json=asked, timeout=60)
    assert httpx.post(url + "/embed", json={**asked, "normalize": False}, timeout=60).json() == plain.json()
