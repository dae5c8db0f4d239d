"""The folder: its lock, restarts, rubbish, broken collections, and a disk that fills up."""

import asyncio
import contextlib

import pytest

from embedserve.errors import SetupError
from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.points import parse_count, parse_lookup, parse_upsert
from embedserve.vectordb.schema import parse_collection, parse_index
from embedserve.vectordb.storage import Storage

CONFIG = parse_collection({"vectors": {"size": 2, "distance": "Dot"}})


@contextlib.asynccontextmanager
async def opened(folder, **options):
    storage = Storage(folder, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


def some(*numbers):
    return parse_upsert({"points": [{"id": n, "vector": [n, 1], "payload": {"n": n}} for n in numbers]}, 2)


async def count(collection):
    return await collection.read(lambda shard: shard.count(parse_count({})))


def test_collections_points_and_indexes_are_there_after_a_restart(tmp_path):
    names = ["ws-1", "with space", "ключ", "..", "a.b"]

    async def scenario():
        async with opened(tmp_path) as storage:
            for name in names:
                await storage.create(name, CONFIG)
                await storage.get(name).create_index("n", *parse_index("integer"))
                await storage.get(name).upsert(some(1, 2))
        async with opened(tmp_path) as storage:
            assert storage.names() == sorted(names)
            for name in names:
                assert await count(storage.get(name)) == 2
                assert storage.get(name).indexes == {"n": {"data_type": "integer"}}
                assert storage.get(name).config == CONFIG

    asyncio.run(scenario())
    assert not (tmp_path.parent / "meta.json").exists()


def test_one_process_per_storage_and_the_error_names_the_other(tmp_path):
    async def scenario():
        async with opened(tmp_path):
            with pytest.raises(SetupError, match="in use by another embedded Qdrant"):
                Storage(tmp_path)
        async with opened(tmp_path):  # free again
            pass

    asyncio.run(scenario())


def test_a_storage_that_cannot_be_made_is_a_setup_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="cannot use the storage"):
        Storage(tmp_path / "file" / "below")


def test_what_a_crash_left_half_made_is_cleared_away(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            folder = storage.get("a").folder
        half_collection = tmp_path / "collections" / "half"
        half_build = folder / "0123456789abcdef"
        for rubbish in (half_collection, half_build):
            (rubbish / "segments").mkdir(parents=True)
            (rubbish / "segments" / "x").write_text("torn")
        async with opened(tmp_path) as storage:
            assert storage.names() == ["a"]
        assert not half_collection.exists()
        assert not half_build.exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["meta", "shard"])
def test_a_broken_collection_says_so_can_be_deleted_and_leaves_the_others_alone(tmp_path, damage):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("good", CONFIG)
            await storage.get("good").upsert(some(1))
            await storage.create("bad", CONFIG)
            folder = storage.get("bad").folder
        if damage == "meta":
            (folder / "meta.json").write_text("{")
        else:
            for segment in folder.rglob("segment.json"):
                segment.write_text("{")
        name = folder.name if damage == "meta" else "bad"
        async with opened(tmp_path) as storage:
            assert storage.names() == sorted(["good", name])
            assert await count(storage.get("good")) == 1
            with pytest.raises(ApiError, match="cannot be opened") as error:
                storage.get(name)
            assert error.value.status == 500
            assert await storage.delete(name)
            assert not folder.exists()
            if damage == "shard":
                await storage.create("bad", CONFIG)

    asyncio.run(scenario())


def test_a_nearly_full_disk_refuses_writes_by_507_and_goes_on_reading_and_deleting(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            await storage.get("a").upsert(some(1, 2))
        async with opened(tmp_path, reserve=1 << 60) as storage:
            collection = storage.get("a")
            for write in (
                collection.upsert(some(3)),
                collection.create_index("n", *parse_index("integer")),
                storage.create("b", CONFIG),
            ):
                with pytest.raises(ApiError, match="MiB of disk are left") as error:
                    await write
                assert error.value.status == 507
            assert storage.names() == ["a"]
            assert await count(collection) == 2
            await collection.delete([1])
            assert await count(collection) == 1

    asyncio.run(scenario())


def test_a_request_on_a_collection_that_has_just_been_deleted_is_404(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            collection = storage.get("a")
            await collection.upsert(some(1))
            wanted = parse_lookup({"ids": [1]})
            read = collection.read(lambda shard: shard.retrieve(wanted.ids, True, False))
            results = await asyncio.gather(
                read, storage.delete("a"), collection.upsert(some(2)), return_exceptions=True
            )
            assert results[1] is True
            for result in (results[0], results[2]):  # before or after, but never a crash
                assert not isinstance(result, Exception) or getattr(result, "status", 0) == 404
            with pytest.raises(ApiError):
                await collection.upsert(some(3))
            await storage.create("a", CONFIG)
            assert await count(storage.get("a")) == 0

    asyncio.run(scenario())
