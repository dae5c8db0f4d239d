"""Ctrl-C ends a command within two seconds, whatever native code it is in.

Python runs its own handler only between two steps of Python code: a compilation or a quantisation of several seconds
would be waited for. The system's part of the handler writes a byte at once, and a thread here reads it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time

INTERRUPTED = 128 + signal.SIGINT
GRACE = 1.0  # seconds for the command to tidy up and to say what is safe


def bound_ctrl_c() -> None:
    """From now on SIGINT ends this process: as a KeyboardInterrupt, and if that took over GRACE seconds, at once."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading,), name="ctrl-c", daemon=True).start()


def _watch(reading: int) -> None:
    while byte := os.read(reading, 1):
        if byte[0] == signal.SIGINT:
            time.sleep(GRACE)
            os._exit(INTERRUPTED)


def hear_every_ctrl_c() -> None:
    """A KeyboardInterrupt that arrives in a `__del__` or in a weakref's callback, as imports have them, is printed and
    forgotten by Python: from now on it is raised once more instead, a moment later."""
    sys.unraisablehook = _unraisable


def _unraisable(lost: sys.UnraisableHookArgs) -> None:
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Thread(target=_once_more, name="ctrl-c again", daemon=True).start()
    else:
        sys.__unraisablehook__(lost)


def _once_more() -> None:
    time.sleep(0.01)  # the callback is over by then
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # it wakes, too
    else:
        signal.raise_signal(signal.SIGINT)


def leave(code: int) -> None:
    """End now: the libraries' own tidying of their memory takes seconds and helps nobody."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
