"""What a server that a bench starts has in common with who started it."""

import os
import sys

from embedserve.bench.servers import StartedServer


def test_a_started_server_shares_its_starters_session_but_not_its_process_group() -> None:
    """Linux gives each session an equal share of the cores (autogroups). Between sessions os.nice() means nothing, and
    a load generator that should give way takes half of the machine. Its group ends with it; Ctrl-C is not for it."""
    server = StartedServer("sleeps", [sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert os.getsid(server.process.pid) == os.getsid(0)
        assert os.getpgid(server.process.pid) == server.process.pid
    finally:
        server.stop()
