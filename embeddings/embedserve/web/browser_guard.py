"""Refuses what a web page could have sent: no site that its user visits may drive a local server.

Three checks on the headers, before anything reads the body:

- Host (against DNS rebinding, where a page's own name is pointed at 127.0.0.1): such a name is public, so it
  has a dot. Let through are IP addresses, localhost, names without a dot (Docker services),
  host.docker.internal and the names that the operator lists. Where an API key is demanded, a server leaves
  this check out, since a page does not know the key; paths that are open without the key keep it.
- Origin: browsers send it on every cross-origin request that could change something; other clients send none.
  It must be the server's own or a listed one. (Listing one does not make the answers readable for its pages:
  that is starlette's CORSMiddleware, to be put around this.)
- Content-Type: a form can send text/plain without asking first; JSON it cannot. So whatever has a body and
  may change data must say that it is JSON; where files are taken, it may be a form, and the Origin decides.
  A compressed body is refused too: nothing here unpacks one, and it would read as broken JSON.

It knows nothing of keys, routes and error shapes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from urllib.parse import SplitResult, urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from embedserve.errors import ForbiddenOrigin, RequestError, UnsupportedMediaType
from embedserve.web.refusal import ErrorBody, refuse

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_DEFAULT_PORT = {"http": 80, "https": 443}


class BrowserGuard:
    """Middleware. `check_host(scope)`: whether the first check is made for this request. `takes_files(scope)`: whether
    multipart/form-data is taken too.

    `allowed_hosts` are further Host names without port, `allowed_origins` are like https://a.example:8443; a
    ValueError names an entry that is not one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        error_body: ErrorBody,
        check_host: Callable[[Scope], bool] = lambda _scope: True,
        allowed_hosts: Iterable[str] = (),
        allowed_origins: Iterable[str] = (),
        takes_files: Callable[[Scope], bool] = lambda _scope: False,
    ) -> None:
        self.app = app
        self.error_body = error_body
        self.check_host = check_host
        self.takes_files = takes_files
        self.hosts = frozenset(_host_entry(name) for name in allowed_hosts)
        self.origins = frozenset(_origin_entry(origin) for origin in allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._objection(scope) if scope["type"] in ("http", "websocket") else None
        if error is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refuse(send, error, self.error_body)

    def _objection(self, scope: Scope) -> RequestError | None:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, []).append(value.decode("latin-1").strip())
        hosts = headers.get(b"host", [])
        if self.check_host(scope) and not all(self._host_allowed(host) for host in hosts):
            return ForbiddenOrigin(
                f"the Host name {hosts[0]!r} is not known here (a protection against DNS rebinding); "
                "use an IP address or localhost, or list the name as an allowed host"
            )
        for origin in headers.get(b"origin", []):
            if not self._origin_allowed(origin, hosts):
                return ForbiddenOrigin(
                    f"pages of {origin!r} may not call this server unless listed as an allowed origin"
                )
        if scope["type"] == "http" and scope["method"] in _CHANGING and _has_body(headers):
            media = headers.get(b"content-type", [""])[0].partition(";")[0].strip().lower()
            file = media == "multipart/form-data" and self.takes_files(scope)
            json = media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
            if not (json or file):
                return UnsupportedMediaType(f"Content-Type must be application/json, not {media or 'missing'!r}")
            coding = headers.get(b"content-encoding", ["identity"])[0].lower()
            if coding not in ("", "identity"):
                return UnsupportedMediaType(f"Content-Encoding {coding[:64]!r} is refused; send the body uncompressed")
        return None

    def _host_allowed(self, header: str) -> bool:
        parts = _split(f"http://{header}")
        name = ((parts and parts.hostname) or "").removesuffix(".")
        if not name:
            return False
        return (
            "." not in name
            or name == "host.docker.internal"
            or name.endswith(".localhost")
            or name in self.hosts
            or _is_ip(name)
        )

    def _origin_allowed(self, origin: str, hosts: list[str]) -> bool:
        if origin.lower() in self.origins:
            return True
        parts = _split(origin)
        if parts is None or parts.scheme not in _DEFAULT_PORT:
            return False  # also "null": sandboxed frames and local files
        # Scheme left out of the comparison: behind a proxy that ends TLS, ours is http and the page's https.
        port = parts.port or _DEFAULT_PORT[parts.scheme]
        own = (_split(f"{parts.scheme}://{host}") for host in hosts)
        return any(
            o is not None and (o.hostname, o.port or _DEFAULT_PORT[o.scheme]) == (parts.hostname, port) for o in own
        )


def _has_body(headers: dict[bytes, list[str]]) -> bool:
    return b"transfer-encoding" in headers or headers.get(b"content-length", ["0"]) != ["0"]


def _split(origin: str) -> SplitResult | None:
    """The parts of scheme://host[:port] with nothing more, or None."""
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018  (raises on a port that is no number)
    except ValueError:
        return None
    if not parts.hostname or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return parts


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_entry(name: str) -> str:
    if _split(f"http://{name}") is None or ":" in name:
        raise ValueError(f"allowed host {name!r}: give a name without scheme, port and path")
    return name.lower()


def _origin_entry(origin: str) -> str:
    parts = _split(origin)
    if "*" in origin:
        raise ValueError(f"allowed origin {origin!r}: patterns are not known here; list each origin in full")
    if parts is None or not parts.scheme:
        raise ValueError(f"allowed origin {origin!r}: give scheme://host or scheme://host:port, without a path")
    return origin.lower()
