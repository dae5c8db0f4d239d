"""Snapshots of a collection: the way to back it up and to bring it back, here or on another embedded Qdrant.

A snapshot is a tar file `<storage>/snapshots/<collection's folder>/<name>.snapshot` with meta.json, our mark and the
shard's files; its SHA-256 stands beside it. It is an embedded Qdrant's: a full server's snapshot is refused by name,
and a full server is filled through the API (qdrant-client's `migrate`).
"""

from __future__ import annotations

import datetime
import hashlib
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import httpx
import orjson
from starlette.responses import FileResponse

from embedserve.vectordb.body import Fields, one_of
from embedserve.vectordb.call import Call
from embedserve.vectordb.collection import Collection
from embedserve.vectordb.collection_handlers import check_name
from embedserve.vectordb.errors import ApiError, format_error, wrong_input
from embedserve.vectordb.files import check_space, disk_size, replace_json
from embedserve.vectordb.marks import FETCHED, GENERATION, MAKING, MARK, META, UPLOADED, remove
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.threads import in_thread
from embedserve.vectordb.upload import Upload

_NAME = re.compile(r"[\w.-]{1,200}\.snapshot")
_UNSAFE = re.compile(r"[^\w.-]")
_FETCH_SECONDS = 60.0  # without a byte
_SHARD = "0123456789abcdef"  # the shard's folder inside a snapshot
_PRIORITIES = dict.fromkeys(("no_sync", "snapshot", "replica"))


def _folder(storage: Storage, collection: Collection) -> Path:
    return storage.snapshots / collection.folder.name


def _shown(path: Path) -> dict[str, Any]:
    made = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC).replace(microsecond=0, tzinfo=None)
    checksum = path.with_suffix(".sha256")
    return {
        "name": path.name,
        "creation_time": made.isoformat(),
        "size": path.stat().st_size,
        "checksum": checksum.read_text() if checksum.exists() else None,
    }


async def create(storage: Storage, call: Call, _body: Any) -> Any:
    collection = storage.get(call.name)
    folder = _folder(storage, collection)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d-%H-%M-%S-%f")
    path = folder / f"{_UNSAFE.sub('_', collection.name)[:100]}-{now}.snapshot"
    await in_thread(folder.mkdir, parents=True, exist_ok=True)
    work = Path(await in_thread(tempfile.mkdtemp, prefix=MAKING, dir=folder))
    try:
        meta = await collection.copy_to(work / _SHARD)
        await in_thread(_pack, work, meta | {"generation": _SHARD}, path, storage.reserve)
    finally:
        await in_thread(shutil.rmtree, work, ignore_errors=True)
    return await in_thread(_shown, path)


def _pack(work: Path, meta: dict[str, Any], path: Path, reserve: int) -> None:
    (work / MARK).touch()
    replace_json(work / META, meta)
    part = work / "snapshot.part"
    check_space(work, reserve + disk_size(work))
    with tarfile.open(part, "w") as tar:
        for name in (MARK, META, _SHARD):
            tar.add(work / name, name)
    path.with_suffix(".sha256").write_text(_sha256(part))
    part.rename(path)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def list_all(storage: Storage, call: Call, _body: Any) -> Any:
    folder = _folder(storage, storage.get(call.name))
    return [_shown(path) for path in sorted(folder.glob("*.snapshot"))]


def _find(storage: Storage, call: Call) -> Path:
    name = call.params["snapshot"]
    path = _folder(storage, storage.get(call.name)) / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise ApiError(404, f"Not found: Snapshot `{name[:200]}` does not exist")
    return path


async def download(storage: Storage, call: Call, _body: Any) -> Any:
    path = _find(storage, call)
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


async def delete(storage: Storage, call: Call, _body: Any) -> Any:
    path = _find(storage, call)
    path.unlink()
    path.with_suffix(".sha256").unlink(missing_ok=True)
    return True


async def recover(storage: Storage, call: Call, body: Any) -> Any:
    """{"location": "file:///.." or "http(s)://.."}: the collection becomes what the snapshot holds, or stays."""
    check_name(call.name)
    fields = Fields(body, "body")
    location, checksum = fields.need("location", str), fields.take("checksum", str)
    one_of(fields.take("priority", str, "snapshot"), _PRIORITIES, "body.priority")
    key = fields.take("api_key", str)
    fields.done()
    local = _local(location)
    if local is not None:
        return await _restore(storage, call.name, partial(_unpack_file, storage, local, checksum))
    with tempfile.NamedTemporaryFile(prefix=FETCHED, dir=storage.folder) as copy:
        await _fetch(location, key, _Spaced(copy.file, storage))
        return await _restore(storage, call.name, partial(_unpack_file, storage, Path(copy.name), checksum))


async def upload(storage: Storage, call: Call, body: Any) -> Any:
    """As `recover`, from a file `snapshot` in a multipart/form-data body; ?priority= and ?checksum= as there."""
    check_name(call.name)
    one_of(call.query.get("priority", "snapshot"), _PRIORITIES, "priority")
    if not isinstance(body, Upload):
        raise format_error("expected multipart/form-data with a file `snapshot`")
    with tempfile.NamedTemporaryFile(prefix=UPLOADED, dir=storage.folder) as file:
        await body.write_to(_Spaced(file.file, storage))  # type: ignore[arg-type]
        checksum = call.query.get("checksum")
        return await _restore(storage, call.name, partial(_unpack_file, storage, Path(file.name), checksum))


class _Spaced:
    """A file that looks at the free space before it grows."""

    def __init__(self, file: IO[bytes], storage: Storage) -> None:
        self._file, self._storage = file, storage
        self.flush = file.flush

    def write(self, block: bytes) -> int:
        check_space(self._storage.folder, self._storage.reserve + len(block))
        return self._file.write(block)


async def _restore(storage: Storage, alias: str, unpack: Callable[[str, Path], None]) -> bool:
    """`unpack(name, folder)` fills a new folder, which takes the place of the collection; on an error it stays."""
    name = storage.aliases.resolve(alias)
    folder = await in_thread(storage.new_folder)
    try:
        await in_thread(unpack, name, folder)
        await storage.adopt(name, folder)
    except BaseException:
        if storage.exists(name) and storage.get(name).folder == folder:
            raise
        await in_thread(remove, folder, "a snapshot that could not be recovered")
        raise
    return True


def _unpack_file(storage: Storage, path: Path, checksum: str | None, name: str, folder: Path) -> None:
    if checksum is not None and checksum != _sha256(path):
        raise wrong_input("Snapshot checksum mismatch: the file is not the one that was meant")
    check_space(storage.folder, storage.reserve + path.stat().st_size)
    _extract(path, name, folder)


def _local(location: str) -> Path | None:
    """The file of a file:// URL, None for one of the web."""
    try:
        parts = urlsplit(location)
    except ValueError as error:
        raise wrong_input(f"the location of a snapshot is no URL: {error}") from None
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = Path(unquote(parts.path))
        if "\0" in str(path) or not path.is_file():
            raise wrong_input(f"there is no snapshot file {path}")
        return path
    if parts.scheme not in ("http", "https"):
        raise wrong_input("the location of a snapshot must be a file:// or http(s):// URL")
    return None


async def _fetch(location: str, key: str | None, copy: _Spaced) -> None:
    """Write what lies at the URL. A server that is slow, or ends before the length it said, holds no thread."""
    headers = {"accept-encoding": "identity"} | ({"api-key": key} if key else {})
    try:
        async with (
            httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=key is None) as client,
            client.stream("GET", location, headers=headers) as reply,
        ):
            if not reply.is_success:
                raise wrong_input(f"cannot fetch the snapshot: it answered {reply.status_code}")
            async for block in reply.aiter_bytes(1 << 20):
                await in_thread(copy.write, block)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise wrong_input(f"cannot fetch the snapshot: {error or type(error).__name__}") from None
    await in_thread(copy.flush)


def _is_ours(member: tarfile.TarInfo) -> bool:
    """A file or a folder (no link, no device) in one of our own places."""
    first, *rest = member.name.split("/")
    return first in (MARK, META, _SHARD) and ".." not in rest and (member.isfile() or member.isdir())


def _foreign(path: Path) -> ApiError:
    return wrong_input(
        f"{path.name} is no snapshot of an embedded Qdrant (those of a full server are not read; "
        "copy the points through the API, for example with qdrant-client's `migrate`)"
    )


def _extract(path: Path, name: str, folder: Path) -> None:
    try:
        with tarfile.open(path, "r:") as tar:  # never compressed: a small file would fill the disk
            names = set(tar.getnames())
            if not {MARK, META} <= names or not all(map(_is_ours, tar.getmembers())):
                raise _foreign(path)
            if hasattr(tarfile, "data_filter"):
                tar.extractall(folder, filter="data")
            else:  # Python before 3.11.4 (Debian 12 has 3.11.2); _is_ours refuses what the filter would refuse
                tar.extractall(folder)
        meta = orjson.loads((folder / META).read_bytes())
        if set(meta) != {"name", "config", "indexes", "generation"} or not GENERATION.fullmatch(meta["generation"]):
            raise _foreign(path)
    except (tarfile.TarError, OSError, ValueError, TypeError):
        raise _foreign(path) from None
    replace_json(folder / META, meta | {"name": name})
