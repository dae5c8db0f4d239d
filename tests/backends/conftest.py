"""MiniLM's real weights, and a home in which it is converted once for all tests of this folder."""

import numpy as np
import pytest
from random_jina import write_checkpoint

from embedserve.models.sources import resolve
from embedserve.models.tokenizer import load_tokenizer

TEXTS = [
    "def add(a, b):\n    return a + b",
    "x",
    "async def fetch(url):\n    async with session.get(url) as reply:\n        return await reply.json()\n" * 6,
    "SELECT name, count(*) FROM users WHERE age > 30 GROUP BY name ORDER BY 2 DESC",
    "你好 мир 🙂\t\n",
    "class Node:\n    def __init__(self, value, left=None, right=None):\n        self.value = value\n" * 3,
    "import os",
    "for (let i = 0; i < items.length; i++) { total += items[i].price * items[i].count; }",
    'fn main() { println!("hello"); }',
]


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def minilm(home):
    return resolve("all-MiniLM-L6-v2", home=home)


@pytest.fixture(scope="session")
def minilm_ids(minilm):
    return [e.ids for e in load_tokenizer(minilm).encode(TEXTS)]


@pytest.fixture(scope="session")
def tiny_jina(home, tmp_path_factory):
    """The architecture of jina-code-v2, 2 layers, 48 wide, 12 heads (so that ALiBi has both kinds of slopes)."""
    folder = tmp_path_factory.mktemp("tiny-jina")
    write_checkpoint(folder, layers=2, hidden=48, heads=12, intermediate=96, vocab=500, files=20)
    return resolve(str(folder), home=home)


@pytest.fixture(scope="session")
def jina_ids():
    pick = np.random.default_rng(3)
    return [pick.integers(0, 400, n).astype(np.int32) for n in (1, 3, 17, 200, 64, 5)]
