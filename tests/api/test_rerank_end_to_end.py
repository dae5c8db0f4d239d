"""Rerank over real cross-encoders in sentence-transformers layout, loaded from a folder by EMBEDDING_RERANK_MODEL:
the scores and the order of the library's own CrossEncoder. Tiny random checkpoints of three architectures."""

import time

import httpx
import numpy as np
import pytest

from support.live import real_server
from support.tiny_models import LIMIT, TEXTS, cross_encoder

pytestmark = pytest.mark.usefixtures("converted_here")

DOCUMENTS = [*TEXTS, TEXTS[1], "zwei Wörter ☃", " "]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {"typed": True, "activation": "Identity"}),  # as ms-marco-MiniLM is published
        pytest.param("xlm-roberta", {}, marks=pytest.mark.slow),
        pytest.param("modernbert", {}, marks=pytest.mark.slow),
    ],
)
def test_scores_are_the_librarys(kind, options, tmp_path):
    model = cross_encoder(kind, tmp_path, **options)
    if kind == "xlm-roberta":  # its tokenizer states no limit, and two rows of its table are no positions
        model.max_seq_length = LIMIT
    query = TEXTS[2]
    wanted = np.reshape(model.predict([(query, text) for text in DOCUMENTS]), -1)
    library = [row["corpus_id"] for row in model.rank(query, DOCUMENTS, top_k=3)]
    folder = str(tmp_path / "ce")
    with real_server(tmp_path, rerank_model=folder, backend="openvino", precision="fp32", cache="memory") as server:
        body = {"query": query, "documents": DOCUMENTS}
        for _ in range(2):  # computed, then from the cache
            answer = asked(server.url + "/v1/rerank", body)
            got = np.empty(len(DOCUMENTS))
            for row in answer["results"]:
                got[row["index"]] = row["relevance_score"]
            assert np.abs(got - wanted).max() < 1e-4
        best = asked(server.url + "/v2/rerank", {**body, "top_n": 3})["results"]
        assert [row["index"] for row in best] == library
        texts = asked(server.url + "/rerank", {"query": query, "texts": DOCUMENTS})
        assert [row["index"] for row in texts][:3] == library
        assert len(server.post({"input": "still embeds"}).json()["data"][0]["embedding"]) == 384


def asked(url, body):
    """The answer; while the reranker loads for longer than a request is held, asked again, as clients do."""
    while (answer := httpx.post(url, json=body, timeout=60)).status_code == 503:
        time.sleep(float(answer.headers["Retry-After"]))
    assert answer.status_code == 200, answer.text
    return answer.json()
