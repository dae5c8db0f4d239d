"""Quantised collections: what is shown, what is refused, and that a rescored search finds what an exact one finds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.quantization import edge_quantization, parse_quantization
from support.processes import embedded_qdrant

SIZE, POINTS = 128, 3000
KINDS = {
    "scalar": {"type": "int8", "quantile": 0.99, "always_ram": True},
    "binary": {"always_ram": True},
    "product": {"compression": "x8", "always_ram": True},
    "turbo": {"bits": "bits4", "always_ram": True},
}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"scalar": {}},
        {"scalar": {"type": "int4"}},
        {"scalar": {"type": "int8", "quantile": 0.2}},
        {"scalar": {"type": "int8"}, "binary": {}},
        {"binary": {"encoding": "three_bits"}},
        {"scalar": {"type": "int8", "bits": 8}},
        {"product": {}},
        {"product": {"compression": "x5"}},
        {"turbo": {"bits": "bits3"}},
        {"turbo": {}, "product": {"compression": "x4"}},
    ],
)
def test_what_is_no_quantisation_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ApiError):
        parse_quantization(wrong, "quantization_config")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_is_shown_can_be_given_again_and_reaches_the_store(kind: str) -> None:
    shown = parse_quantization({kind: KINDS[kind]}, "q")
    assert shown == {kind: KINDS[kind]} == parse_quantization(shown, "q")
    assert edge_quantization(shown).always_ram is True
    assert edge_quantization(None) is None


def clustered(rng: np.random.Generator) -> np.ndarray:
    """Vectors as models make them: near some hundred centres, not noise alone."""
    centres = rng.normal(size=(100, SIZE))
    rows = centres[rng.integers(0, 100, POINTS)] + 0.7 * rng.normal(size=(POINTS, SIZE))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.mark.parametrize(
    "kind", ["scalar", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("binary", "product", "turbo"))]
)
def test_a_rescored_search_finds_what_an_exact_one_finds_with_the_same_scores(kind: str, tmp_path: Path) -> None:
    rows = clustered(np.random.default_rng(3))
    with embedded_qdrant(tmp_path / "storage") as server, httpx.Client(base_url=server.url, timeout=60) as http:
        body = {
            "vectors": {"size": SIZE, "distance": "Cosine", "on_disk": True},
            "optimizers_config": {"indexing_threshold": 100},
            "quantization_config": {kind: KINDS[kind]},
        }
        assert http.put("/collections/q", json=body).status_code == 200
        assert http.get("/collections/q").json()["result"]["config"]["quantization_config"] == {kind: KINDS[kind]}
        points = [{"id": number, "vector": row.tolist()} for number, row in enumerate(rows)]
        assert http.put("/collections/q/points?wait=true", json={"points": points}).status_code == 200
        deadline = time.monotonic() + 60
        while http.get("/collections/q").json()["result"]["indexed_vectors_count"] < POINTS:
            assert time.monotonic() < deadline, "the index was not built"
            time.sleep(0.2)

        def found(row: np.ndarray, params: dict[str, Any]) -> dict[int, float]:
            asked = {"query": row.tolist(), "limit": 10, "params": params}
            answer = http.post("/collections/q/points/query", json=asked).json()
            return {point["id"]: point["score"] for point in answer["result"]["points"]}

        same, bare = [], []
        for row in rows[:40]:
            exact = found(row, {"exact": True, "quantization": {"ignore": True}})
            rescored = found(row, {"hnsw_ef": 256, "quantization": {"rescore": True, "oversampling": 8.0}})
            quantised = found(row, {"hnsw_ef": 256, "quantization": {"rescore": False}})
            same.append(len(exact.keys() & rescored.keys()) / 10)
            bare.append(max(abs(score - exact.get(point, score)) for point, score in quantised.items()))
            assert all(abs(score - exact.get(point, score)) < 1e-5 for point, score in rescored.items())
        assert np.mean(same) > 0.9
        assert max(bare) > 1e-5  # without rescoring the scores are the quantised vectors': it is quantised indeed
