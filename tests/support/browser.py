"""Debian's Chromium, headless, through its own protocol: pages, scripts in them, screenshots."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SWITCHES = [
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    *("--disable-" + what for what in ("gpu", "quic", "background-networking", "component-update", "sync")),
]


class Browser:
    """`with Browser() as browser: browser.open(url); browser.run("document.title")`."""

    def __enter__(self) -> Browser:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._opened = contextlib.ExitStack()
        command = [str(CHROMIUM), *SWITCHES, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port = self._port()
        page = next(t for t in httpx.get(f"http://127.0.0.1:{port}/json").json() if t["type"] == "page")
        self._socket = self._opened.enter_context(connect(page["webSocketDebuggerUrl"], max_size=None))
        self._numbers = itertools.count(1)
        self.tell("Page.enable")
        return self

    def _port(self) -> int:
        said = Path(self._folder.name) / "DevToolsActivePort"
        deadline = time.monotonic() + 60
        while not (said.exists() and said.read_text().strip()):
            assert self._process.poll() is None, "Chromium ended while starting"
            assert time.monotonic() < deadline, "Chromium did not open its port"
            time.sleep(0.05)
        return int(said.read_text().split()[0])

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol and its answer."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, guarded: bool = True) -> None:
        """`guarded`: the page's own content policy holds; without it a test may bring a script."""
        self.tell("Page.setBypassCSP", enabled=not guarded)
        phone = width < 600
        scale = 2 if phone else 1
        self.tell(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", features=[scheme])
        self.tell("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; promises are waited for."""
        done = self.tell("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script: str, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < deadline, f"it did not come: {script}"
            time.sleep(0.1)

    def picture(self, path: Path, whole: bool = False) -> None:
        shot = self.tell("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._opened.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._folder.cleanup()
