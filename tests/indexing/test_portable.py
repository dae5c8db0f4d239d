"""An index as a file: reused by who has the same files, noise to who has not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedserve.errors import IndexingFailed
from embedserve.indexing.chunk import digest
from embedserve.indexing.qdrant import Qdrant
from embedserve.indexing.sealed import Header, SealedIndex, new_salt, write_sealed
from embedserve.indexing.store import Store
from support.embedding_standin import EmbeddingStandIn, bag_of_words
from support.processes import EMBEDSERVE, clean_environment

FUNCTION = 'def {name}(value):\n    """Return what {name} makes of the value."""\n    return value * 3\n\n\n'
HEADER = Header("m", 8, 0, 1, 1, new_salt())


def unit(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sealed(path: Path, header: Header = HEADER) -> SealedIndex:
    files = [(b"one\ntwo\n", [digest("one"), digest("two")], unit(2)), (b"three", [digest("three")], unit(1, 1))]
    assert write_sealed(str(path), header, [*files, files[0]]) == (2, 3)  # equal contents once
    return SealedIndex(str(path))


def test_who_has_the_text_reads_the_vectors_and_line_ends_do_not_matter(tmp_path: Path) -> None:
    index = sealed(tmp_path / "x")
    assert (index.files, index.chunks) == (2, 3)
    rows = index.rows_of(b"one\r\ntwo\r\n")
    assert [row.digest for row in rows] == [digest("one"), digest("two")]
    assert np.array_equal([index.vector(row) for row in rows], unit(2))
    assert index.rows_of(b"one\ntwo") == []


def test_without_the_text_nothing_of_it_is_in_the_file(tmp_path: Path) -> None:
    sealed(tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    for text in ("one", "two", "three", "one\ntwo\n"):
        for name in (digest(text), hashlib.sha256(text.encode()).hexdigest()):
            assert bytes.fromhex(name) not in data
            assert name.encode() not in data
    for row in [*unit(2), *unit(1, 1)]:
        for some in (row, row.astype(np.float16)):
            assert some[:2].tobytes() not in data
    body = np.frombuffer(data[-3 * HEADER.row_bytes :], np.uint8)
    assert len(set(body.tolist())) > 64  # not a small alphabet
    sealed(tmp_path / "y", replace(HEADER, salt=new_salt()))
    other = (tmp_path / "y").read_bytes()  # two exports cannot be compared: every name and row is another
    assert all(data[i : i + 8] not in other for i in range(len(data) - 3 * HEADER.row_bytes, len(data) - 8, 8))


@pytest.mark.parametrize("cut", [0, 5, 30, 200, -1])
def test_a_file_that_is_cut_short_is_said_to_be(tmp_path: Path, cut: int) -> None:
    sealed(tmp_path / "x").close()
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data[:cut])
    with pytest.raises(IndexingFailed, match=r"cut short|no index that"):
        SealedIndex(str(tmp_path / "x"))


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    sealed(tmp_path / "x").close()
    data = bytearray((tmp_path / "x").read_bytes())
    data[-1] ^= 1
    (tmp_path / "x").write_bytes(data)
    index = SealedIndex(str(tmp_path / "x"))
    assert index.rows_of(b"one\ntwo\n")
    with pytest.raises(IndexingFailed, match="is damaged"):
        index.rows_of(b"three")


# --- through the command line


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


def write(folder: Path, **files: list[str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, functions in files.items():
        (folder / f"{name}.py").write_text("".join(FUNCTION.format(name=function) for function in functions))


class Machine:
    """One user's home, with the shared Qdrant and their own service."""

    def __init__(self, home: Path, qdrant_url: str, service: EmbeddingStandIn) -> None:
        self.home = home
        self.options = ["--embeddings-url", service.url, "--qdrant-url", qdrant_url]

    def index(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*EMBEDSERVE, "index", *arguments, *self.options]
        environment = clean_environment(EMBEDDING_HOME=str(self.home))
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def points(qdrant: Qdrant, workspace: Path) -> dict[str, list[float]]:
    async def read() -> dict[str, list[float]]:
        client = Qdrant(qdrant.url)
        found: dict[str, list[float]] = {}
        for path, vectors in (await Store(client, str(workspace)).vectors_of(sorted(os.listdir(workspace)))).items():
            found |= {f"{path} {name}": vector for name, vector in vectors.items()}
        await client.close()
        return found

    return asyncio.run(read())


def test_a_teammate_embeds_only_what_is_different(
    tmp_path: Path, qdrant_url: str, qdrant: Qdrant, service: EmbeddingStandIn
) -> None:
    mine, hers = tmp_path / "mine", tmp_path / "hers"
    write(mine, a=["apple", "banana"], b=["cherry"], c=["damson", "elder"])
    me = Machine(tmp_path / "home1", qdrant_url, service)
    assert me.index(str(mine)).returncode == 0
    file = str(tmp_path / "team.index")
    done = me.index("export", file, str(mine))
    assert (done.returncode, done.stdout.split(";")[0]) == (0, f"{file}: 5 vectors of 3 files"), done.stderr
    shutil.copytree(mine, hers)
    write(hers, c=["damson", "fig"], d=["grape"])
    service.texts.clear()
    she = Machine(tmp_path / "home2", qdrant_url, service)
    done = she.index("import", file, str(hers), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["files"], report["chunks"], report["embedded"], report["complete"]) == (4, 6, 3, True)
    assert f"3 vectors reused from {file} (2 of this folder's files are in it)" in done.stderr
    embedded = {text for text in service.texts if text != "test"}
    new = {text.split("(")[0] for text in embedded if not any(name in text for name in ("apple", "banana", "cherry"))}
    assert new == {"def damson", "def fig", "def grape"}  # of the same files only the sample, for the check
    assert {k: v for k, v in points(qdrant, hers).items() if k[0] in "ab"} == {
        k: v for k, v in points(qdrant, mine).items() if k[0] in "ab"
    }
    again = she.index(str(hers), "--json")
    assert json.loads(again.stdout)["stored"] == 0  # an imported index is like any other


@pytest.mark.slow
def test_vectors_of_other_weights_are_refused_before_any_is_stored(
    tmp_path: Path, qdrant_url: str, qdrant: Qdrant, service: EmbeddingStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    write(mine, a=["apple", "banana"])
    me = Machine(tmp_path / "home", qdrant_url, service)
    assert me.index(str(mine)).returncode == 0
    file = str(tmp_path / "team.index")
    assert me.index("export", file, str(mine)).returncode == 0
    hers = tmp_path / "hers"
    shutil.copytree(mine, hers)
    with EmbeddingStandIn() as other:
        monkeypatch.setattr(
            "support.embedding_standin.bag_of_words", lambda text, dimension: bag_of_words(text[::-1] * 3, dimension)
        )
        done = Machine(tmp_path / "home2", qdrant_url, other).index("import", file, str(hers))
    assert done.returncode == 2
    assert "does not fit: its vectors agree with those of the model bag-of-words here by" in done.stderr
    assert points(qdrant, hers) == {}
    with EmbeddingStandIn(model="another") as named:
        done = Machine(tmp_path / "home3", qdrant_url, named).index("import", file, str(hers))
    assert done.returncode == 2
    assert "has vectors of bag-of-words with 64 dimensions, and the service serves another with 64" in done.stderr


def test_what_changed_since_it_was_indexed_is_not_exported_and_said(
    tmp_path: Path, qdrant_url: str, service: EmbeddingStandIn
) -> None:
    mine = tmp_path / "mine"
    write(mine, a=["apple", "banana"], b=["cherry"])
    me = Machine(tmp_path / "home", qdrant_url, service)
    assert me.index(str(mine)).returncode == 0
    write(mine, b=["changed"])
    done = me.index("export", str(tmp_path / "x"), str(mine))
    assert "2 vectors of 1 files" in done.stdout
    assert "1 indexed files are not in it: they changed since" in done.stderr
    nothing = me.index("export", str(tmp_path / "y"), str(tmp_path))
    assert nothing.returncode == 2
    assert "has no index in Qdrant" in nothing.stderr
    assert not (tmp_path / "y").exists()


def test_several_folders_are_indexed_by_one_command(tmp_path: Path, qdrant_url: str, service: EmbeddingStandIn) -> None:
    write(tmp_path / "one", a=["apple"])
    write(tmp_path / "two", b=["banana", "cherry"])
    done = Machine(tmp_path / "home", qdrant_url, service).index(str(tmp_path / "one"), str(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].startswith(f"{tmp_path / 'one'}: 1 files, 1 chunks")
    assert rows[1].startswith(f"{tmp_path / 'two'}: 1 files, 2 chunks")
