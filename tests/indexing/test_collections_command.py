"""`embedserve collections` and `--collection` as a person uses them: whole commands, and an MCP session."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import httpx
import pytest

from embedserve.cli import main
from support.embedding_standin import EmbeddingStandIn
from support.processes import clean_environment, embedded_qdrant

with contextlib.suppress(ImportError):  # it keeps sys.stderr as it is when it is imported
    import mcp.client.stdio  # noqa: F401

FUNCTION = 'def {name}(value):\n    """Return what {name} makes of the value."""\n    return other_{name}(value) * 3\n'


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


class Team:
    """A service, a Qdrant and two checkouts."""

    def __init__(self, service: EmbeddingStandIn, qdrant: str, root: Path) -> None:
        self.qdrant, self.name = qdrant, f"team-{uuid.uuid4().hex[:8]}"
        self.environment = clean_environment(EMBEDDING_HOME=str(root / "home"))
        self.options = ["--embeddings-url", service.url, "--qdrant-url", qdrant]
        self.folders = [root / "one", root / "two"]
        for folder, own in zip(self.folders, ("cherry", "damson"), strict=True):
            folder.mkdir()
            (folder / f"{own}.py").write_text(FUNCTION.format(name=own))

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "stdin", io.StringIO()),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main([*arguments, *self.options])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    def create(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self("collections", "create", self.name, "--repositories", "1000", "--chunks", "5_000_000", *more)

    @property
    def exists(self) -> bool:
        return bool(httpx.get(f"{self.qdrant}/collections/{self.name}/exists").json()["result"]["exists"])


@pytest.fixture
def team(service: EmbeddingStandIn, qdrant_url: str, tmp_path: Path) -> Team:
    return Team(service, qdrant_url, tmp_path)


def test_a_collection_is_sized_before_it_is_made_and_made_only_when_agreed(team: Team) -> None:
    shown = team.create()
    assert shown.returncode == 1
    for word in ("memory", "disk", "nodes", "a month", "price of RAM", "bag-of-words", "scalar"):
        assert word in shown.stdout, shown
    assert "not a cluster: no shard keys, one replica" in shown.stderr
    assert "nothing was made" in shown.stderr
    assert not team.exists
    told = team.create("--yes", "--json", "--quantization", "binary")
    assert told.returncode == 0, told.stderr
    facts = json.loads(told.stdout)
    assert (facts["chunks"], facts["dimension"], facts["quantization"]) == (5_000_000, 64, "binary")
    assert facts["ram"] == 5_001_000 * 368
    again = team.create("--yes")
    assert (again.returncode, "already" in again.stderr) == (2, True)


def test_repositories_are_indexed_searched_listed_and_taken_out(team: Team) -> None:
    assert team.create("--yes").returncode == 0
    done = team("index", *map(str, team.folders), "--collection", team.name)
    assert done.returncode == 0, done.stderr
    found = team("search", "what cherry makes", "--collection", team.name)
    assert found.stdout.startswith("one//cherry.py:1-3"), found
    one = team("search", "what cherry makes", "--collection", team.name, "--repository", "two", "--json")
    assert [hit["path"] for hit in json.loads(one.stdout)] == ["damson.py"]
    shown = team("search", "value", "--collection", team.name, "--path-prefix", "two//damson.py", "--json")
    assert [hit["path"] for hit in json.loads(shown.stdout)] == ["damson.py"]  # a path as it was shown
    listed = team("collections", "list").stdout
    assert f"{team.name}: 2 chunks of 2 repositories, bag-of-words (64)\n  one\n  two\n" in listed
    assert team("index", str(team.folders[0]), "--collection", team.name, "--delete").returncode == 0
    assert f"{team.name}: 1 chunks of 1 repositories" in team("collections", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["index", ".", "--repository", "a"], "give --collection too"),
        (["search", "x", "--collection", "c", "--lexical"], "goes with none of"),
        (["search", "x", "--collection", "nowhere"], "embedserve collections create nowhere"),
        (["mcp", "--collection", "c", "--workspace", "."], "goes without --workspace"),
        (["collections", "create", "c", "--repositories", "1", "--chunks", "1", "--dimension", "3"], "--model"),
        (["collections", "create", "c", "--repositories", "1", "--chunks", "1", "--node-ram", "many"], "not a size"),
    ],
)
def test_what_does_not_go_together_is_said(team: Team, arguments: list[str], told: str) -> None:
    done = team(*arguments)
    assert (done.returncode, told in done.stderr) == (2, True), done.stderr


def test_one_command_moves_an_index_into_another_qdrants_collection_without_the_folder(
    team: Team, tmp_path: Path, service: EmbeddingStandIn
) -> None:
    with embedded_qdrant(tmp_path / "other") as cluster:
        there = ["--qdrant-url", cluster.url]
        team.options, here = [*team.options[:2], *there], team.options
        assert team.create("--yes").returncode == 0
        team.options = here
        assert team("index", str(team.folders[0])).returncode == 0
        texts = len(service.texts)
        copied = team("collections", "copy", team.name, str(team.folders[0]), "--to", cluster.url)
        assert "1 chunks are one in the collection" in copied.stdout, copied.stderr
        assert len(service.texts) == texts
        team.options = [*team.options[:2], *there]
        assert team("search", "cherry", "--collection", team.name).stdout.startswith("one//cherry.py")


def test_an_agent_searches_all_repositories_and_follows_a_path_into_one(team: Team) -> None:
    pytest.importorskip("mcp")
    from mcp import Client, StdioServerParameters

    assert team.create("--yes").returncode == 0
    assert team("index", *map(str, team.folders), "--collection", team.name).returncode == 0
    (team.folders[0] / "more.py").write_text("from cherry import cherry\n\nprint(cherry(2))\n")
    assert team("index", str(team.folders[0]), "--collection", team.name).returncode == 0

    async def talk() -> list[str]:
        arguments = ["-m", "embedserve.cli", "mcp", "--collection", team.name, *team.options]
        async with Client(
            StdioServerParameters(command=sys.executable, args=arguments, env=team.environment)
        ) as session:
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert tools == {"search_code", "find_related", "index_status"}
            answers = []
            for name, given in (
                ("search_code", {"query": "what cherry makes of the value"}),
                ("search_code", {"query": "what cherry makes of the value", "repository": "two"}),
                ("find_related", {"path": "one//cherry.py", "line": 1}),
                ("find_related", {"path": "cherry.py", "line": 1}),
                ("index_status", {}),
            ):
                answers.append((await session.call_tool(name, given)).content[0].text)  # type: ignore[union-attr]
            return answers

    everywhere, two, related, bare, status = asyncio.run(talk())
    assert everywhere.startswith("one//cherry.py:1-3")
    assert two.startswith("two//damson.py:1-3")
    assert "one//" not in two
    assert "more.py:3: print(cherry(2))" in related
    assert "damson" not in related
    assert "REPOSITORY//PATH" in bare
    assert json.loads(status)["repositories"] == ["one", "two"]
