"""What changed in a workspace, as the system tells it.

Linux watches one folder at a time, so there only those are watched that can hold an indexed file; when folders or
ignore rules change, a new watch begins before the old one ends, so that no event is lost between them. Elsewhere one
watch of the system covers the whole tree. It does not know what a change means.
"""

from __future__ import annotations

import os
import platform
import sys
import threading
from collections.abc import Callable

from watchfiles._rust_notify import RustNotify  # its documented lower level: a watch that can be replaced

from embedserve.errors import SetupError

TIMEOUT_MS = 10_000
_DEBOUNCE_MS, _STEP_MS = 500, 50
_ATTEMPTS = 20  # folders that come and go while a watch is being made


class Events:
    """A watch over `workspace`. Blocking: for one thread, but for `close`.

    folders: those to watch, by their paths inside the workspace, asked anew when they may have changed.
    rules_changed: whether a path is that of ignore rules.
    """

    def __init__(self, workspace: str, folders: Callable[[], set[str]], rules_changed: Callable[[str], bool]) -> None:
        self.workspace = workspace
        self.watched: set[str] = set()
        self._folders, self._rules_changed = folders, rules_changed
        self._by_folder = sys.platform == "linux"
        self._closed = threading.Event()
        self._waiting = threading.Lock()
        self._notify: RustNotify | None = None

    def open(self) -> None:
        """Begin to watch. Raises SetupError with the system's limit."""
        try:
            self._renew()
        except OSError as error:
            hint = "; on Linux: sudo sysctl fs.inotify.max_user_watches=1048576" if "limit" in str(error) else ""
            raise SetupError(
                f"cannot watch {self.workspace}: {error}{hint}; without --watch it can be indexed"
            ) from error

    def wait(self) -> set[str]:
        """The changed paths, relative to the workspace, half a second after the first; none after ten seconds."""
        with self._waiting:
            changed = self._wait()
            if self._closed.is_set() and self._notify is not None:
                self._notify.close()  # `close` may not have waited for us
            return changed

    def _wait(self) -> set[str]:
        assert self._notify is not None, "open() first"
        changed = self._relative(self._notify.watch(_DEBOUNCE_MS, _STEP_MS, TIMEOUT_MS, self._closed))
        if self._by_folder and not self._closed.is_set() and any(map(self._may_change_folders, changed)):
            before, self._notify = self._notify, None
            try:
                self.open()
                changed |= self._relative(before.watch(1, 1, 1, None))
            finally:
                before.close()
        return changed

    def close(self) -> None:
        """End the watch, and the wait of another thread."""
        self._closed.set()
        if self._waiting.acquire(timeout=4 * _STEP_MS / 1000):
            if self._notify is not None:
                self._notify.close()
            self._waiting.release()

    def _may_change_folders(self, path: str) -> bool:
        return self._rules_changed(path) or os.path.isdir(os.path.join(self.workspace, path))

    def _renew(self) -> None:
        """Watch every folder that there is: one that came while the watch was made is looked for again."""
        if not self._by_folder:
            self._notify = self._watch({""}, recursive=True)
            return
        folders = self._folders()
        for _ in range(_ATTEMPTS):
            try:
                self._notify = self._watch(folders, recursive=False)
            except FileNotFoundError:
                folders = self._folders()
                continue
            there = self._folders()
            if there <= folders:
                break
            folders = there
        if self._notify is None:
            raise FileNotFoundError(f"its folders change faster than they can be watched, or {self.workspace} is gone")
        self.watched = folders

    def _watch(self, folders: set[str], recursive: bool) -> RustNotify:
        paths = [os.path.join(self.workspace, folder) for folder in sorted(folders)]
        return RustNotify(paths, False, _polling(), 300, recursive, True)

    def _relative(self, raw: set[tuple[int, str]] | str) -> set[str]:
        return set() if isinstance(raw, str) else {os.path.relpath(path, self.workspace) for _kind, path in raw}


def _polling() -> bool:
    """As watchfiles decides: asked for, or Windows' folders seen from WSL, which tell of nothing."""
    return bool(os.environ.get("WATCHFILES_FORCE_POLLING")) or "microsoft-standard" in platform.uname().release
