"""The real MiniLM, as the backends' tests have it."""

import pytest

from embedserve.models.sources import resolve
from support.checkpoints import minilm as find_minilm
from support.checkpoints import tiny_jina as write_tiny_jina


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def minilm(home):
    return find_minilm(home)


@pytest.fixture(scope="session")
def tiny_jina(home, tmp_path_factory):
    return resolve(str(write_tiny_jina(tmp_path_factory.mktemp("tiny-jina"))), home=home)
