"""The MCP server over stdio, driven by the official SDK's own client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters

from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant, free_port

FUNCTION = 'def {name}(value):\n    """Return what {name} makes of the value."""\n    return value * 3\n\n\n'


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    root = tmp_path_factory.mktemp("project")
    (root / "src").mkdir()
    (root / "src" / "fruit.py").write_text("".join(FUNCTION.format(name=n) for n in ("apple", "banana", "cherry")))
    with embedded_qdrant(tmp_path_factory.mktemp("qdrant")) as qdrant, EmbeddingStandIn() as service:
        options = ["--embeddings-url", service.url, "--qdrant-url", qdrant.url]
        subprocess.run([*EMBEDSERVE, "index", str(root), *options], check=True, env=clean_environment())
        yield root, options


def server(options: list[str], cwd: Path) -> StdioServerParameters:
    arguments = ["-m", "embedserve.cli", "mcp", *options]
    return StdioServerParameters(command=sys.executable, args=arguments, env=clean_environment(), cwd=str(cwd))


def test_an_agent_lists_the_tools_searches_and_reads_the_status(indexed: tuple[Path, list[str]]) -> None:
    root, options = indexed

    async def talk() -> None:
        async with Client(server(options, root / "src")) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert tools.keys() == {"search_code", "find_related", "outline", "index_status"}
            assert "search_code first" in (client.instructions or "")
            assert tools["search_code"].input_schema["required"] == ["query"]
            found = await client.call_tool("search_code", {"query": "what banana makes", "limit": 2})
            assert not found.is_error
            text = found.content[0].text  # type: ignore[union-attr]
            assert text.startswith("src/fruit.py:6-8 (score 0.")
            assert "def banana(value):" in text
            nothing = await client.call_tool("search_code", {"query": "banana", "path_prefix": "docs"})
            assert nothing.content[0].text == "nothing found"  # type: ignore[union-attr]
            status = await client.call_tool("index_status", {})
            shown = json.loads(status.content[0].text)  # type: ignore[union-attr]
            assert shown["workspace"] == str(root)
            assert (shown["chunks"], shown["complete"], shown["model"]) == (3, True, "bag-of-words")

    asyncio.run(talk())


def test_errors_reach_the_agent_with_what_to_do_and_the_server_lives_on(indexed: tuple[Path, list[str]]) -> None:
    root, options = indexed
    nobody = f"http://127.0.0.1:{free_port()}"

    async def talk() -> None:
        async with Client(server(["--workspace", str(root), *options[:3], nobody], root)) as client:
            for _ in range(2):
                by_words = await client.call_tool("search_code", {"query": "banana"})
                text = by_words.content[0].text  # type: ignore[union-attr]
                assert text.startswith(f"(by words alone: Qdrant at {nobody} does not answer")
                assert "src/fruit.py:6-8 (found by words)" in text
                failed = await client.call_tool("search_code", {"query": "banana", "min_score": 0.1})
                assert failed.is_error
                assert f"Qdrant at {nobody} does not answer" in failed.content[0].text  # type: ignore[union-attr]
        async with Client(server(["--workspace", str(root / "src"), *options], root)) as client:
            failed = await client.call_tool("index_status", {})
            assert "has no index" in failed.content[0].text  # type: ignore[union-attr]
            wrong = await client.call_tool("search_code", {"query": "banana", "limit": 0})
            assert wrong.is_error
            assert wrong.content[0].text.endswith("limit is 0; give a number from 1 to 50")  # type: ignore[union-attr]

    asyncio.run(talk())


def test_what_does_not_fit_the_budget_is_named_and_never_cut(indexed: tuple[Path, list[str]]) -> None:
    root, options = indexed

    async def talk() -> None:
        async with Client(server(options, root)) as client:
            found = await client.call_tool("search_code", {"query": "what banana makes", "max_tokens": 50})
            text = found.content[0].text  # type: ignore[union-attr]
            assert text.count("return value * 3") == 1
            assert "over max_tokens: src/fruit.py:" in text

    asyncio.run(talk())


def test_code_with_fences_stays_inside_its_own() -> None:
    from embedserve.mcp.packing import fenced

    lines = fenced("````\ncode\n````").splitlines()
    assert lines[0] == lines[-1] == "`" * 5


def test_nothing_but_the_protocol_goes_to_stdout(indexed: tuple[Path, list[str]]) -> None:
    root, options = indexed
    call = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}}  # fmt: skip
    result = subprocess.run(
        [*EMBEDSERVE, "mcp", *options],
        input=json.dumps(call) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=root,
        env=clean_environment(),
    )
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1]
    assert json.loads(lines[0])["result"]["serverInfo"]["name"] == "embedserve"
