"""Models that come into memory and leave it: who waits, who goes, what never happens. On fake models."""

import asyncio
import contextlib
import random
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from embedserve.backends.fake import FakeBackend, FakeTokenizer
from embedserve.engine.memory import MemoryGovernor
from embedserve.errors import ModelUnavailable, NotReady
from embedserve.models.spec import ModelSpec
from embedserve.serving import housekeeping, residents
from embedserve.serving.admission import Admission
from embedserve.serving.entry import ModelEntry, ServedModel
from embedserve.serving.loading import Found, Loaded
from embedserve.serving.residents import Residents
from embedserve.serving.runtime import Runtime
from embedserve.settings import Settings
from support.live import LiveServer

DIMENSIONS = {"a": 4, "b": 6, "c": 8}  # so that an answer tells whose it is
BIG = {"user": "x" * 5000}  # makes a request a large one


def spec(name):
    return ModelSpec(id=name, architecture="bert", dimension=DIMENSIONS[name], max_tokens=512)


class Disk:
    """Where fake models come from. `gates[name]`: an Event that its load waits for. `broken`: what its load raises."""

    def __init__(self):
        self.gates, self.broken, self.backends, self.loads = {}, {}, {}, []

    def load(self, name, _settings=None):
        self.loads.append(name)
        if name in self.gates:
            assert self.gates[name].wait(30)
        if name in self.broken:
            raise self.broken[name]
        self.backends[name] = FakeBackend(DIMENSIONS[name])
        return Loaded(spec(name), self.backends[name], FakeTokenizer(), "0", "folder")

    def find(self, name, _settings=None):
        if name not in DIMENSIONS:
            raise ModelUnavailable(f"there is no {name}")
        return Found(spec(name), "0", "folder", "", 0)


@contextlib.contextmanager
def serving(disk, model="a,b,c", **settings):
    runtime = Runtime(Settings(**{"cache": "off", "port": 0, "model": model, **settings}), disk.load, disk.find)
    with LiveServer(runtime) as server:
        server.wait_for(lambda: not runtime.loading)
        yield server


def ask(server, model, **more):
    return httpx.post(server.url + "/v1/embeddings", json={"model": model, "input": "text", **more}, timeout=30)


def in_threads(server, count, model, **more):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask(server, model, **more))) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


def dimension_of(answer):
    assert answer.status_code == 200, answer.text
    return len(answer.json()["data"][0]["embedding"])


def states(server):
    return {one["id"]: one["state"] for one in httpx.get(server.url + "/v1/models").json()["data"]}


def test_only_the_default_model_is_loaded_at_start_and_the_others_on_their_first_request():
    disk = Disk()
    with serving(disk) as server:
        assert disk.loads == ["a"]
        assert states(server) == {"a": "loaded", "b": "on disk", "c": "on disk"}
        assert dimension_of(ask(server, "c")) == DIMENSIONS["c"]
        assert dimension_of(ask(server, "a")) == DIMENSIONS["a"]
        assert dimension_of(ask(server, "c")) == DIMENSIONS["c"]
        assert disk.loads == ["a", "c"]
        assert states(server) == {"a": "loaded", "b": "on disk", "c": "loaded"}
        health = httpx.get(server.url + "/health").json()
        assert (health["models"], health["models_loaded"]) == (["a", "b", "c"], ["a", "c"])


def test_preload_loads_every_model_at_start():
    disk = Disk()
    with serving(disk, preload=True) as server:
        assert disk.loads == ["a", "b", "c"]
        assert set(states(server).values()) == {"loaded"}


@pytest.mark.parametrize(("model", "said"), [("a,zz", "there is no zz"), ("a,b,a", "names a twice"), (",", "no model")])
def test_a_name_that_leads_nowhere_or_comes_twice_ends_the_start(model, said):
    disk = Disk()
    runtime = Runtime(Settings(cache="off", model=model), disk.load, disk.find)

    async def body():
        await runtime.load()
        await runtime.close()

    asyncio.run(body())
    assert said in runtime.failure.message


def test_requests_for_a_loading_model_wait_and_hold_up_no_other_model():
    """All slots would be taken by those who wait, if they kept them."""
    disk = Disk()
    gate = disk.gates["b"] = threading.Event()
    with serving(disk, semaphore_value=2) as server:
        threads, answers = in_threads(server, 6, "b", **BIG)
        server.wait_for(lambda: disk.loads == ["a", "b"])
        assert states(server)["b"] == "loading"
        time.sleep(0.2)
        start = time.monotonic()
        others, theirs = in_threads(server, 4, "a", **BIG)
        for thread in others:
            thread.join()
        assert [dimension_of(answer) for answer in theirs] == [DIMENSIONS["a"]] * 4
        assert time.monotonic() - start < 5  # the gate is still shut
        assert not answers
        gate.set()
        for thread in threads:
            thread.join()
        assert [dimension_of(answer) for answer in answers] == [DIMENSIONS["b"]] * 6
        assert disk.loads == ["a", "b"]
        server.wait_for(lambda: server.runtime.admission.active == server.runtime.admission.waiting == 0)


def test_who_waits_too_long_gets_503_with_retry_after_and_the_load_goes_on(monkeypatch):
    monkeypatch.setattr(residents, "HOLD", 0.3)
    disk = Disk()
    gate = disk.gates["b"] = threading.Event()
    with serving(disk) as server:
        answer = ask(server, "b")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "b is loading" in answer.json()["error"]["message"]
        gate.set()
        server.wait_for(lambda: states(server)["b"] == "loaded")
        assert dimension_of(ask(server, "b")) == DIMENSIONS["b"]
        assert disk.loads == ["a", "b"]


def test_a_large_request_has_more_patience_than_a_search(monkeypatch):
    """Regression: a load of over 10 s on a busy machine refused whole batches of an indexing client."""
    monkeypatch.setattr(residents, "HOLD", 0.2)
    disk = Disk()
    gate = disk.gates["b"] = threading.Event()
    with serving(disk) as server:
        threads, answers = in_threads(server, 1, "b", **BIG)
        assert ask(server, "b").status_code == 503
        gate.set()
        threads[0].join()
        assert dimension_of(answers[0]) == DIMENSIONS["b"]


def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind():
    disk = Disk()
    gate = disk.gates["b"] = threading.Event()
    with serving(disk) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(server.url + "/v1/embeddings", json={"model": "b", "input": "x"}, timeout=0.5)
        entry = server.runtime.entries[1]
        server.wait_for(lambda: entry.waiting == 0)
        assert server.runtime.admission.active == server.runtime.admission.waiting == 0
        gate.set()
        assert dimension_of(ask(server, "b")) == DIMENSIONS["b"]


def test_a_load_that_fails_says_why_spares_the_other_models_and_is_tried_again(monkeypatch):
    disk = Disk()
    disk.broken["b"] = ModelUnavailable("its weights are torn")
    with serving(disk) as server:
        for _ in range(2):
            answer = ask(server, "b")
            assert answer.status_code == 503
            assert "b could not be loaded: its weights are torn" in answer.json()["error"]["message"]
        assert disk.loads == ["a", "b"]  # the second request did not try again at once
        assert states(server)["b"] == "failed"
        assert dimension_of(ask(server, "a")) == DIMENSIONS["a"]
        assert httpx.get(server.url + "/ready").status_code == 200
        disk.broken.clear()
        monkeypatch.setattr(residents, "_RETRY_AFTER", 0.0)
        assert dimension_of(ask(server, "b")) == DIMENSIONS["b"]


def test_an_idle_model_leaves_memory_and_comes_back_and_one_in_use_stays(monkeypatch):
    monkeypatch.setattr(housekeeping, "_TICK", 0.05)
    disk = Disk()
    with serving(disk, model="a,b", keep_alive=0.5) as server:
        ask(server, "b")
        first = disk.backends["a"]
        disk.backends["b"].delay = 1.5  # in use for longer than it may be idle
        threads, answers = in_threads(server, 1, "b", input="slow")
        server.wait_for(lambda: states(server)["a"] == "on disk")
        server.wait_for(lambda: first.closed)  # behind its state
        assert states(server)["b"] == "loaded"
        threads[0].join()
        assert dimension_of(answers[0]) == DIMENSIONS["b"]
        server.wait_for(lambda: states(server) == {"a": "on disk", "b": "on disk"})
        health = httpx.get(server.url + "/health").json()
        assert (health["status"], health["model_loaded"], health["embedding_dim"]) == ("healthy", False, 4)
        assert httpx.get(server.url + "/ready").status_code == 200
        assert dimension_of(ask(server, "")) == DIMENSIONS["a"]
        assert not [t.name for t in threading.enumerate() if t.name == "b"]


def test_without_keep_alive_nothing_leaves(monkeypatch):
    monkeypatch.setattr(housekeeping, "_TICK", 0.05)
    disk = Disk()
    with serving(disk, model="a,b") as server:
        ask(server, "b")
        for entry in server.runtime.entries:
            entry.last_used -= 1e6
        time.sleep(0.3)
        assert set(states(server).values()) == {"loaded"}


# The policy of memory, on models whose size is known.

SIZES = {"a": 300, "b": 400, "c": 500}
LIMIT, BASE = 1000, 100


class Memory:
    """Residents on a pretended machine of LIMIT bytes, all of which may be used."""

    def __init__(self, limit=LIMIT, percent=100.0, keep_alive=0.0):
        self.used, self.most, self.closed = {}, 0, []
        self.admission = Admission(8, 8, 10)
        self.residents = Residents(
            load=self._load,
            warm=self._warm,
            governor=MemoryGovernor(limit=limit, percent=percent, min_texts=1, max_texts=1),
            admission=self.admission,
            keep_alive=keep_alive,
            rss=self.rss,
        )
        self.residents.entries = [ModelEntry(name, spec(name), bytes_needed=SIZES[name]) for name in SIZES]
        self.entries = {entry.name: entry for entry in self.residents.entries}

    def rss(self):
        now = BASE + sum(self.used.values())
        self.most = max(self.most, now)
        return now

    def _load(self, name):
        self.used[name] = SIZES[name]
        self.rss()
        return name

    async def _warm(self, name):
        async def close():
            self.used.pop(name)
            self.closed.append(name)

        engine = SimpleNamespace(close=close, backend=FakeBackend(DIMENSIONS[name]), name=name, open=True)
        return ServedModel(spec(name), engine, "0", "folder")

    async def touch(self, name):
        async with self.residents.use(self.entries[name]) as model:
            assert model.spec.id == name


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(residents, "_LEAST_STAY", 0.05)


def test_the_least_recently_used_model_makes_room():
    async def body():
        memory = Memory()
        await memory.touch("a")
        await memory.touch("b")
        await memory.touch("a")  # b is now the least recently used
        await memory.touch("c")
        assert memory.closed == ["b"]
        await memory.touch("b")
        assert memory.closed == ["b", "a"] or memory.closed == ["b", "a", "c"]
        assert memory.most <= LIMIT

    asyncio.run(body())


def test_a_model_in_use_goes_only_when_its_requests_have_ended_and_takes_no_new_ones():
    async def body():
        memory = Memory(limit=700)
        log = []

        async def long():
            async with memory.residents.use(memory.entries["a"]):
                log.append("a begins")
                await asyncio.sleep(0.3)
                assert memory.closed == []
                log.append("a ends")

        async def other():
            async with memory.residents.use(memory.entries["c"]):
                log.append("c")

        first = asyncio.create_task(long())
        await asyncio.sleep(0.1)
        second = asyncio.create_task(other())
        await asyncio.sleep(0.1)
        third = asyncio.create_task(memory.touch("a"))  # comes when a is to leave: it waits and gets a again
        await asyncio.gather(first, second, third)
        assert log == ["a begins", "a ends", "c"]
        assert memory.closed == ["a", "c"]
        assert memory.most <= 700

    asyncio.run(body())


def test_an_idle_model_goes_before_one_that_is_in_use_and_was_asked_for_earlier():
    async def body():
        memory = Memory()
        async with memory.residents.use(memory.entries["a"]):
            await memory.touch("b")
            await memory.touch("c")
            assert memory.closed == ["b"]

    asyncio.run(body())


def test_a_model_that_fits_beside_nothing_is_refused_with_its_size_and_the_others_come_back():
    async def body():
        memory = Memory(limit=550)
        await memory.touch("a")
        with pytest.raises(NotReady, match="c could not be loaded: c needs about"):
            await memory.touch("c")
        await memory.touch("a")
        assert memory.most <= 550

    asyncio.run(body())


def test_with_memory_short_an_idle_model_leaves_but_never_the_last_one():
    async def body():
        memory = Memory(percent=60.0)
        await memory.touch("a")
        await memory.residents.load(memory.entries["b"])  # as at start: whatever there is of memory
        await memory.residents.tidy()
        assert memory.closed == []  # used a moment ago
        later = time.monotonic() + 60
        await memory.residents.tidy(later)
        assert memory.closed == ["a"]
        memory.used["b"] = 900
        await memory.residents.tidy(later)
        assert memory.closed == ["a"]

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_memory_is_bounded_answers_are_right_and_nobody_is_forgotten(seed, monkeypatch):
    """Law: at random, requests of all lengths for three models of which two fit, some of whose clients leave."""
    monkeypatch.setattr(residents, "_LEAST_STAY", 0.01)
    chance = random.Random(seed)

    async def client(memory):
        for _ in range(12):
            name = chance.choice("abc")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.choice([0.005, 5])):
                    async with memory.residents.use(memory.entries[name]) as model:
                        for _ in range(chance.randrange(3)):
                            await asyncio.sleep(chance.random() * 0.01)
                            assert name in memory.used, "unloaded while it is used"
                        assert model.spec.id == name
            await asyncio.sleep(chance.random() * 0.01)

    async def body():
        memory = Memory(keep_alive=0.02)
        housekeeper = asyncio.create_task(_tidy_for_ever(memory))
        async with asyncio.timeout(60):
            await asyncio.gather(*(client(memory) for _ in range(8)))
            # loads whose clients have all left go on
            await asyncio.gather(*(entry.load for entry in memory.entries.values() if entry.load))
        housekeeper.cancel()
        await asyncio.gather(housekeeper, return_exceptions=True)
        assert memory.most <= LIMIT
        assert all(entry.users == entry.waiting == 0 and not entry.leaving for entry in memory.entries.values())
        await memory.residents.close()

    asyncio.run(body())


async def _tidy_for_ever(memory):
    while True:
        await memory.residents.tidy()
        await asyncio.sleep(0.005)
