"""A question is answered by meaning and by words, and by whichever of them there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from embedserve.errors import IndexingFailed
from embedserve.indexing import search as searching
from embedserve.indexing.connection import Connection
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.first import answer, workspace_for
from embedserve.indexing.lexical import open_lexicon
from embedserve.indexing.progress import Display
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.rest import LightEmbedder, LightQdrant, is_simple, run
from embedserve.indexing.search import Answer, Query, find
from embedserve.indexing.store import Store
from embedserve.indexing.sync import Indexer, Report
from support.embedding_standin import EmbeddingStandIn

NOBODY = "http://127.0.0.1:1"
FUNCTION = '''def {name}(value):
    """Return what {name} makes of the value, {more}."""
    return value * 3


'''


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name, more in (("apple", "a red one"), ("banana", "bent"), ("cherry", "in pairs")):
        (root / f"{name}.py").write_text(FUNCTION.format(name=name, more=more))
    return root


@pytest.fixture
def where(service: EmbeddingStandIn, qdrant_url: str, tmp_path: Path) -> Connection:
    return Connection(service.url, qdrant_url, home=str(tmp_path / "home"))


async def index(where: Connection, workspace: Path) -> Report:
    store = Store(Qdrant(where.qdrant_url), str(workspace))
    embedder, report = Embedder(where.embeddings_url, patience=5), Report(str(workspace), store.collection)
    lexicon = where.lexicon_path(str(workspace))
    await Indexer(store, embedder, Display(quiet=True), lexicon=lexicon).sync(report)
    await embedder.close()
    return report


async def ask(where: Connection, workspace: Path, text: str, lexical: bool = True, **options: object) -> Answer:
    """By the light clients."""
    store, embedder = where.light(str(workspace))
    lexicon = open_lexicon(where.lexicon_path(str(workspace)) or "") if lexical else None
    return await find(store, embedder, Query(text, **options), lexicon)  # type: ignore[arg-type]


def paths(found: Answer) -> list[str]:
    return [hit.path for hit in found.hits]


async def test_both_halves_answer_and_every_hit_has_its_cosine(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    found = await ask(where, workspace, "what banana makes")
    assert paths(found)[0] == "banana.py"
    assert all(hit.score is not None and 0 < hit.score <= 1.0001 for hit in found.hits)
    assert (found.notes, found.embedded, found.missing) == ([], 1.0, False)


async def test_what_only_words_found_has_its_cosine_too(
    where: Connection, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(where, workspace)
    monkeypatch.setattr(searching, "CANDIDATES", 1)
    found = await ask(where, workspace, "cherry pairs", limit=1)
    everything = await ask(where, workspace, "cherry pairs", lexical=False, limit=10)
    assert {hit.path: round(hit.score or 0, 4) for hit in found.hits}.items() <= {
        hit.path: round(hit.score or 0, 4) for hit in everything.hits
    }.items()


async def test_the_light_clients_and_httpx_give_the_same_answer(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    light = await ask(where, workspace, "what apple makes")
    async with where.open(str(workspace)) as (store, embedder):
        lexicon = open_lexicon(where.lexicon_path(str(workspace)) or "")
        heavy = await find(store, embedder, Query("what apple makes"), lexicon)
    assert [(h.path, h.why, round(h.score or 0, 5)) for h in light.hits] == [
        (h.path, h.why, round(h.score or 0, 5)) for h in heavy.hits
    ]


async def test_min_score_bounds_the_cosine_whichever_half_found_it(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    every = await ask(where, workspace, "what banana makes")
    bound = sorted(hit.score or 0 for hit in every.hits)[-2] + 1e-6
    assert [hit.score or 0 for hit in (await ask(where, workspace, "what banana makes", min_score=bound)).hits] == [
        max(hit.score or 0 for hit in every.hits)
    ]
    with pytest.raises(IndexingFailed, match="does not answer"):
        await ask(Connection(NOBODY, NOBODY, home=where.home), workspace, "banana", min_score=0.1)


@pytest.mark.parametrize("away", ["service", "qdrant", "both"])
async def test_words_answer_and_say_so_where_something_is_away(where: Connection, workspace: Path, away: str) -> None:
    await index(where, workspace)
    broken = Connection(
        where.embeddings_url if away == "qdrant" else NOBODY,
        where.qdrant_url if away == "service" else NOBODY,
        home=where.home,
    )
    found = await ask(broken, workspace, "cherry")
    assert paths(found) == ["cherry.py"]
    assert found.hits[0].score is None
    assert found.hits[0].shown_score == "by words"
    assert found.notes[0].startswith("by words alone: ")
    assert "does not answer" in found.notes[0]
    with pytest.raises(IndexingFailed, match="does not answer"):
        await ask(broken, workspace, "cherry", lexical=False)


async def test_by_words_asks_nobody(where: Connection, service: EmbeddingStandIn, workspace: Path) -> None:
    await index(where, workspace)
    before = service.requests
    found = await ask(where, workspace, "cherry", by_words=True)
    assert (paths(found), found.notes, service.requests) == (["cherry.py"], [], before)


async def test_chunks_without_a_vector_are_found_and_the_share_is_said(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    store = Store(Qdrant(where.qdrant_url), str(workspace))
    await store.delete_files(["cherry.py"])
    found = await ask(where, workspace, "cherry in pairs")
    assert paths(found)[0] == "cherry.py"
    assert found.hits[0].score is None
    assert found.notes[0].startswith("67% of the chunks have a vector")


async def test_another_model_is_said_and_words_answer(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    with EmbeddingStandIn(dimension=32, model="other") as other:
        found = await ask(Connection(other.url, where.qdrant_url, home=where.home), workspace, "cherry")
    assert paths(found) == ["cherry.py"]
    assert "vectors of 64 dimensions" in found.notes[0]


async def test_a_folder_that_was_never_indexed_answers_by_words_at_once(
    where: Connection, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr("embedserve.indexing.first.start_vectors", lambda _where, folder: started.append(folder) or "x")
    store, embedder = where.light(str(workspace))
    found = await answer(where, store, embedder, Query("cherry"))
    assert paths(found) == ["cherry.py"]
    assert f"{workspace}: the words of 3 files were indexed now" in found.notes[0]
    assert started == [str(workspace)]
    away = Connection(NOBODY, NOBODY, home=where.home)
    assert paths(await answer(away, *away.light(str(workspace)), Query("banana"))) == ["banana.py"]
    assert started == [str(workspace)]


@pytest.mark.parametrize("bad", ["home", "root"])
def test_nobody_means_to_index_all_of_a_home_or_a_disk(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(IndexingFailed, match="too much to index unasked"):
        workspace_for({"home": str(tmp_path), "root": "/"}[bad])
    (tmp_path / "code" / ".git").mkdir(parents=True)
    (tmp_path / "code" / "src").mkdir()
    assert workspace_for(str(tmp_path / "code" / "src")) == str(tmp_path / "code")


async def test_light_clients_say_what_is_wrong_in_the_same_words(
    service: EmbeddingStandIn, qdrant_url: str, workspace: Path
) -> None:
    async def failure(embedder: Embedder | LightEmbedder) -> str:
        with pytest.raises(IndexingFailed) as caught:
            await embedder.embed(["text"])
        await embedder.close()
        return caught.value.message

    service.key = "right"
    light, heavy = LightEmbedder(service.url, "wrong", "m"), Embedder(service.url, "wrong", "m", patience=0)
    assert await failure(light) == await failure(heavy)
    assert "refused" in (await failure(LightEmbedder(NOBODY, None, "m"))).lower()
    with pytest.raises(IndexingFailed, match="answered 404"):
        await LightQdrant(qdrant_url).call("GET", "/nothing")
    with pytest.raises(IndexingFailed, match="does not answer"):
        await LightQdrant(NOBODY).call("GET", "/")


def test_only_what_never_waits_is_run_without_a_loop() -> None:
    async def ready() -> int:
        return 3

    assert run(ready()) == 3


def test_proxies_and_tls_are_for_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:1")
    assert is_simple("http://127.0.0.1:6333")
    assert not is_simple("http://qdrant.example:6333")
    assert not is_simple("https://127.0.0.1:6333")


async def test_a_cross_encoder_puts_the_best_in_order_only_when_it_is_asked(
    where: Connection, service: EmbeddingStandIn, workspace: Path
) -> None:
    await index(where, workspace)
    service.reranker = lambda _query, text: 1.0 if "cherry.py > cherry" in text else 0.0
    assert paths(await ask(where, workspace, "what banana makes"))[0] == "banana.py"
    found = await ask(where, workspace, "what banana makes", rerank=True)
    assert paths(found) == ["cherry.py", "banana.py", "apple.py"]
    assert "reranked 1.000" in found.hits[0].why
    async with where.open(str(workspace)) as (store, embedder):
        heavy = await find(store, embedder, Query("what banana makes", rerank=True), None)
    assert paths(heavy)[0] == "cherry.py"


async def test_chunks_beyond_the_best_keep_their_places(
    where: Connection, service: EmbeddingStandIn, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await index(where, workspace)
    service.reranker = lambda _query, text: 1.0 if "cherry" in text else 0.0
    monkeypatch.setattr(searching, "RERANKED", 1)
    assert paths(await ask(where, workspace, "what banana makes", rerank=True))[0] == "banana.py"


async def test_where_no_reranker_is_served_it_is_said_and_the_order_stays(where: Connection, workspace: Path) -> None:
    await index(where, workspace)
    found = await ask(where, workspace, "what banana makes", rerank=True)
    assert paths(found)[0] == "banana.py"
    assert found.notes[0].startswith("not reranked: ")
    assert "no reranker is served" in found.notes[0]


@pytest.mark.slow
async def test_a_real_cross_encoder_behind_the_real_service_orders_a_search(
    where: Connection, workspace: Path, tmp_path: Path
) -> None:
    """Tiny random weights: the order means nothing, but it is the library's own."""
    pytest.importorskip("sentence_transformers")
    from support.live import real_server
    from support.tiny_models import cross_encoder

    await index(where, workspace)
    model = cross_encoder("bert", tmp_path)
    texts = []
    for name in ("apple", "banana", "cherry"):
        texts.append(f"{name}.py > {name}\n" + (workspace / f"{name}.py").read_text().rstrip())
    wanted = [
        ("apple.py", "banana.py", "cherry.py")[row["corpus_id"]] for row in model.rank("what banana makes", texts)
    ]
    served = {"rerank_model": str(tmp_path / "ce"), "backend": "openvino", "precision": "fp32"}
    with real_server(tmp_path, **served) as server:
        reranker = LightEmbedder(server.url + "/v1")
        store, embedder = where.light(str(workspace))
        embedder.rerank = reranker.rerank  # type: ignore[method-assign]  # the vectors are the stand-in's
        found = await find(store, embedder, Query("what banana makes", rerank=True), None)
    assert paths(found) == wanted
