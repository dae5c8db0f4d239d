"""What TEI's clients ask beside /embed: info, tokens, texts, cosines, and the bare address; errors in TEI's shape."""

import httpx
import numpy as np
import pytest


def post(server, path, body):
    return httpx.post(server.url + path, json=body, timeout=30)


def unit(server, texts):
    return np.array([row["embedding"] for row in server.post({"input": texts}).json()["data"]])


def test_info_says_what_is_served_and_its_limits(server):
    info = httpx.get(server.url + "/info").json()
    assert info["model_id"] == "fake"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_input_length"] == 512
    assert info["max_client_batch_size"] == server.runtime.settings.max_inputs
    assert info["auto_truncate"] is True


def test_the_bare_address_embeds_and_compares(server):
    vectors = unit(server, ["a", "b"])
    np.testing.assert_allclose(post(server, "/", {"inputs": ["a", "b"]}).json(), vectors, atol=1e-6)
    np.testing.assert_allclose(post(server, "/", {"inputs": "a", "normalize": True}).json(), vectors[:1], atol=1e-6)
    inputs = {"source_sentence": "a", "sentences": ["a", "b"]}
    cosines = vectors @ vectors[0]
    np.testing.assert_allclose(post(server, "/", {"inputs": inputs}).json(), cosines, atol=1e-6)
    np.testing.assert_allclose(post(server, "/similarity", {"inputs": inputs}).json(), cosines, atol=1e-6)
    assert "text/html" in httpx.get(server.url, headers={"accept": "text/html"}).headers["content-type"]


def test_similarity_takes_the_models_prompt(server):
    inputs = {"source_sentence": "a", "sentences": ["b"]}
    body = {"inputs": inputs, "parameters": {"prompt_name": "query", "truncate": True}}
    prefixed = np.array(
        [r["embedding"] for r in server.post({"input": ["a", "b"], "input_type": "query"}).json()["data"]]
    )
    (cosine,) = post(server, "/similarity", body).json()
    assert cosine == pytest.approx(prefixed[0] @ prefixed[1], abs=1e-6)


def test_tokens_have_places_and_special_ones_none(server):
    (tokens,) = post(server, "/tokenize", {"inputs": "ab"}).json()
    assert [one["special"] for one in tokens] == [True, False, False, True]
    assert (tokens[0]["start"], tokens[0]["stop"]) == (None, None)
    assert [(one["text"], one["start"], one["stop"]) for one in tokens[1:3]] == [("a", 0, 1), ("b", 1, 2)]
    plain = post(server, "/tokenize", {"inputs": ["ab", ""], "add_special_tokens": False}).json()
    assert [len(row) for row in plain] == [2, 0]
    prompted = post(server, "/tokenize", {"inputs": "ab", "prompt_name": "query"}).json()
    assert len(prompted[0]) == len("query: ab") + 2


def test_what_is_tokenized_can_be_decoded(server):
    rows = [[one["id"] for one in row] for row in post(server, "/tokenize", {"inputs": ["ab", "c"]}).json()]
    assert post(server, "/decode", {"ids": rows}).json() == ["ab", "c"]
    assert post(server, "/decode", {"ids": rows[0]}).json() == ["ab"]
    assert post(server, "/decode", {"ids": rows[0], "skip_special_tokens": False}).json() == ["<s>ab</s>"]


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/", {}, "inputs"),
        ("/", {"inputs": ["a"], "normalize": False}, "normalize"),
        ("/similarity", {"inputs": "a"}, "inputs"),
        ("/similarity", {"inputs": {"source_sentence": "a"}}, "sentences"),
        ("/similarity", {"inputs": {"source_sentence": ["a"], "sentences": ["b"]}}, "source_sentence"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"], "x": 1}}, "x"),
        ("/tokenize", {}, "inputs"),
        ("/tokenize", {"inputs": ["x" * 600_000] * 2}, "inputs"),
        ("/tokenize", {"inputs": "a", "prompt_name": "no-such"}, "no-such"),
        ("/decode", {}, "ids"),
        ("/decode", {"ids": []}, "ids"),
        ("/decode", {"ids": [[1], 2]}, "ids"),
        ("/decode", {"ids": [[9999]]}, "ids"),
        ("/decode", {"ids": [[True]]}, "ids"),
        ("/decode", {"ids": [["a"]]}, "ids"),
    ],
)
def test_what_is_refused_is_named_in_teis_shape(server, path, body, named):
    answer = post(server, path, body)
    assert answer.status_code == 400, answer.text
    assert f"'{named}'" in answer.json()["error"]
    assert answer.json()["error_type"] == "validation"


def test_another_model_is_not_found_in_teis_shape(server):
    answer = post(server, "/tokenize", {"inputs": "a", "model": "no-such"})
    assert answer.status_code == 404
    assert "is not served here" in answer.json()["error"]
