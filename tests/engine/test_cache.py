import dataclasses
import multiprocessing
import sqlite3

import numpy as np
import pytest

from embedserve.engine import cache as cache_module
from embedserve.engine.cache import DiskCache, EmbeddingCache, MemoryCache, VectorOrigin, key_of, open_cache

ORIGIN = VectorOrigin("m", "rev", "fake 1", "fp32", "a", "cpu x86_64")
SPACE = ORIGIN.namespace()


def rows(n, dimension=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dimension), dtype=np.float32)


def keys(n, salt=0):
    return [key_of(SPACE, np.array([salt, i], dtype=np.int32)) for i in range(n)]


def test_whatever_a_vector_depends_on_makes_another_key():
    """Regression: the artefact was left out, and a new `optimize` was answered with the old vectors."""
    ids = np.array([1, 2], dtype=np.int32)
    fields = [field.name for field in dataclasses.fields(ORIGIN)]
    spaces = [SPACE, *(dataclasses.replace(ORIGIN, **{name: "other"}).namespace() for name in fields)]
    keys_of_ids = {key_of(s, i) for s in spaces for i in (ids, ids[:1], np.array([1, 2, 0], dtype=np.int32))}
    assert len(keys_of_ids) == 3 * (1 + len(fields))


def test_the_memory_cache_forgets_the_least_recently_used_within_its_bytes():
    cache = MemoryCache(3 * (32 + 120))
    k = keys(4)
    cache.put_many(k[:3], list(rows(3)))
    cache.get_many(k[:1])
    cache.put_many(k[3:], list(rows(1)))
    assert [r is not None for r in cache.get_many(k)] == [True, False, True, True]
    assert cache.bytes <= cache.max_bytes


def test_what_was_written_is_read_after_a_restart_bit_for_bit(tmp_path):
    r, k = rows(1000), keys(1000)
    for expected_hits in (0, 1000):
        layers = open_cache("disk", tmp_path, 1, 10**8)
        cache = EmbeddingCache(SPACE, 8, *layers)
        got, _, on_disk = cache.get_many(k)
        assert on_disk == expected_hits
        if expected_hits:
            np.testing.assert_array_equal(np.stack(got), r)
        cache.put_many(k, r)
        layers[1].close()


def test_the_file_stays_within_its_bound_and_the_newest_stay(tmp_path):
    cache = DiskCache(tmp_path / "c.sqlite", 2**20)
    for i in range(40):
        cache.put_many(keys(100, salt=i), [r.tobytes() for r in rows(100, 96)])
        assert cache.flush()
    assert len(cache.get_many(keys(100, salt=39))) == 100
    assert len(cache.get_many(keys(100, salt=0))) == 0
    cache.close()
    assert (tmp_path / "c.sqlite").stat().st_size < 1.5 * 2**20


@pytest.mark.parametrize("damage", [b"not a database at all" * 300, b""])
def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path, damage):
    path = tmp_path / "c.sqlite"
    path.write_bytes(damage)
    cache = DiskCache(path, 2**20)
    cache.put_many(keys(1), [b"x" * 32])
    assert cache.flush()
    assert cache.get_many(keys(1))
    cache.close()


def test_a_file_damaged_in_the_middle_costs_the_cache_not_the_answer(tmp_path):
    path = tmp_path / "c.sqlite"
    cache = DiskCache(path, 10**8)
    cache.put_many(keys(5000), [r.tobytes() for r in rows(5000, 96)])
    cache.flush()
    cache.close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    torn = DiskCache(path, 10**8)
    assert len(torn.get_many(keys(5000))) < 5000
    torn.put_many(keys(10, salt=7), [b"x" * 32] * 10)
    torn.close()


def _write(path, salt):
    cache = DiskCache(path, 10**8)
    for part in range(20):
        cache.put_many(keys(50, salt=salt * 100 + part), [r.tobytes() for r in rows(50, seed=salt)])
    assert cache.flush(30)
    cache.close()


def test_two_processes_share_one_file(tmp_path):
    path = tmp_path / "c.sqlite"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write, args=(path, salt)) for salt in (1, 2)]
    for p in processes:
        p.start()
    for p in processes:
        p.join(60)
        assert p.exitcode == 0
    cache = DiskCache(path, 10**8)
    for salt in (1, 2):
        found = cache.get_many([k for part in range(20) for k in keys(50, salt=salt * 100 + part)])
        assert len(found) == 1000
    cache.close()
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_disk_that_cannot_be_written_leaves_the_memory_cache(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    _, disk = open_cache("disk", tmp_path, 1000, 10**8)
    assert disk is None
    assert "no disk cache" in caplog.text


def _hold(path, mode, ready, done):
    connection = sqlite3.connect(path, isolation_level=None)
    if mode == "exclusive":  # not even readers get in
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO vectors (key, vector) VALUES (x'00', x'00')")
    ready.set()
    done.wait(60)
    connection.execute("COMMIT")
    connection.close()


@pytest.mark.parametrize("mode", ["writing", "exclusive"])
def test_a_file_that_another_process_holds_is_not_set_aside(tmp_path, mode):
    """Regression: "database is locked" was taken for damage, and the file was renamed away under its user."""
    path = tmp_path / "c.sqlite"
    first = DiskCache(path, 10**8)
    first.put_many(keys(3), [b"x" * 32] * 3)
    assert first.flush()
    first.close()
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(path, mode, ready, done))
    holder.start()
    try:
        assert ready.wait(60)
        cache = DiskCache(path, 10**8)
        expected = 3 if mode == "writing" else 0  # a reader never waits for a writer
        assert len(cache.get_many(keys(3))) == expected
    finally:
        done.set()
        holder.join(60)
    assert len(cache.get_many(keys(3))) == 3
    cache.put_many(keys(1, salt=9), [b"y" * 32])
    assert cache.flush()
    assert cache.get_many(keys(1, salt=9))
    cache.close()
    assert not list(tmp_path.glob("*.broken*"))


def test_what_single_searches_leave_is_written_together_and_close_waits_for_no_company(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_GATHER", 30.0)
    said: list[str] = []
    connect = sqlite3.connect

    def traced(*given, **named):
        connection = connect(*given, **named)
        connection.set_trace_callback(said.append)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    cache = DiskCache(tmp_path / "c.sqlite", 10**8)
    before = said.count("COMMIT")
    for key in keys(20):
        cache.put_many([key], [b"x" * 32])
    assert cache.flush(10)
    assert said.count("COMMIT") == before + 1
    assert len([line for line in said if line.startswith("INSERT OR IGNORE INTO vectors")]) == 20
    cache.put_many(keys(1, salt=1), [b"x" * 32])
    cache.close()
    assert said.count("COMMIT") == before + 2
    again = DiskCache(tmp_path / "c.sqlite", 10**8)
    assert len(again.get_many([*keys(20), *keys(1, salt=1)])) == 21
    again.close()
