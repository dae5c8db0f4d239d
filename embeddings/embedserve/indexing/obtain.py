"""Code that is elsewhere: a git URL or a package archive becomes a folder below the home folder, indexed as any other.

    https://host/owner/name.git, ssh://.., git@host:owner/name.git, file:///path, each with #branch or #tag
    path or URL of a .tar.gz, .tgz, .tar.bz2, .tar.xz, .zip, .whl

A repository is cloned shallowly, and brought up to date when it is asked for again; an archive is unpacked anew when
its bytes have changed. Only ordinary files are unpacked, below the folder, up to MOST_BYTES. It knows no index.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO
from urllib.parse import urlsplit, urlunsplit

from embedserve.errors import IndexingFailed

ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".zip", ".whl")
MOST_BYTES = 4 * 2**30  # unpacked, or downloaded
MOST_FILES = 500_000
GIT_SECONDS = 1800.0
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError),
    *(ValueError, RuntimeError, NotImplementedError, IndexError, struct.error),
)
_GIT_URL = re.compile(r"(?:https?|ssh|git|file)://.+|[\w.-]+@[\w.-]+:.+")


def is_elsewhere(source: str) -> bool:
    """Is it a URL or an archive, and no folder?"""
    return bool(_GIT_URL.fullmatch(source)) or (_is_archive(source) and not os.path.isdir(source))


def folder_of(source: str, home: str) -> str:
    """The folder of a source that is elsewhere, whether it is there yet or not."""
    source = source if _GIT_URL.fullmatch(source) else os.path.abspath(os.path.expanduser(source))
    name = source.partition("#")[0].rstrip("/").replace("\\", "/").rpartition("/")[2].rpartition(":")[2]
    for suffix in (*ARCHIVES, ".git"):
        name = name.removesuffix(suffix)
    readable = re.sub(r"[^\w.-]+", "-", name).strip(".-")[:60] or "source"
    return os.path.join(home, "sources", f"{readable}-{hashlib.sha256(os.fsencode(source)).hexdigest()[:12]}")


def obtain(source: str, home: str) -> str:
    """Have it here, as it is now; gives its folder. Raises IndexingFailed."""
    folder = folder_of(source, home)
    os.makedirs(os.path.dirname(folder), mode=0o700, exist_ok=True)
    try:
        if not _is_archive(source.partition("#")[0]):
            _clone(source, folder)
        elif _GIT_URL.fullmatch(source):
            with tempfile.TemporaryFile() as file:
                _download(source, file)
                _unpack(file, source, folder)
        else:
            with open(os.path.expanduser(source), "rb") as file:
                _unpack(file, source, folder)
    except OSError as error:
        raise IndexingFailed(f"{shown(source)} cannot be had: {error.strerror or error}") from None
    return folder


def shown(source: str) -> str:
    """Without a password or token in it."""
    if "://" not in source:
        return source
    parts = urlsplit(source)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _is_archive(source: str) -> bool:
    return urlsplit(source).path.lower().endswith(ARCHIVES) if "://" in source else source.lower().endswith(ARCHIVES)


# --- git


def _clone(source: str, folder: str) -> None:
    url, _, ref = source.partition("#")
    if os.path.isdir(os.path.join(folder, ".git")):
        _git(source, "-C", folder, "fetch", "-q", "--depth", "1", "origin", ref or "HEAD")
        _git(source, "-C", folder, "reset", "-q", "--hard", "FETCH_HEAD")
        return
    fresh = tempfile.mkdtemp(dir=os.path.dirname(folder), prefix=".clone-")
    try:
        branch = [f"--branch={ref}"] if ref else []
        _git(source, "clone", "-q", "--depth", "1", "--single-branch", *branch, "--", url, fresh)
        _put_in_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _git(source: str, *arguments: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_DIR")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
    command = ["git", "-c", "core.hooksPath=/dev/null", *arguments]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=GIT_SECONDS, check=False)
    except FileNotFoundError:
        raise IndexingFailed(f"{shown(source)} needs git, which is not installed") from None
    except subprocess.TimeoutExpired:
        raise IndexingFailed(f"{shown(source)}: git did not end within {GIT_SECONDS / 60:.0f} minutes") from None
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().split("\n")[-1].replace(source.partition("#")[0], shown(source))
        raise IndexingFailed(f"{shown(source)} cannot be cloned: {said}")


# --- archives


def _download(source: str, file: IO[bytes]) -> None:
    import httpx

    try:
        with httpx.stream("GET", source, follow_redirects=True, timeout=60.0) as response:
            if not response.is_success:
                raise IndexingFailed(f"{shown(source)} answered {response.status_code}")
            for part in response.iter_bytes():
                file.write(part)
                if file.tell() > MOST_BYTES:
                    raise IndexingFailed(f"{shown(source)} is over {MOST_BYTES >> 30} GiB")
    except httpx.HTTPError as error:
        raise IndexingFailed(f"{shown(source)} cannot be had: {error or type(error).__name__}") from None
    file.seek(0)


def _unpack(file: IO[bytes], source: str, folder: str) -> None:
    hashed = hashlib.sha256()
    while part := file.read(1 << 20):
        hashed.update(part)
    file.seek(0)
    digest = hashed.hexdigest()
    note = folder + ".sha256"
    if os.path.isdir(folder) and _noted(note) == digest:
        return
    fresh = tempfile.mkdtemp(dir=os.path.dirname(folder), prefix=".unpack-")
    try:
        _write_members(file, source, fresh)
        inner = os.listdir(fresh)
        only = os.path.join(fresh, inner[0]) if len(inner) == 1 else fresh
        _put_in_place(only if os.path.isdir(only) else fresh, folder)
        with open(note, "w") as written:
            written.write(digest)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _noted(note: str) -> str:
    try:
        with open(note) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write_members(file: IO[bytes], source: str, folder: str) -> None:
    count, left = 0, MOST_BYTES
    try:
        for name, content in _members(file):
            target = _target(folder, name)
            count += 1
            if target is None:
                continue
            if count > MOST_FILES:
                raise IndexingFailed(f"{shown(source)} has over {MOST_FILES} files")
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as out:
                while part := content.read(1 << 20):
                    left -= len(part)
                    if left < 0:
                        raise IndexingFailed(f"{shown(source)} is over {MOST_BYTES >> 30} GiB when unpacked")
                    out.write(part)
    except _DAMAGED as error:
        raise IndexingFailed(f"{shown(source)} is no archive that can be read: {error}") from None
    if not count:
        raise IndexingFailed(f"{shown(source)} is empty")


def _members(file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of the ordinary files."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                is_link = (info.external_attr >> 16) & 0o170000 == 0o120000
                if not info.is_dir() and not is_link:
                    with archive.open(info) as content:
                        yield info.filename, content
        return
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:*") as tar:
        for member in tar:
            if member.isreg() and (opened := tar.extractfile(member)) is not None:
                yield member.name, opened


def _target(folder: str, name: str) -> str | None:
    """Where a member goes; None: out of the folder, or into git's own."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", ".")]
    if not parts or ".." in parts or ".git" in parts or ":" in parts[0] or "\0" in name:
        return None
    return os.path.join(folder, *parts)


def _put_in_place(fresh: str, folder: str) -> None:
    """`fresh` becomes `folder`; what was there goes when the new one is there."""
    old = tempfile.mkdtemp(dir=os.path.dirname(folder), prefix=".old-")
    try:
        os.chmod(fresh, 0o755)
        if os.path.isdir(folder):
            os.rename(folder, os.path.join(old, "folder"))
        try:
            os.rename(fresh, folder)
        except BaseException:
            if os.path.isdir(os.path.join(old, "folder")):
                os.rename(os.path.join(old, "folder"), folder)
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
