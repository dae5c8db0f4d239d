"""A text in the place of a sparse vector, as qdrant-client sends it where no embedding library is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient, models

from embedserve.vectordb.bm25 import sparse_of
from embedserve.vectordb.errors import ApiError

from .conftest import Embedded

MODEL = "Qdrant/bm25"
TEXTS = ["the cat sat on the mat", "a dog chased the cat", "stocks fell and bonds rose", "bonds, bonds and bonds"]


def test_a_documents_words_weigh_by_how_often_they_occur_and_a_querys_do_not() -> None:
    asked = {"text": "bonds and bonds", "model": MODEL}
    document, query = (sparse_of(asked, "vector", query=query) for query in (False, True))
    assert document.indices == query.indices == edge.Bm25().embed_query("bonds").indices
    assert query.values == [1.0]
    assert document.values[0] > 1.0


def test_options_are_bm25s_own() -> None:
    def words(**options: Any) -> int:
        return len(sparse_of({"text": "Running the runs", "model": MODEL, "options": options}, "v", query=True).indices)

    assert words() == 1  # "the" is a stop word, the others have one stem
    assert words(stemmer={"type": "none"}, stopwords={"custom": []}) == 3
    assert words(min_token_len=4) == 0  # of the stem


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"text": "a", "model": "sentence-transformers/all-minilm-l6-v2"}, 501),
        ({"text": "a", "model": MODEL, "options": {"b": 2}}, 422),
        ({"text": "a", "model": MODEL, "options": {"avg_len": 0}}, 422),
        ({"text": "a", "model": MODEL, "options": {"language": "klingon"}}, 422),
        ({"text": "a", "model": MODEL, "options": {"gamma": 1}}, 400),
        ({"text": 1, "model": MODEL}, 400),
    ],
)
def test_what_is_no_bm25_is_refused(value: dict[str, Any], status: int) -> None:
    with pytest.raises(ApiError) as refusal:
        sparse_of(value, "vector", query=False)
    assert refusal.value.status == status


@pytest.mark.parametrize("grpc", [False, True], ids=["REST", "gRPC"])
def test_texts_are_stored_and_found_by_their_words(tmp_path: Path, grpc: bool) -> None:
    with Embedded(tmp_path / "storage", env={"QDRANT_GRPC_PORT": "0"}) as server:
        ports = {"grpc_port": server.grpc_port, "prefer_grpc": True} if grpc else {}
        client = QdrantClient(url=server.url, cloud_inference=True, **ports)
        client.create_collection(
            "texts", sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)}
        )
        points = [
            models.PointStruct(id=i, vector={"words": models.Document(text=text, model=MODEL)})
            for i, text in enumerate(TEXTS)
        ]
        client.upsert("texts", points)
        query = models.Document(text="which bonds rose?", model=MODEL)
        found = client.query_points("texts", query=query, using="words", limit=10).points
        assert [point.id for point in found] == [2, 3]
        nearest = models.NearestQuery(nearest=query)
        assert client.query_points("texts", query=nearest, using="words").points == found
        (stored,) = client.retrieve("texts", [2], with_vectors=True)
        wanted = edge.Bm25().embed_document(TEXTS[2])
        assert dict(zip(stored.vector["words"].indices, stored.vector["words"].values, strict=True)) == pytest.approx(
            dict(zip(wanted.indices, wanted.values, strict=True))
        )
