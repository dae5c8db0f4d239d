"""Cross-encoders, and models that do not pool a prompt: from files to the engine's answers, equal to the library."""

import asyncio

import numpy as np
import pytest

from embedserve.errors import ContextLengthExceeded, InvalidRequest
from embedserve.serving.loading import load
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings
from support.tiny_models import TEXTS, cross_encoder, sentence_transformer

pytestmark = pytest.mark.usefixtures("converted_here")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def served(folder, home, test):
    async def body():
        settings = Settings(home=home, model=str(folder), backend="openvino", precision="fp32", cache="memory")
        runtime = Runtime(settings)
        await runtime.load()
        try:
            assert runtime.failure is None, runtime.failure
            return await test(runtime.models[0].engine)
        finally:
            await runtime.close()

    return asyncio.run(body())


@pytest.mark.parametrize("labels", [1, 3])
def test_a_cross_encoder_scores_as_the_library_does_twice_and_is_asked_for_no_embedding(labels, tmp_path):
    model = cross_encoder("bert", tmp_path, labels=labels)
    documents = [*TEXTS[:6], TEXTS[1]]
    wanted = np.reshape(model.predict([(TEXTS[0], text) for text in documents]), (7, labels))

    async def test(engine):
        answer = await engine.score(TEXTS[0], documents)
        assert np.abs(answer.vectors - wanted).max() < 1e-4
        assert answer.tokens > 0
        again = await engine.score(TEXTS[0], documents)
        np.testing.assert_array_equal(again.vectors, answer.vectors)
        assert again.cached == 7
        with pytest.raises(InvalidRequest, match="cross-encoder"):
            await engine.embed(["x"])
        with pytest.raises(InvalidRequest, match="cross-encoder"):
            await engine.embed_ids([np.array([1, 2], dtype=np.int32)])
        with pytest.raises(ContextLengthExceeded):
            await engine.score(TEXTS[0], ["word " * 2000], truncate=False)

    served(tmp_path / "ce", tmp_path, test)


def test_a_prompt_that_is_not_pooled_changes_the_vector_as_the_library_says(tmp_path):
    model = sentence_transformer("bert", tmp_path, "mean", include_prompt=False, prompts={"query": "select name: "})
    wanted = unit(model.encode(TEXTS[:6], prompt_name="query"))
    plain = unit(model.encode(TEXTS[:6]))

    async def test(engine):
        got = (await engine.embed(TEXTS[:6], prefix="select name: ")).vectors
        assert (got * wanted).sum(1).min() > 1 - 1e-5
        assert ((await engine.embed(TEXTS[:6])).vectors * plain).sum(1).min() > 1 - 1e-5

    served(tmp_path / "st", tmp_path, test)


def test_a_model_of_embeddings_scores_no_pairs(tmp_path):
    loaded = load("fake", Settings(home=tmp_path, backend="fake"))
    assert loaded.spec.pools_prompt

    async def body():
        runtime = Runtime(Settings(home=tmp_path, backend="fake", model="fake", cache="off"))
        await runtime.load()
        with pytest.raises(InvalidRequest, match="does not score pairs"):
            await runtime.models[0].engine.score("x", ["y"])
        await runtime.close()

    asyncio.run(body())
