"""A small local model hub: serves folders the way the real one does, and misbehaves on request.

Speaks what huggingface_hub asks for: `GET /api/models/{id}[/revision/{rev}]` (commit, files, sizes, LFS
sha256), `HEAD` and `GET /{id}/resolve/{rev}/{file}` with X-Repo-Commit, ETag, X-Linked-Etag, X-Linked-Size,
Range (206) and, for LFS files, a redirect to another path as the real one does.

    with LocalHub({"acme/tiny": folder}) as hub:
        environ["HF_ENDPOINT"] = hub.url

Knobs, changed while it runs: `gated` (401 GatedRepo without a token), `delay` (seconds before any answer),
`tears` (the next LFS downloads are cut after so many bytes each), `ranges` (False: Range is ignored),
`corrupt` (a byte of each LFS file is flipped).
`requests` holds (method, path, Range header) of everything that was asked.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

LFS_OVER = 40_000  # bytes; larger files are LFS files
_API = re.compile(r"^/api/models/([^/]+/[^/]+)(?:/revision/([^/?]+))?$")
_RESOLVE = re.compile(r"^/([^/]+/[^/]+)/(resolve|cdn)/([^/]+)/(.+)$")
TOKEN = "hf_right"


class LocalHub:
    def __init__(self, models: dict[str, Path], commit: str = "c0ffee" + "0" * 34) -> None:
        """models: hub id -> folder. Every model is at `commit`; other revisions than it and main are 404."""
        self.models, self.commit = models, commit
        self.commits: dict[str, str] = {}  # hub id -> its own commit, where one is pinned
        self.gated: set[str] = set()
        self.delay = 0.0
        self.tears: list[int] = []
        self.corrupt = False
        self.ranges = True
        self.requests: list[tuple[str, str, str | None]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, part: str) -> list[tuple[str, str, str | None]]:
        return [request for request in self.requests if part in request[1]]


class _Handler(BaseHTTPRequestHandler):
    hub: LocalHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        pass

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        time.sleep(self.hub.delay)
        if match := _API.match(path):
            self._info(match[1], match[2])
        elif match := _RESOLVE.match(path):
            self._file(match[1], match[2], match[3], match[4])
        else:
            self._error(404, "EntryNotFound")

    def _info(self, hub_id: str, revision: str | None) -> None:
        if (folder := self._folder(hub_id, revision)) is None:
            return
        siblings = []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            content = path.read_bytes()
            entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": len(content)}
            entry["blobId"] = _git_hash(content)
            if len(content) > LFS_OVER:
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 135}
            siblings.append(entry)
        info = {"id": hub_id, "modelId": hub_id, "sha": self._commit(hub_id), "private": False, "siblings": siblings}
        self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _file(self, hub_id: str, kind: str, revision: str, name: str) -> None:
        if (folder := self._folder(hub_id, revision)) is None:
            return None
        if hub_id in self.hub.gated and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._error(401, "GatedRepo", f"Access to model {hub_id} is restricted.")
        path = folder / name
        if not path.is_file():
            return self._error(404, "EntryNotFound")
        content = path.read_bytes()
        headers = {"X-Repo-Commit": self._commit(hub_id), "Accept-Ranges": "bytes"}
        if len(content) <= LFS_OVER:
            headers["ETag"] = f'"{_git_hash(content)}"'
            return self._send(200, content, headers)
        headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        headers["X-Linked-Size"] = str(len(content))
        if kind == "resolve":
            headers["Location"] = f"/{hub_id}/cdn/{revision}/{name}"
            return self._send(302, b"", headers)
        if self.hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        return self._large(content, headers)

    def _large(self, content: bytes, headers: dict[str, str]) -> None:
        status, start = 200, 0
        if self.hub.ranges and (match := re.match(r"bytes=(\d+)-", self.headers.get("Range") or "")):
            status, start = 206, int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        headers["ETag"] = headers["X-Linked-Etag"]
        if self.hub.tears and self.command == "GET":
            self.close_connection = True
            return self._send(status, body, headers, sent=self.hub.tears.pop(0))
        return self._send(status, body, headers)

    def _folder(self, hub_id: str, revision: str | None) -> Path | None:
        folder = self.hub.models.get(hub_id)
        if folder is None:
            self._error(401, "RepoNotFound", "Repository not found")
        elif revision not in (None, "main", self._commit(hub_id)):
            folder = None
            self._error(404, "RevisionNotFound", "Invalid rev id")
        return folder

    def _commit(self, hub_id: str) -> str:
        return self.hub.commits.get(hub_id, self.hub.commit)

    def _error(self, status: int, code: str, message: str = "not found") -> None:
        body = json.dumps({"error": message}).encode()
        self._send(status, body, {"X-Error-Code": code, "X-Error-Message": message})

    def _send(self, status: int, body: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent is None else body[:sent])


def _git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
