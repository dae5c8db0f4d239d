"""The server that most tests of the API talk to; a module that needs another has a fixture of that name itself."""

import pytest

from support.live import fake_server


@pytest.fixture(scope="module")
def server():
    with fake_server() as live:
        yield live
