"""Where the commands find the service and Qdrant: five values and, of each, where it came from.

They are what index, search, mcp, doctor and warmup read, and nothing else: a server's wrong setting must not stop a
search. Two variables may say one thing (a URL, or the port that moves ours): the one from the earlier source wins, as
in `QDRANT_PORT=7000 embedserve search` over a QDRANT_URL in .env; within one source the URL does. A URL without a port
means the port that is set, else Qdrant's or ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from embedserve.errors import SettingsError
from embedserve.sources import UNSET, origin, rank

SERVICE_PORT, QDRANT_PORT = 4000, 6333
DEFAULT_STORAGE = "~/.local/share/embedserve/qdrant"


@dataclass(frozen=True)
class Found:
    """A value and where it came from: "--flag", "environment", "default" or a file's path."""

    value: str | None
    origin: str


@dataclass(frozen=True)
class ClientSettings:
    """`embeddings_url` has the /v1. `model` None: the service's first."""

    embeddings_url: Found
    api_key: Found
    model: Found
    qdrant_url: Found
    qdrant_api_key: Found

    def shown(self) -> list[tuple[str, str, str]]:
        """(name, value, origin) of each, with the keys covered."""
        rows = []
        for name, found in vars(self).items():
            covered = "(set)" if name.endswith("key") and found.value else found.value or ""
            rows.append((name, covered, found.origin))
        return rows


def client_settings(
    environ: Mapping[str, str] | None = None,
    *,
    embeddings_url: str | None = None,
    api_key: str | None = None,
    model: str | None = None,
    qdrant_url: str | None = None,
    qdrant_api_key: str | None = None,
) -> ClientSettings:
    """What flags (the keyword arguments), then `environ` say. Raises SettingsError for a port or a URL that is none."""
    environ = os.environ if environ is None else environ
    return ClientSettings(
        embeddings_url=_url_flag("--embeddings-url", embeddings_url) or _service(environ),
        api_key=_flag("--api-key", api_key) or _variable("EMBEDDING_API_KEY", environ),
        model=_flag("--model", model) or Found(None, "default"),
        qdrant_url=_url_flag("--qdrant-url", qdrant_url) or _qdrant(environ),
        qdrant_api_key=_flag("--qdrant-api-key", qdrant_api_key) or _variable("QDRANT_API_KEY", environ),
    )


def qdrant_port(environ: Mapping[str, str] | None = None) -> int:
    """The port for a Qdrant of ours: QDRANT_PORT, or the one of a QDRANT_URL that names this machine."""
    environ = os.environ if environ is None else environ
    url = environ.get("QDRANT_URL", "").strip()
    if url and rank("QDRANT_URL", environ) <= rank("QDRANT_PORT", environ):
        parts = _parsed("QDRANT_URL", url)
        if is_local(parts.hostname or "") and parts.port:
            return parts.port
    return _port("QDRANT_PORT", environ, QDRANT_PORT)


def home(environ: Mapping[str, str] | None = None) -> str:
    """EMBEDDING_HOME, where lexical indexes are kept among other things."""
    environ = os.environ if environ is None else environ
    return os.path.expanduser(environ.get("EMBEDDING_HOME", "").strip() or "~/.cache/embedserve")


def storage(environ: Mapping[str, str] | None = None) -> str:
    """QDRANT_STORAGE, where the embedded Qdrant keeps its collections."""
    environ = os.environ if environ is None else environ
    return os.path.expanduser(environ.get("QDRANT_STORAGE", "").strip() or DEFAULT_STORAGE)


def grpc_port(rest: int, environ: Mapping[str, str] | None = None) -> tuple[int | None, bool]:
    """The port of gRPC beside REST's, and whether it was asked for: QDRANT_GRPC_PORT, else the next one after REST's.

    None: QDRANT_GRPC_PORT is `off`, or REST takes a free port and nothing is said.
    """
    environ = os.environ if environ is None else environ
    value = environ.get("QDRANT_GRPC_PORT", "").strip()
    if value.lower() == "off":
        return None, True
    if not value:
        return (rest + 1 if 0 < rest < 65535 else None), False
    return (0 if value == "0" else _port("QDRANT_GRPC_PORT", environ, QDRANT_PORT + 1)), True


def is_local(host: str) -> bool:
    """Whether `host` names this machine's loopback."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _service(environ: Mapping[str, str]) -> Found:
    url = environ.get("EMBEDDING_URL", "").strip()
    if url and rank("EMBEDDING_URL", environ) <= rank("EMBEDDING_PORT", environ):
        _parsed("EMBEDDING_URL", url)
        return Found(url.rstrip("/"), origin("EMBEDDING_URL", environ))
    host = environ.get("EMBEDDING_HOST", "").strip()
    host = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host
    host = f"[{host}]" if ":" in host else host
    moved = [name for name in ("EMBEDDING_PORT", "EMBEDDING_HOST") if rank(name, environ) < UNSET]
    where = origin(moved[0], environ) if moved else "default"
    return Found(f"http://{host}:{_port('EMBEDDING_PORT', environ, SERVICE_PORT)}/v1", where)


def _qdrant(environ: Mapping[str, str]) -> Found:
    url = environ.get("QDRANT_URL", "").strip()
    if url and rank("QDRANT_URL", environ) <= rank("QDRANT_PORT", environ):
        parts = _parsed("QDRANT_URL", url)
        if parts.port is None and is_local(parts.hostname or "") and rank("QDRANT_PORT", environ) < UNSET:
            url = f"{url.rstrip('/')}:{_port('QDRANT_PORT', environ, QDRANT_PORT)}"
        return Found(url, origin("QDRANT_URL", environ))
    return Found(f"http://127.0.0.1:{_port('QDRANT_PORT', environ, QDRANT_PORT)}", origin("QDRANT_PORT", environ))


def _flag(name: str, value: str | None) -> Found | None:
    return Found(value, name) if value else None


def _url_flag(name: str, value: str | None) -> Found | None:
    if value:
        _parsed(name, value)
    return _flag(name, value)


def _variable(name: str, environ: Mapping[str, str]) -> Found:
    return Found(environ.get(name, "").strip() or None, origin(name, environ))


def _port(name: str, environ: Mapping[str, str], default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise SettingsError(f"{name}={text} is not a port (1 to 65535).")
    return int(text)


def _parsed(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a port that is none
    except ValueError as error:
        raise SettingsError(f"{name}={url} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{name}={url} is not a URL; write http://HOST:PORT")
    return parts
