"""The engine on a fake backend: token ids, cuts, and workers that die, hang, give NaN or cannot give memory back."""

import asyncio
import logging
import threading

import numpy as np
import pytest

from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.engine import crew, worker
from embedserve.engine.engine import Engine, _assemble
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import InferenceFailed, InvalidRequest, NotReady


def governor():
    return MemoryGovernor(limit=1 << 30, percent=70, min_texts=1, max_texts=64, rss=lambda: 0)


def with_engine(test, backend=None, max_tokens=16):
    async def body():
        engine = Engine("fake", backend or FakeBackend(), FakeTokenizer(), max_tokens, governor())
        await engine.start()
        try:
            return await asyncio.wait_for(test(engine), 20)
        finally:
            await engine.close()

    return asyncio.run(body())


async def until(condition):
    while not condition():
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(crew, "_LOOK_EVERY", 0.02)
    monkeypatch.setattr(crew, "_PROBE_EVERY", 0.05)


def ids(*content):
    return np.array([0, *content, 1], dtype=np.int32)


def test_ids_over_the_limit_are_cut_as_a_text_is_with_their_closing_special_token():
    """Regression: cut ids lost it, so the same text gave two vectors."""

    async def test(engine):
        (text,) = (await engine.embed(["x" * 40])).vectors
        (row,) = (await engine.embed_ids([FakeTokenizer().encode(["x" * 40], 100)[0].ids])).vectors
        np.testing.assert_array_equal(text, row)

    with_engine(test)


@pytest.mark.parametrize("foreign", [[755, 92], [5], [0, 7, 7], [7, 7, 1]])
def test_ids_of_another_tokenizer_are_refused_with_the_way_out(foreign):
    """LangChain's default sends cl100k: a wrong vector with 200 is worse than an error."""

    async def test(engine):
        with pytest.raises(InvalidRequest, match=r"vocabulary|check_embedding_ctx_length=False"):
            await engine.embed_ids([np.array(foreign, dtype=np.int32)])

    with_engine(test)


def test_a_cut_to_components_that_are_all_zero_is_the_requests_error_and_not_nan():
    class Half(FakeBackend):
        def vector(self, ids):
            return np.array([ids[1] == 2 + ord("a"), 0, 0, 0, 1, 2, 3, 4], dtype=np.float32)

    async def test(engine):
        with pytest.raises(InvalidRequest, match="input 2 has a vector whose first 4 components") as caught:
            await engine.embed(["a", "a", "x", "a"], dimension=4)
        assert caught.value.status == 400
        np.testing.assert_array_equal((await engine.embed(["a"], dimension=4)).vectors, [[1, 0, 0, 0]])
        assert np.isfinite((await engine.embed(["x"])).vectors).all()

    with_engine(test, Half())


def test_one_text_that_gives_nan_fails_alone_and_the_model_stays_ready():
    """Regression: one NaN row kept /ready red until that very worker succeeded again."""

    class Nan(FakeBackend):
        def vector(self, sequence):
            vector = super().vector(sequence)
            return vector * np.nan if len(sequence) == 5 else vector

    async def test(engine):
        backend.delay = 0.05
        first = asyncio.create_task(engine.embed(["x" * 9]))
        await asyncio.sleep(0.02)
        answers = await asyncio.gather(engine.embed(["abc"]), engine.embed(["de"]), first, return_exceptions=True)
        assert [type(a).__name__ for a in answers] == ["InferenceFailed", "Embedded", "Embedded"]
        assert engine.problem == ""

    backend = Nan()
    with_engine(test, backend)


def test_a_model_that_failed_is_ready_again_by_itself_when_it_is_well():
    async def test(engine):
        def broken(_batch):
            raise ValueError("no")

        backend.fail = broken
        with pytest.raises(InferenceFailed):
            await engine.embed(["x"])
        assert "ValueError" in engine.problem
        await asyncio.sleep(0.2)
        assert engine.problem, "the probes fail too: it is not well"
        backend.fail = None
        await until(lambda: not engine.problem)

    backend = FakeBackend()
    with_engine(test, backend)


def test_a_failure_is_seen_for_a_while_before_a_probe_forgives_it(monkeypatch):
    """Regression: the supervisor's look could fall between a failure and whoever asked /ready next."""
    monkeypatch.setattr(crew, "_PROBE_EVERY", 1000.0)

    async def test(engine):
        def once(_batch):
            backend.fail = None
            raise ValueError("no")

        backend.fail = once
        with pytest.raises(InferenceFailed):
            await engine.embed(["x"])
        await asyncio.sleep(0.2)  # ten looks
        assert engine.problem

    backend = FakeBackend()
    with_engine(test, backend)


def test_a_worker_that_dies_fails_its_requests_and_is_replaced():
    """Regression: a dead worker closed the backlog for good."""

    async def test(engine):
        class Fatal(BaseException):
            pass

        def fatal(_batch):
            backend.fail = None
            raise Fatal

        backend.fail = fatal
        with pytest.raises(NotReady, match="send the request again"):
            await engine.embed(["x"])
        assert (await engine.embed(["y"])).vectors.shape == (1, 8)
        await until(lambda: not engine.problem)

    backend = FakeBackend()
    with_engine(test, backend)


def test_a_hung_inference_fails_its_requests_and_others_are_served(monkeypatch, caplog):
    monkeypatch.setattr(worker, "STALLED_SECONDS", 0.2)

    async def test(engine):
        hang = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hanging(_batch):
            backend.fail = None
            asyncio.run_coroutine_threadsafe(hang.wait(), loop).result()

        backend.fail = hanging
        with pytest.raises(InferenceFailed, match="hangs"):
            await engine.embed(["x"])
        right = (await engine.embed(["x"])).vectors
        await until(lambda: not engine.problem)
        hang.set()  # what the hung one brings comes too late and changes nothing
        await until(lambda: "has come back" in caplog.text)
        np.testing.assert_array_equal((await engine.embed(["x"])).vectors, right)

    backend = FakeBackend()
    with caplog.at_level(logging.WARNING):
        with_engine(test, backend)


def raises():
    raise RuntimeError("busy")


@pytest.mark.parametrize("manner", ["raises", "hangs"])
def test_memory_that_cannot_be_given_back_costs_no_worker(manner, monkeypatch):
    monkeypatch.setattr(worker, "RELEASE_SECONDS", 0.05)
    freed = threading.Event()

    async def test(engine):
        def full(batch):
            if len(batch) > 1:
                raise MemoryError

        backend.fail, backend.release_memory = full, raises if manner == "raises" else freed.wait
        assert (await engine.embed(["x", "yy", "zzz"])).vectors.shape == (3, 8)
        assert engine.problem == ""
        freed.set()

    backend = FakeBackend()
    with_engine(test, backend)


def test_few_texts_are_spread_over_idle_streams():
    """Regression: eight texts of 102 tokens were one batch while three streams had nothing to do."""

    async def test(engine):
        backend.batches.clear()
        backend.delay = 0.1
        await engine.embed([f"{i}{'x' * 99}" for i in range(8)])
        assert sorted(map(len, backend.batches)) == [2, 2, 2, 2]

    backend = FakeBackend(streams=4)
    with_engine(test, backend, max_tokens=512)


def test_batches_are_short_while_somebody_searches():
    async def test(engine):
        (one,) = engine.crew.workers
        one.tokens_per_second = 1000.0
        engine.backlog.last_small = -1e9
        assert one.budget().tokens == 600
        await engine.embed(["x"])
        assert one.budget().tokens <= 256

    with_engine(test, max_tokens=512)


def test_counting_what_waits_walks_nothing_that_workers_change():
    """Regression: /health answered 500 under load."""

    async def test(engine):
        backend.delay = 0.3
        backend.batches.clear()
        first = asyncio.create_task(engine.embed(["first"]))
        await until(lambda: backend.batches)  # the only stream is busy
        tasks = [asyncio.create_task(engine.embed([f"{i} {j}" for j in range(10)])) for i in range(3)]
        await until(lambda: len(engine.backlog) == 30)
        tasks[2].cancel()
        await until(lambda: len(engine.backlog) == 20)
        await asyncio.gather(first, *tasks, return_exceptions=True)
        assert len(engine.backlog) == engine.backlog._waiting_tokens == 0

    backend = FakeBackend()
    with_engine(test, backend)


def test_scores_stay_as_they_are_and_a_score_of_zero_is_one():
    class Scores(FakeBackend):
        def vector(self, sequence):
            return np.array([len(sequence) - 6.0], dtype=np.float32)

    async def body():
        engine = Engine("fake", Scores(dimension=1), FakeTokenizer(), 64, governor(), scores=True)
        await engine.start()
        try:
            return (await engine.score("q", ["ab", "abcdef", ""])).vectors
        finally:
            await engine.close()

    assert asyncio.run(body())[:, 0].tolist() == [0, 4, -2]


def tokenising_threads(engine):
    """A list that gets the name of the thread of each call of the tokenizer."""
    names, encode = [], engine.tokenizer.encode

    def noted(texts, max_tokens):
        names.append(threading.current_thread().name)
        return encode(texts, max_tokens)

    engine.tokenizer.encode = noted
    return names


def test_a_short_text_makes_no_hop_and_a_long_one_leaves_the_loop_to_others():
    async def test(engine):
        names = tokenising_threads(engine)
        await engine.embed(["a search"])
        await engine.embed(["x" * 2000])
        await engine.embed(["y" * 5000])
        main, small, large = names
        assert main == threading.current_thread().name
        assert small.startswith("tokenise-small")
        assert large.startswith("tokenise_")

    with_engine(test)


def test_after_slow_steps_on_the_loop_the_next_ones_go_to_a_thread_and_one_slow_step_is_forgiven(monkeypatch):
    async def test(engine):
        names = tokenising_threads(engine)
        for slow in (0.0, 10.0, 0.0, 0.0, 0.0):
            monkeypatch.setattr("embedserve.engine.engine._SLOW_STEP", slow)
            await engine.embed([f"search {len(names)}"])
        assert names == [threading.current_thread().name] * 5
        await engine.embed(["afterwards"])
        assert names[5].startswith("tokenise-small")

    with_engine(test)


@pytest.mark.parametrize("centred", [False, True])
def test_a_cut_vector_loses_its_mean_first_only_where_the_model_wants_it(centred):
    """nomic-embed-text-v1.5: layer norm, cut, length 1. The layer norm's scale does not outlive the length."""
    full = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32) + 1
    full /= np.linalg.norm(full, axis=1, keepdims=True)
    cut = _assemble(list(full), [0, 1, 2, 1], 4, centred)
    before = (full - full.mean(axis=1, keepdims=True)) / full.std(axis=1, keepdims=True) if centred else full
    wanted = before[[0, 1, 2, 1], :4]
    np.testing.assert_allclose(cut, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(_assemble(list(full), [0, 1, 2], None, centred), full)


def test_a_text_that_comes_alone_has_the_whole_machine_and_one_beside_others_has_not():
    class Wide(FakeBackend):
        alone = 0

        def embed_alone(self, sequences):
            self.alone += 1
            return self.embed(sequences)

    async def test(engine):
        backend.alone = 0
        for i in range(3):
            await engine.embed([f"search {i}"])
        assert backend.alone == 3
        backend.delay = 0.05
        scan = asyncio.create_task(engine.embed([f"{i} " * 50 for i in range(2000)]))
        await until(lambda: len(engine.backlog) and engine.backlog._idle == 0)
        backend.alone = 0
        await asyncio.gather(*(engine.embed([f"a search beside it {i}"]) for i in range(5)))
        assert backend.alone == 0
        assert len(engine.backlog)  # it was beside it
        scan.cancel()
        await asyncio.gather(scan, return_exceptions=True)

    backend = Wide(streams=2)
    with_engine(test, backend, max_tokens=64)
