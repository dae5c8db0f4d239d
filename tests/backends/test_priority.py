"""A library's threads that compute are of lower priority than ours that serve."""

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from embedserve.backends.select import load_backend
from embedserve.machine.priority import NICER, in_a_nicer_thread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="niceness of threads is Linux's")


def niceness() -> dict[int, int]:
    """Of each thread of this process."""
    return {
        int(task.name): os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path("/proc/self/task").iterdir()
    }


def test_threads_that_openvino_starts_are_nicer_than_the_one_that_asks(minilm, home):
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    before = set(niceness())
    backend = load_backend(minilm, backend="openvino", precision="fp32", home=home, threads=2)
    backend.embed([np.arange(5, 200, dtype=np.int32)])
    started = {thread: nice for thread, nice in niceness().items() if thread not in before}
    backend.close()
    assert started
    assert set(started.values()) == {min(mine + NICER, 19)}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == mine


def test_what_fails_in_the_nicer_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_a_nicer_thread(lambda: 1 / 0)
