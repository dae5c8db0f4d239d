"""The Python API: the engine with real MiniLM weights and a tiny Gemma 3, alone and from many threads."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from embedserve import service
from embedserve.errors import InvalidRequest, NotReady, SettingsError, SetupError
from embedserve.service import EmbeddingService
from support.tiny_models import sentence_transformer

PROMPTS = {"query": "task: search result | query: ", "document": "title: none | text: "}
TITLE = "title: {title} | text: "


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDDING_HOME", str(tmp_path_factory.mktemp("home")))
        with EmbeddingService("all-MiniLM-L6-v2", device="cpu", dtype="float32") as made:
            yield made


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """(the service on a tiny Gemma 3 that was trained to be cut, the library on the same files)."""
    folder = tmp_path_factory.mktemp("gemma")
    reference = sentence_transformer("gemma3_text", folder, prompts=PROMPTS)
    half = reference.get_embedding_dimension() // 2

    def load(name, settings):
        loaded = load_as_it_is(name, settings)
        spec = replace(loaded.spec, matryoshka=(loaded.spec.dimension, half), title_prompt=TITLE)
        return replace(loaded, spec=spec)

    load_as_it_is = service.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EMBEDDING_HOME", str(folder / "home"))
        patch.setattr(service, "load", load)
        made = EmbeddingService(str(folder / "st"), device="cpu", dtype="float32")
    with made:
        yield made, reference, half


def cosines(got, wanted):
    wanted = np.asarray(wanted, dtype=np.float64)
    return (got * wanted / np.linalg.norm(wanted, axis=-1, keepdims=True)).sum(-1)


def test_minilm_gives_the_published_values(minilm):
    vector = minilm.embed("hello world")
    assert (vector.shape, vector.dtype) == ((384,), np.float32)
    np.testing.assert_allclose(vector[:5], [-0.034478, 0.03102, 0.00673, 0.02611, -0.039362], atol=1e-3)


def test_a_list_keeps_its_order_and_an_empty_one_has_the_dimension(minilm):
    texts = ["b", "a much longer text than the others " * 9, "b", ""]
    rows = minilm.embed(texts)
    assert rows.shape == (4, 384)
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert minilm.embed([]).shape == (0, 384)


def test_a_model_without_sides_embeds_queries_and_documents_as_they_are(minilm):
    plain = minilm.embed("x")
    np.testing.assert_array_equal(minilm.embed_query("x"), plain)
    np.testing.assert_array_equal(minilm.embed_documents(["x"])[0], plain)
    with pytest.raises(InvalidRequest, match="takes no title"):
        minilm.embed_documents("x", title="t")


def test_only_trained_dimensions_are_supported(minilm):
    assert minilm.supported_dimensions() == (384,)
    assert minilm.is_dimension_supported(384)
    assert not minilm.is_dimension_supported(256)
    with pytest.raises(InvalidRequest, match="not trained for 256 dimensions; allowed: 384"):
        minilm.embed("x", dimensions=256)


def test_similarity_is_the_cosine_in_the_stated_shapes(minilm):
    a, b = np.array([[3.0, 0], [0, 2]]), np.array([[1.0, 1], [0, 0], [-1, 0]])
    np.testing.assert_allclose(minilm.similarity(a, b), [[0.5**0.5, 0, -1], [0.5**0.5, 0, 0]], atol=1e-7)
    assert minilm.similarity(a[0], b).shape == (3,)
    assert minilm.similarity(a, b[0]).shape == (2,)
    assert float(minilm.similarity(a[0], a[0])) == pytest.approx(1)
    with pytest.raises(ValueError, match="2 and of 3"):
        minilm.similarity(a, [1, 2, 3])


def test_many_threads_get_their_own_vectors(minilm):
    texts = [f"text {i} " + "word " * (i % 17) for i in range(64)]
    wanted = minilm.embed(texts)
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(minilm.embed, texts))
    np.testing.assert_allclose(np.stack(got), wanted, atol=1e-5)


def test_it_works_inside_a_running_event_loop(minilm):
    async def inside():
        return minilm.embed("x")

    np.testing.assert_array_equal(asyncio.run(inside()), minilm.embed("x"))


def test_a_wrong_element_is_named(minilm):
    with pytest.raises(InvalidRequest, match="element 1 is a int"):
        minilm.embed(["a", 3])


@pytest.mark.slow
def test_gemma_equals_the_library_with_and_without_prompts(gemma):
    made, reference, _ = gemma
    texts = ["def f(): pass", "a longer text " * 30]
    assert cosines(made.embed(texts), reference.encode(texts)).min() > 0.99999
    assert cosines(made.embed_query(texts), reference.encode(texts, prompt_name="query")).min() > 0.99999
    assert cosines(made.embed_documents(texts), reference.encode(texts, prompt_name="document")).min() > 0.99999
    assert made.prompts["query"] == PROMPTS["query"]


def test_gemmas_documents_have_titles_one_for_all_or_one_each(gemma):
    made, reference, _ = gemma
    wanted = reference.encode(["title: A | text: x", "title: B | text: y"])
    assert cosines(made.embed_documents(["x", "y"], title=["A", "B"]), wanted).min() > 0.99999
    assert cosines(made.embed_documents("x", title="A"), wanted[0]) > 0.99999
    with pytest.raises(InvalidRequest, match="one for each text"):
        made.embed_documents(["x", "y"], title=["A"])


def test_gemmas_vectors_are_cut_and_then_normalised(gemma):
    made, reference, half = gemma
    cut = made.embed("some text", dimensions=half)
    assert cut.shape == (half,)
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)
    assert cosines(cut, reference.encode("some text")[:half]) > 0.99999
    assert made.supported_dimensions() == (2 * half, half)


def test_float16_is_refused_for_gemma_with_the_reason(gemma, tmp_path, monkeypatch):
    sentence_transformer("gemma3_text", tmp_path)
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path / "home"))
    with pytest.raises(SettingsError, match=r"fp16 is wrong.*overflow"):
        EmbeddingService(str(tmp_path / "st"), device="cpu", dtype="float16")


def test_an_unknown_dtype_is_named():
    with pytest.raises(SettingsError, match="dtype is 'float8'"):
        EmbeddingService(dtype="float8")


def test_after_close_calls_say_so_and_no_thread_is_left(monkeypatch):
    monkeypatch.setenv("EMBEDDING_BACKEND", "fake")
    before = set(threading.enumerate())
    with EmbeddingService() as made:
        assert made.embed("x", dimensions=4).shape == (4,)
    made.close()
    with pytest.raises(NotReady, match="closed"):
        made.embed("x")
    left = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("tokenise")]
    assert left == [], left


@pytest.mark.filterwarnings("ignore")
def test_a_prompt_that_is_not_pooled_is_seen_and_not_counted(tmp_path, monkeypatch):
    model = sentence_transformer("bert", tmp_path, include_prompt=False, prompts={"query": "select name: "})
    monkeypatch.setenv("EMBEDDING_HOME", str(tmp_path))
    texts = ["def add(a, b)", "x", "import os"]
    wanted = model.encode(texts, prompt_name="query", normalize_embeddings=True)
    with EmbeddingService(str(tmp_path / "st"), dtype="float32") as made:
        assert np.abs(made.embed_query(texts) - wanted).max() < 1e-5
        assert np.abs(made.embed(texts) - wanted).max() > 1e-2


def test_a_cross_encoder_is_refused_by_name(monkeypatch):
    load_as_it_is = service.load

    def load(name, settings):
        loaded = load_as_it_is(name, settings.model_copy(update={"backend": "fake"}))
        return replace(loaded, spec=replace(loaded.spec, task="score"))

    monkeypatch.setattr(service, "load", load)
    with pytest.raises(SetupError, match="cross-encoder"):
        EmbeddingService("fake")
