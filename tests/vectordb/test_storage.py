"""The folder: its lock, restarts, rubbish, broken collections, and a disk that fills up."""

import asyncio
import contextlib

import pytest

from embedserve.errors import SetupError
from embedserve.vectordb.errors import ApiError
from embedserve.vectordb.marks import MARK, mark
from embedserve.vectordb.payload_indexes import parse_index
from embedserve.vectordb.points import parse_count, parse_lookup
from embedserve.vectordb.schema import parse_collection
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.updates import parse_delete, parse_upsert
from embedserve.vectordb.vectors import Space

SPACE = Space({"": 2})
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
    return parse_upsert({"points": [{"id": n, "vector": [n, 1], "payload": {"n": n}} for n in numbers]}, SPACE)


async def count(collection):
    return await collection.read(lambda shard: shard.count(parse_count({})))


def test_collections_points_and_indexes_are_there_after_a_restart(tmp_path):
    names = ["ws-1", "with space", "ключ", "..", "a.b"]

    async def scenario():
        async with opened(tmp_path) as storage:
            for name in names:
                await storage.create(name, CONFIG)
                await storage.get(name).create_index("n", *parse_index("integer"))
                await storage.get(name).apply([some(1, 2)])
        async with opened(tmp_path) as storage:
            assert storage.names() == sorted(names)
            for name in names:
                assert await count(storage.get(name)) == 2
                assert storage.get(name).indexes == {"n": {"data_type": "integer"}}
                assert storage.get(name).config == CONFIG

    asyncio.run(scenario())
    assert not (tmp_path.parent / "meta.json").exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"[1, 2]", b'{"other": 5}', b"\xff\x00"])
def test_a_damaged_table_of_aliases_is_kept_and_said_and_the_collections_are_served(tmp_path, caplog, damage):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("code", CONFIG)
            await storage.get("code").apply([some(1, 2)])
            await storage.aliases.replace({"other": "code"})
        (tmp_path / "aliases.json").write_bytes(damage)
        async with opened(tmp_path) as storage:
            assert await count(storage.get("code")) == 2
            with pytest.raises(ApiError, match="doesn't exist"):
                storage.get("other")
            await storage.aliases.replace({"other": "code"})
        async with opened(tmp_path) as storage:
            assert await count(storage.get("other")) == 2

    asyncio.run(scenario())
    [kept] = tmp_path.glob("aliases.json.damaged-*")
    assert kept.read_bytes() == damage
    assert kept.name in caplog.text


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
        mark(half_collection)
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
            await storage.get("good").apply([some(1)])
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
            await storage.get("a").apply([some(1, 2)])
        async with opened(tmp_path, reserve=1 << 60) as storage:
            collection = storage.get("a")
            for write in (
                collection.apply([some(3)]),
                collection.create_index("n", *parse_index("integer")),
                storage.create("b", CONFIG),
            ):
                with pytest.raises(ApiError, match="MiB of disk are left") as error:
                    await write
                assert error.value.status == 507
            assert storage.names() == ["a"]
            assert await count(collection) == 2
            await collection.apply([parse_delete({"points": [1]}, SPACE)])
            assert await count(collection) == 1

    asyncio.run(scenario())


def test_a_request_on_a_collection_that_has_just_been_deleted_is_404(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            collection = storage.get("a")
            await collection.apply([some(1)])
            wanted = parse_lookup({"ids": [1]}, SPACE)
            read = collection.read(wanted.read)
            results = await asyncio.gather(
                read, storage.delete("a"), collection.apply([some(2)]), return_exceptions=True
            )
            assert results[1] is True
            for result in (results[0], results[2]):  # before or after, but never a crash
                assert not isinstance(result, Exception) or getattr(result, "status", 0) == 404
            with pytest.raises(ApiError):
                await collection.apply([some(3)])
            await storage.create("a", CONFIG)
            assert await count(storage.get("a")) == 0

    asyncio.run(scenario())


def layout(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("precious")


def everything(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["raft_state.json", "aliases/data.json", "collections/code/config.json"], "a real Qdrant's data"),
        (["collections/code/0/segments/x/segment.json"], "collections/code"),
        (["collections/0123456789abcdef0123456789abcdef/notes.txt"], "collections/0123456789abcdef"),
        (["thesis.tex"], "thesis.tex"),
        (["collections"], "`collections`"),
    ],
)
def test_a_folder_of_another_layout_is_refused_by_name_and_keeps_every_byte(tmp_path, files, named):
    """Regression: started on a real Qdrant's folder, it removed the collections."""
    layout(tmp_path, *files)
    before = everything(tmp_path)
    with pytest.raises(SetupError, match="nothing was changed") as error:
        Storage(tmp_path)
    assert named in str(error.value)
    assert everything(tmp_path) == before


def test_what_a_storage_holds_without_our_mark_is_left_alone(tmp_path, caplog):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
        layout(tmp_path / "collections" / "someones", "segments/x")
        (tmp_path / "elsewhere").mkdir()
        layout(tmp_path / "elsewhere", "file")
        mark(tmp_path / "elsewhere")
        (tmp_path / "collections" / "link").symlink_to(tmp_path / "elsewhere")
        async with opened(tmp_path) as storage:
            assert storage.names() == ["a"]

    asyncio.run(scenario())
    assert (tmp_path / "collections" / "someones" / "segments" / "x").read_text() == "precious"
    assert (tmp_path / "elsewhere" / "file").read_text() == "precious"
    assert "left alone" in caplog.text


def test_every_removal_is_logged_with_its_reason(tmp_path, caplog):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            folder = storage.get("a").folder
            (folder / "0123456789abcdef").mkdir()
        async with opened(tmp_path) as storage:
            await storage.delete("a")
        return folder

    with caplog.at_level("INFO"):
        folder = asyncio.run(scenario())
    removed = [record.getMessage() for record in caplog.records if record.getMessage().startswith("removing")]
    assert [message.split(": ")[0] for message in removed] == [
        f"removing {folder / '0123456789abcdef'}",
        f"removing {folder}",
    ]
    assert "was deleted" in removed[1]


def test_a_storage_of_an_older_version_is_taken_over_with_everything_in_it(tmp_path):
    async def scenario():
        async with opened(tmp_path) as storage:
            await storage.create("a", CONFIG)
            await storage.get("a").apply([some(1, 2)])
        for marked in tmp_path.rglob(MARK):
            marked.unlink()
        async with opened(tmp_path) as storage:
            assert storage.names() == ["a"]
            assert await count(storage.get("a")) == 2
            await storage.delete("a")
        assert list((tmp_path / "collections").iterdir()) == []

    asyncio.run(scenario())
