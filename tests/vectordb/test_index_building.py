"""The HNSW index is built beside the live collection: nothing waits for it, nothing written meanwhile is lost."""

import asyncio
import contextlib
import random

import pytest

from embedserve.vectordb import collection as collection_module
from embedserve.vectordb import hnsw_build
from embedserve.vectordb.payload_indexes import parse_index
from embedserve.vectordb.points import parse_scroll
from embedserve.vectordb.queries import parse_query
from embedserve.vectordb.schema import parse_collection
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.updates import parse_delete, parse_upsert
from embedserve.vectordb.vectors import Space

DIM, COUNT = 32, 600
SPACE = Space({"": DIM})
CONFIG = parse_collection(
    {
        "vectors": {"size": DIM, "distance": "Cosine", "on_disk": True},
        "hnsw_config": {"m": 8, "ef_construct": 32, "full_scan_threshold": 10},
        "optimizers_config": {"indexing_threshold": 10},
    }
)


@contextlib.asynccontextmanager
async def opened(folder, quiet=3600.0, **options):
    storage = Storage(folder, quiet=quiet, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def some(numbers, tag="old"):
    rng = random.Random(repr((list(numbers), tag)))
    points = [
        {"id": n, "vector": [rng.gauss(0, 1) for _ in range(DIM)], "payload": {"tag": tag, "group": n % 7}}
        for n in numbers
    ]
    return parse_upsert({"points": points}, SPACE)


async def state(collection):
    """Every point with its payload and vector."""
    page = await collection.read(parse_scroll({"limit": 100_000, "with_vector": True}, SPACE).read)
    return {
        point["id"]: (point["payload"], tuple(round(float(x), 5) for x in point["vector"])) for point in page["points"]
    }


async def indexed(collection):
    return (await collection.read(lambda shard: shard.info())).indexed_vectors_count


async def filled(storage):
    await storage.create("a", CONFIG)
    collection = storage.get("a")
    await collection.create_index("tag", *parse_index("keyword"))
    await collection.apply([some(range(COUNT))])
    return collection


def only_folder(collection):
    return [path.name for path in collection.folder.iterdir() if path.is_dir()]


def test_it_is_built_once_writes_pause_and_the_points_stay_the_same(tmp_path):
    async def scenario():
        async with opened(tmp_path, quiet=0.1) as storage:
            collection = await filled(storage)
            before = await state(collection)
            for _ in range(300):
                await asyncio.sleep(0.1)
                if await indexed(collection) and not collection.building:
                    break
            assert await indexed(collection) == COUNT
            assert await state(collection) == before
            assert collection.changed == 0
            assert len(only_folder(collection)) == 1
        async with opened(tmp_path) as storage:
            assert await indexed(storage.get("a")) == COUNT
            assert await state(storage.get("a")) == before
            assert storage.get("a").changed == 0

    asyncio.run(scenario())


class Mirror:
    """Writes to the collection and to a plain dict of what must then be in it."""

    def __init__(self, collection):
        self.collection = collection
        self.tags = dict.fromkeys(range(COUNT), "old")

    async def upsert(self, numbers, tag):
        await self.collection.apply([some(numbers, tag)])
        self.tags |= dict.fromkeys(numbers, tag)

    async def delete(self, numbers):
        await self.collection.apply([parse_delete({"points": list(numbers)}, SPACE)])
        for number in numbers:
            self.tags.pop(number, None)

    async def delete_group(self, group):
        condition = {"must": [{"key": "group", "match": {"value": group}}]}
        await self.collection.apply([parse_delete({"filter": condition}, SPACE)])
        self.tags = {number: tag for number, tag in self.tags.items() if number % 7 != group}

    async def check(self):
        found = await state(self.collection)
        assert {number: payload["tag"] for number, (payload, _) in found.items()} == self.tags


def test_writes_of_every_kind_during_the_build_are_in_the_result(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            mirror, build, rounds = Mirror(collection), asyncio.create_task(collection.build_index()), 0
            while not build.done():
                base = 10_000 + 50 * rounds
                await mirror.upsert(range(base, base + 50), "new")
                await mirror.upsert([rounds % COUNT, base], f"changed {rounds}")
                await mirror.delete([base + 1, (7 * rounds + 3) % COUNT, 999_999])
                if rounds == 3:
                    await mirror.delete_group(5)
                    await collection.create_index("group", *parse_index("integer"))
                    await collection.delete_index("tag")
                query = parse_query({"query": [1.0] * DIM, "limit": 5}, SPACE).request()
                assert len(await collection.read(lambda shard, query=query: shard.query(query))) == 5
                await asyncio.sleep(0.02)
                rounds += 1
            await build
            assert rounds > 3
            await mirror.check()
            assert await indexed(collection) > 0
            info = await collection.read(lambda shard: shard.info())
            assert list(collection.indexes) == list(info.payload_schema) == ["group"]
        async with opened(tmp_path) as storage:
            mirror.collection = storage.get("a")
            await mirror.check()

    asyncio.run(scenario())


@pytest.mark.slow
def test_two_builds_at_once_come_one_after_the_other(tmp_path):
    """Regression: the housekeeping's build and another shared their notes, and writes were lost."""

    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            mirror, rng, step = Mirror(collection), random.Random(1), 0
            builds = asyncio.gather(collection.build_index(), collection.build_index())
            while not builds.done():
                await mirror.upsert(rng.sample(range(COUNT), 3), f"step {step}")
                await mirror.delete(rng.sample(range(COUNT), 2))
                await asyncio.sleep(0.02)
                step += 1
            await builds
            await mirror.check()

    asyncio.run(scenario())


def test_the_result_equals_a_collection_that_was_never_rebuilt(tmp_path):
    """The same writes with and without builds between them end in the same points, exactly."""

    async def scenario(folder, builds):
        rng = random.Random(3)
        async with opened(folder) as storage:
            collection = await filled(storage)
            for round_ in range(1):
                build = asyncio.create_task(collection.build_index()) if builds else None
                for step in range(20):
                    numbers = rng.sample(range(2 * COUNT), 20)
                    await collection.apply([some(numbers, f"{round_}.{step}")])
                    await collection.apply([parse_delete({"points": rng.sample(range(2 * COUNT), 15)}, SPACE)])
                    group = {"key": "group", "match": {"value": rng.randrange(7)}}
                    if step % 9 == 0:
                        condition = {"must": [group, {"has_id": numbers}]}
                        await collection.apply([parse_delete({"filter": condition}, SPACE)])
                    await asyncio.sleep(0.02 if builds else 0)
                if build:
                    await build
            return await state(collection)

    rebuilt = asyncio.run(scenario(tmp_path / "a", True))
    plain = asyncio.run(scenario(tmp_path / "b", False))
    assert {n: payload for n, (payload, _) in rebuilt.items()} == {n: payload for n, (payload, _) in plain.items()}
    for n, (_, vector) in rebuilt.items():
        assert vector == pytest.approx(plain[n][1], abs=1e-4)


def test_a_build_that_fails_leaves_the_collection_as_it_was_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(hnsw_build.sys, "executable", "/bin/false")

    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            before = await state(collection)
            with pytest.raises(RuntimeError, match="ended with status 1"):
                await collection.build_index()
            assert "ended with status 1" in collection.build_error
            assert await state(collection) == before
            assert len(only_folder(collection)) == 1
            await collection.apply([some([1], "new")])

    asyncio.run(scenario())


def test_without_room_for_a_copy_nothing_is_built_and_searching_goes_on(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await filled(storage)
        async with opened(tmp_path, reserve=1 << 60) as storage:
            collection = storage.get("a")
            with pytest.raises(Exception, match="MiB of disk are left"):
                await collection.build_index()
            assert "disk" in collection.build_error
            assert len(await state(collection)) == COUNT
            assert len(only_folder(collection)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3])
def test_deleting_the_collection_ends_a_build_and_leaves_nothing(tmp_path, seconds):
    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            storage._builds["a"] = asyncio.create_task(storage._build("a", collection))
            await asyncio.sleep(seconds)
            assert await storage.delete("a")
            assert storage.names() == []
            assert list((tmp_path / "collections").iterdir()) == []
            await filled(storage)  # and the name is free again

    asyncio.run(scenario())


class Crash(BaseException):
    """Not an Exception, so that nothing of ours handles it."""


@pytest.mark.parametrize("stop", ["_adopt", "_catch_up", "_same_indexes", "_save"])
def test_a_crash_at_any_step_of_the_swap_keeps_every_point(tmp_path, monkeypatch, stop):
    """The step raises instead of running, as if the process had ended; then the folder is opened anew."""

    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            before = await state(collection)

            def crash(*_args):
                raise Crash(stop)

            with monkeypatch.context() as patch:
                patch.setattr(collection_module.Collection, stop, crash)
                with pytest.raises(Crash):
                    await collection.build_index()
            assert await state(collection) == before
        async with opened(tmp_path) as storage:
            assert await state(storage.get("a")) == before
            assert len(only_folder(storage.get("a"))) == 1

    asyncio.run(scenario())


def test_shutting_down_during_a_build_is_quick_and_loses_nothing(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            collection = await filled(storage)
            storage._builds["a"] = asyncio.create_task(storage._build("a", collection))
            await asyncio.sleep(0.1)
            await collection.apply([some([7777], "late")])
        async with opened(tmp_path) as storage:
            assert len(await state(storage.get("a"))) == COUNT + 1

    asyncio.run(scenario())


def test_collections_that_ask_for_no_index_get_none(tmp_path):
    async def scenario():
        async with opened(tmp_path, quiet=0.0) as storage:
            never = {"vectors": {"size": DIM, "distance": "Cosine"}, "optimizers_config": {"indexing_threshold": 0}}
            await storage.create("never", parse_collection(never))
            await storage.get("never").apply([some(range(COUNT))])
            await asyncio.sleep(2.5)
            assert await indexed(storage.get("never")) == 0
            assert not storage.get("never").building

    asyncio.run(scenario())
