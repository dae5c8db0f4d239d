"""find_related, outline, wrong arguments and cancelled calls, by the official SDK's own client over stdio."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters

from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant

PRICES = '''\
class Basket:
    """What a customer is about to buy."""

    def total_price(self, discount):
        """Sum the prices of all items in the basket."""
        return sum(item.price for item in self.items) - discount

    def __len__(self):
        return len(self.items)


def nested(value):
    return value
'''
SHOP = '''\
from prices import Basket


def checkout(basket: Basket, customer):
    """Charge the customer what the basket costs."""
    amount = basket.total_price(customer.discount)
    customer.charge(amount)
    return amount


def sum_of_prices(items, discount):
    """Sum the prices of all items in a list."""
    return sum(item.price for item in items) - discount
'''
WEATHER = (
    'def forecast(city):\n    """Ask the station for tomorrow\'s weather."""\n    return station(city).tomorrow()\n'
)
BREAD = 'def bake(flour):\n    """Bake bread of flour in the oven."""\n    return oven(flour)\n'


@dataclass
class Indexed:
    root: Path
    options: list[str]
    service: EmbeddingStandIn


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Indexed]:
    root = tmp_path_factory.mktemp("shop")
    for name, text in {"prices.py": PRICES, "shop.py": SHOP, "weather.py": WEATHER}.items():
        (root / name).write_text(text)
    (root / "logo.bin").write_bytes(b"\0\1")
    other = root.parent / "bakery"
    other.mkdir()
    (other / "bread.py").write_text(BREAD)
    with embedded_qdrant(tmp_path_factory.mktemp("qdrant")) as qdrant, EmbeddingStandIn() as service:
        options = ["--embeddings-url", service.url, "--qdrant-url", qdrant.url]
        subprocess.run([*EMBEDSERVE, "index", str(root), str(other), *options], check=True, env=clean_environment())
        yield Indexed(root, options, service)


def client(shop: Indexed, *more: str) -> Client:
    arguments = ["-m", "embedserve.cli", "mcp", *shop.options, *more]
    return Client(
        StdioServerParameters(command=sys.executable, args=arguments, env=clean_environment(), cwd=str(shop.root))
    )


def calls(shop: Indexed, *wanted: tuple[str, dict[str, Any]]) -> list[tuple[bool, str]]:
    """(is it an error, its text) of each call of one session."""

    async def talk() -> list[tuple[bool, str]]:
        found = []
        async with client(shop) as session:
            for name, arguments in wanted:
                answer = await session.call_tool(name, arguments)
                found.append((bool(answer.is_error), answer.content[0].text))  # type: ignore[union-attr]
        return found

    return asyncio.run(talk())


def test_from_a_line_an_agent_finds_callers_and_similar_code_without_the_service(shop: Indexed) -> None:
    asked = shop.service.requests
    (failed, text), (_, blank) = calls(
        shop,
        ("find_related", {"path": "prices.py", "line": 6, "limit": 1}),
        ("find_related", {"path": str(shop.root / "shop.py"), "line": 4}),
    )
    assert not failed
    uses, similar = text.split("Similar code:\n")
    assert "name total_price" in uses
    assert "shop.py:6 in checkout: amount = basket.total_price(customer.discount)" in uses
    assert "prices.py" not in uses  # its own definition is no use of it
    assert similar.startswith("shop.py:11-13 (score 0.")
    assert "Nothing else in the index uses the name checkout" in blank
    assert shop.service.requests == asked  # the stored vector is asked, nothing is embedded


def test_an_outline_shows_definitions_as_they_are_on_disk_now(shop: Indexed) -> None:
    new = shop.root / "new.py"
    new.write_text(
        "class A:\n    def b(self):\n        return 1\n\n    @property\n    def c(self):\n        return 2\n"
    )
    (_, text), (_, old) = calls(shop, ("outline", {"path": "new.py"}), ("outline", {"path": "./prices.py"}))
    new.unlink()
    assert text.splitlines() == [
        "new.py: python, 8 lines",
        "1-7  class A:",
        "2-3    def b(self):",
        "5-7    def c(self):",
    ]
    assert [row.split("  ")[0] for row in old.splitlines()[1:]] == ["1-9", "4-6", "8-9", "12-13"]


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("outline", {"path": "../secret.py"}, "../secret.py is not inside"),
    ("outline", {"path": "nothing.py"}, "give a path as search_code shows it"),
    ("outline", {"path": "logo.bin"}, "in no language that is known here; read the file instead"),
    ("find_related", {"path": "nothing.py", "line": 1}, "nothing.py is not in the index of"),
    ("find_related", {"path": "shop.py", "line": 99}, "line 99 is not there; give a smaller one"),
    ("find_related", {"path": "shop.py", "line": 1, "limit": 0}, "limit is 0; give a number from 1 to 50"),
    ("find_related", {"path": "shop.py"}, "find_related: line is missing; give it"),
    ("search_code", {"query": "a", "limit": "many"}, "search_code: limit is 'many'; input should be a valid int"),
    ("search_code", {"query": "a", "language": "klingon"}, "unknown language 'klingon'; give a name like python"),
    ("grep", {}, "there is no tool grep; the tools are search_code, find_related, outline, index_status"),
]


@pytest.fixture(scope="module")
def answers(shop: Indexed) -> list[tuple[bool, str]]:
    """All mistakes in one session: none of them ends it."""
    return calls(shop, *((tool, arguments) for tool, arguments, _ in MISTAKES))


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[sentence for *_, sentence in MISTAKES])
def test_every_mistake_is_answered_with_a_sentence(answers: list[tuple[bool, str]], number: int) -> None:
    failed, text = answers[number]
    assert failed
    assert MISTAKES[number][2] in text
    assert "\n" not in text
    assert "pydantic" not in text


def test_a_link_out_of_the_workspace_is_not_followed(shop: Indexed, tmp_path: Path) -> None:
    outside = tmp_path / "outside.py"
    outside.write_text("def secret():\n    return 1\n")
    link = shop.root / "link.py"
    link.symlink_to(outside)
    ((failed, text),) = calls(shop, ("outline", {"path": "link.py"}))
    link.unlink()
    assert failed
    assert "is not inside" in text


def test_a_cancelled_call_stops_its_work_and_the_server_lives_on(shop: Indexed) -> None:
    async def talk() -> None:
        async with client(shop) as session:
            shop.service.answers = [(503, {"retry-after": "0.1"})] * 1000
            before = shop.service.requests
            call = asyncio.ensure_future(session.call_tool("search_code", {"query": "sum of prices"}))
            while shop.service.requests < before + 3:
                assert not call.done()
                await asyncio.sleep(0.02)
            call.cancel()
            await asyncio.sleep(0.5)
            asked = shop.service.requests
            await asyncio.sleep(0.5)
            shop.service.answers = []
            assert shop.service.requests == asked
            answer = await session.call_tool("search_code", {"query": "sum of prices"})
            assert not answer.is_error

    asyncio.run(talk())


def test_several_workspaces_are_searched_together_and_paths_can_be_opened(shop: Indexed) -> None:
    other = shop.root.parent / "bakery"

    async def talk() -> None:
        both = ("--workspace", str(shop.root), "--workspace", str(other))
        async with client(shop, *both) as session:
            assert f"paths are absolute: {shop.root}, {other}." in (session.instructions or "")

            async def call(name: str, **arguments: Any) -> str:
                return (await session.call_tool(name, arguments)).content[0].text  # type: ignore[union-attr]

            assert (await call("search_code", query="bake bread of flour")).startswith(f"{other}/bread.py:1-3 (score")
            assert (await call("search_code", query="total price")).startswith(f"{shop.root}/")
            only = await call("search_code", query="bake bread", path_prefix=str(shop.root))
            assert "bread.py" not in only
            assert (await call("outline", path=f"{other}/bread.py")).splitlines()[1] == "1-3  def bake(flour):"
            related = await call("find_related", path="prices.py", line=5)
            assert related.startswith(f"Paths are inside {shop.root}.")
            assert "shop.py:6 in checkout" in related
            wrong = await call("outline", path="/etc/passwd")
            assert wrong.endswith(
                f"/etc/passwd is in none of {shop.root}, {other}; give an absolute path inside one of them"
            )
            status = json.loads(await call("index_status"))
            assert [one["workspace"] for one in status["workspaces"]] == [str(shop.root), str(other)]

    asyncio.run(talk())


def test_a_workspace_that_cannot_answer_is_a_note_where_another_can(shop: Indexed, tmp_path: Path) -> None:
    async def talk() -> None:
        gone = str(tmp_path / "gone")
        async with client(shop, "--workspace", str(shop.root), "--workspace", gone) as session:
            found = await session.call_tool("search_code", {"query": "total price"})
            text = found.content[0].text  # type: ignore[union-attr]
            assert text.startswith(f"({gone}")
            assert f"{shop.root}/prices.py" in text
            status = await session.call_tool("index_status", {})
            assert "has no index" in status.content[0].text  # type: ignore[union-attr]

    asyncio.run(talk())
