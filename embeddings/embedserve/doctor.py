"""Checks everything that a working set-up needs, and says of each thing whether it is right and what to do.

Each check is a function that gives lines; one that breaks gives a failed line and the others go on. A line passes,
warns (it works, but not as well as it could, or could not be checked) or fails (it will not work). The service and
Qdrant are asked over HTTP, as clients do; models are looked up on disk, their hashes compared. Nothing is changed.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from embedserve import __version__
from embedserve.client_settings import storage
from embedserve.errors import EmbedServeError, IndexingFailed
from embedserve.indexing.connection import Connection
from embedserve.indexing.embedder import Embedder
from embedserve.indexing.overview import Overview, overview
from embedserve.models.spec import Published
from embedserve.settings import Settings
from embedserve.sources import user_file

MIB = 1024 * 1024
OLDEST_QDRANT = (1, 10)  # the first with the query call
CLOSE, FAR = 0.01, 0.03  # largest difference of one value: fp32 and bf16 stay below CLOSE, int8 may reach it


@dataclass(frozen=True)
class Line:
    """`advice`: what to do; empty when nothing is to be done."""

    check: str
    status: Literal["pass", "warn", "fail"]
    message: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings, where: Connection, *, published: bool = False) -> Iterator[Line]:
    """All checks, each line as soon as it is known. published: the weights too (seconds), as `--model` asks."""
    yield Line("version", "pass", f"embedserve {__version__}, Python {platform.python_version()}, {_cores()}")
    for name, check in (
        ("model", lambda: check_models(settings)),
        ("memory", lambda: check_memory(settings)),
        ("disk", lambda: check_disk(settings)),
        ("places", lambda: check_places(settings)),
    ):
        yield from _guarded(name, check)
    if published:
        yield from _guarded("weights", lambda: check_weights(settings))
    served: list[dict[str, Any]] = []
    yield from _guarded("service", lambda: check_service(where, served))
    yield from _guarded("embedding", lambda: check_embedding(where, served))
    yield from _guarded("qdrant", lambda: check_qdrant(where, served))


def _guarded(name: str, check: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from check()
    except EmbedServeError as error:
        yield Line(name, "fail", error.message)
    except Exception as error:  # a check that breaks must not hide the others
        yield Line(name, "fail", f"the check itself failed: {type(error).__name__}: {error}")


def check_models(settings: Settings) -> Iterator[Line]:
    """The files of every model that is to be served: there, and the right ones by their hashes."""
    from embedserve.models.catalog import JINA_CODE_V2, find
    from embedserve.models.sources import at_hand, how_to_get, resolve, resolve_auto

    for name in settings.model_names:
        advice, spec = "", find(name)
        try:
            if name == "auto":
                source, _notice = resolve_auto(settings.home, offline=True)
                if source.spec.id != JINA_CODE_V2.id:
                    advice = _second_best(how_to_get(JINA_CODE_V2, settings.home))
            elif spec is None:
                source = resolve(name, home=settings.home, offline=True)
            elif found := at_hand(spec, settings.home):
                source = found
            else:
                advice = how_to_get(spec, settings.home)
                yield Line("model", "fail", f"{spec.id} is not on this machine", advice)
                continue
        except EmbedServeError as error:
            yield Line("model", "fail", error.message)
            continue
        files = f"{source.spec.id}: files complete and checked, from {source.origin} ({source.folder})"
        yield Line("model", "warn" if advice else "pass", files, advice)


def check_weights(settings: Settings) -> Iterator[Line]:
    """The weights themselves, in float32 and without a server, against what their makers published."""
    from embedserve.models.catalog import find
    from embedserve.models.sources import at_hand, resolve
    from embedserve.serving.published import differences

    for name in settings.model_names:
        spec = find(name)
        source = at_hand(spec, settings.home) if spec else resolve(name, home=settings.home, offline=True)
        for found in differences(source) if source else ():  # None: check_models has said it
            model = source.spec.id if source else name
            what = f"{found.what}: {found.apart:.5f} from the published, {found.allowed:g} allowed"
            if not found.what:
                what = (
                    "a finite vector (no published values to compare)" if found.holds else "its vectors are not finite"
                )
            advice = "" if found.holds else f"these are not {model}'s weights or tokenizer: embedserve pull {model}"
            yield Line("weights", "pass" if found.holds else "fail", f"{model}: {what}", advice)


def _second_best(how: str) -> str:
    return f"jina-code-v2, the better model for code, is not on this machine. {how}"


def check_memory(settings: Settings) -> Iterator[Line]:
    """Enough for the model's weights in fp32 and working memory, within what this process may use."""
    from embedserve.machine.memory import cgroup_limit, usable_memory
    from embedserve.models.catalog import CATALOG, find

    usable = usable_memory(settings.memory_limit)
    limits = {settings.memory_limit: "EMBEDDING_MEMORY_LIMIT", cgroup_limit() or 0: "the cgroup's limit"}
    source = limits.get(usable, "the machine's RAM")
    specs = [find(name) for name in settings.model_names] if settings.model != "auto" else [CATALOG[0]]
    wanted = 400 * MIB + sum(4 * spec.size_bytes for spec in specs if spec)
    message = f"{usable / 2**30:.1f} GiB may be used ({source}); about {wanted / 2**30:.1f} GiB are wanted"
    if usable >= wanted:
        yield Line("memory", "pass", message)
    else:
        status: Literal["warn", "fail"] = "warn" if usable >= wanted / 2 else "fail"
        yield Line("memory", status, message, "raise the limit, or serve a smaller model (all-MiniLM-L6-v2)")


def check_disk(settings: Settings) -> Iterator[Line]:
    """Room where models, artefacts and the cache are kept."""
    folder: Path = settings.home
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        yield Line("disk", "fail", f"{folder} cannot be written to", "mend its rights, or set EMBEDDING_HOME")
        return
    free = shutil.disk_usage(folder).free
    wanted = settings.cache_disk if settings.cache == "disk" else 0
    message = f"{free / 2**30:.1f} GiB free for {settings.home}"
    if free < 500 * MIB:
        yield Line("disk", "fail", message, "make room, or set EMBEDDING_HOME to a folder elsewhere")
    elif free < wanted + 500 * MIB:
        yield Line("disk", "warn", message, f"the cache may take {wanted / 2**30:.1f} GiB: see EMBEDDING_CACHE_DISK")
    else:
        yield Line("disk", "pass", message)


def check_places(settings: Settings) -> Iterator[Line]:
    """Where everything of ours lives on this machine."""
    hub = os.environ.get("HF_HOME", "").strip() or "~/.cache/huggingface"
    places = {
        "models, artefacts, the cache, lexical indexes": str(settings.home),
        "vectors of the embedded Qdrant": storage(),
        "models from the hub": os.path.expanduser(hub),
        "your settings": str(user_file()),
    }
    yield Line("places", "pass", "; ".join(f"{what}: {folder}" for what, folder in places.items()))


def check_service(where: Connection, served: list[dict[str, Any]]) -> Iterator[Line]:
    """What listens on the service's port; fills in `served` from /v1/models."""
    url = where.embeddings_url
    try:
        answer = _get(url + "/models", where.api_key)
    except httpx.TransportError as error:
        if _is_open(url):
            yield Line("service", "fail", f"the port of {url} is taken by something that speaks no HTTP ({error})",
                       "stop that program, or set EMBEDDING_PORT")  # fmt: skip
        else:
            yield Line("service", "warn", f"nothing listens at {url}; the port is free",
                       "start it: scripts/manage.sh start, or embedserve serve")  # fmt: skip
        return
    if answer.status_code == 503:
        yield Line("service", "warn", f"{url} is still loading its model", "run doctor again in a moment")
    elif answer.status_code in (401, 403):
        yield Line("service", "fail", f"{url} refuses the API key", "give the right one: EMBEDDING_API_KEY")
    elif answer.status_code != 200 or not _model_list(answer):
        yield Line("service", "fail", f"{url} is another program: it does not list models",
                   "stop that program, or set EMBEDDING_PORT")  # fmt: skip
    else:
        served.extend(_model_list(answer))
        shown = ", ".join(f"{model['id']} ({model.get('dimension', '?')} dimensions)" for model in served)
        yield Line("service", "pass", f"{url} serves {shown}")


def check_embedding(where: Connection, served: list[dict[str, Any]]) -> Iterator[Line]:
    """A real embedding of each served model, against published values where there are some."""
    if not served:
        yield Line("embedding", "warn", "not tested: the service is not running", "start it and run doctor again")
    for model in served:
        yield asyncio.run(_test_embedding(where, str(model["id"])))


async def _test_embedding(where: Connection, model: str) -> Line:
    from embedserve.models.catalog import find

    spec = find(model)
    known = spec.published[0] if spec and spec.published else Published("hello world", ())
    text, expected = known.text, known.values
    embedder = Embedder(where.embeddings_url, where.api_key, model, patience=10)
    try:
        vector = (await embedder.embed([text]))[0]
    except IndexingFailed as error:
        return Line("embedding", "fail", error.message, "see the service's log: scripts/manage.sh logs")
    finally:
        await embedder.close()
    norm = float((vector**2).sum() ** 0.5)
    if abs(norm - 1) > 0.001:
        return Line("embedding", "fail", f"{model}: a vector of length {norm:.4f} instead of 1", "is it this service?")
    if not expected:
        return Line(
            "embedding", "pass", f"{model}: {len(vector)} dimensions, length 1 (no published values to compare)"
        )
    apart = max(abs(float(got) - want) for got, want in zip(vector, expected, strict=False))
    message = f"{model}: the first values differ from the published ones by at most {apart:.4f}"
    if apart < CLOSE:
        return Line("embedding", "pass", message)
    if apart < FAR:
        return Line("embedding", "warn", message, "int8 may do that; EMBEDDING_PRECISION=fp32 must be below 0.001")
    return Line("embedding", "fail", message, f"these are not {model}'s weights: embedserve pull {model}")


def check_qdrant(where: Connection, served: list[dict[str, Any]]) -> Iterator[Line]:
    """Reachable, new enough, and its code collections of the dimension that is served."""
    try:
        version, collections = asyncio.run(_look(where))
    except IndexingFailed as error:
        yield Line("qdrant", "fail", error.message)
        return
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_QDRANT:
        yield Line("qdrant", "fail", f"Qdrant {version} at {where.qdrant_url} is too old", "use 1.10 or newer")
    else:
        yield Line("qdrant", "pass", f"Qdrant {version} at {where.qdrant_url}, {len(collections)} code collections")
    dimensions = {model["dimension"] for model in served if model.get("dimension")}
    lines = [line for found in collections if (line := _collection_problem(found, dimensions))]
    if fine := len(collections) - len(lines):
        fit = f"{fine} code collections are complete" + (" and fit the model" if dimensions else "")
        yield Line("collection", "pass", fit)
    yield from lines


def _collection_problem(found: Overview, dimensions: set[int]) -> Line | None:
    what = f"{found.name}: {found.points} points of {found.dimension} dimensions"
    if dimensions and found.dimension not in dimensions:
        served = " or ".join(map(str, sorted(dimensions)))
        message = f"{what}, but the service gives {served}: it cannot be searched with it"
        anew = "in its folder: embedserve index --recreate ." if found.own else "index again in the editor"
        return Line("collection", "warn", message, f"serve its model, or {anew}")
    if found.complete is False and found.own:
        return Line("collection", "warn", f"{what}; its indexing was stopped", "in its folder: embedserve index .")
    return None


async def _look(where: Connection) -> tuple[str, list[Overview]]:
    client = where.qdrant()
    try:
        return await overview(client)
    finally:
        await client.close()


def _get(url: str, api_key: str | None) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=5) as client:
        return client.get(url, headers={"Authorization": f"Bearer {api_key or 'local'}"})


def _model_list(answer: httpx.Response) -> list[dict[str, Any]]:
    try:
        data = answer.json()["data"]
        return [model for model in data if isinstance(model["id"], str)]
    except (ValueError, KeyError, TypeError):
        return []


def _is_open(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as sock:
        sock.settimeout(2)
        return sock.connect_ex((parts.hostname or "127.0.0.1", parts.port or 80)) == 0


def _cores() -> str:
    return f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"
