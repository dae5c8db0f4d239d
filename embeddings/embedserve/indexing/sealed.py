"""The file of a portable index: vectors that only who has a file's text can find and read.

Of each indexed file there is one record: its chunks' digests and vectors, under a name and a key that are both derived
from the file's content and from a salt of this export. Without the content a record is noise; with it, it is found and
opened. So the export can be given to everyone who has (some of) the code.

    "embedserve index 1\\n", length of the header, header (JSON), then records: id, rows, check, sealed rows

    content   the file's bytes with line ends \\n
    secret    BLAKE2b-512(content, salt): 16 bytes of id, 48 bytes of key
    row       digest of the embedded text (16 bytes), vector (little-endian float32), XOR SHAKE-256(key, row number)
    check     BLAKE2b-128(sealed rows, key)

Not protected: how many files and chunks there are and how many chunks each file has; the model's name; that a content
which somebody has or guesses is among them. Whoever has a file's content can make a false record of it. It knows no
Qdrant and no service.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from embedserve.errors import IndexingFailed

MAGIC = b"embedserve index 1\n"
ID, KEY, CHECK, DIGEST = 16, 48, 16, 16
MOST_HEADER = 65536
_RECORD = struct.Struct(f"<{ID}sI{CHECK}s")

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Header:
    """`salt`: hex. `window`, `chunker`, `text_form`: how files were cut; where they differ here, less is reused."""

    model: str
    dimension: int
    window: int
    chunker: int
    text_form: int
    salt: str
    version: str = ""

    @property
    def row_bytes(self) -> int:
        return DIGEST + 4 * self.dimension


@dataclass(frozen=True)
class Row:
    """Where one vector is. `digest`: hex, of the text that was embedded."""

    digest: str
    offset: int
    number: int
    key: bytes


def new_salt() -> str:
    return secrets.token_hex(16)


def secret_of(content: bytes, salt: str) -> tuple[bytes, bytes]:
    """(id, key) of a file's content."""
    normal = content.replace(b"\r\n", b"\n")
    made = hashlib.blake2b(normal, digest_size=ID + KEY, salt=bytes.fromhex(salt), person=b"embedserve file").digest()
    return made[:ID], made[ID:]


def write_sealed(path: str, header: Header, files: Iterable[tuple[bytes, list[str], Vectors]]) -> tuple[int, int]:
    """Write an export; `files`: (content, digests, vectors of shape (len(digests), dimension)). Gives how many files
    and chunks are in it. The file is there when all of it is. Raises OSError."""
    folder = os.path.dirname(os.path.abspath(path))
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".embedserve-export-")
    written: set[bytes] = set()
    chunks = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            head = json.dumps(asdict(header)).encode()
            file.write(MAGIC + struct.pack("<I", len(head)) + head)
            for content, digests, vectors in files:
                name, key = secret_of(content, header.salt)
                if name in written:
                    continue  # the same content under another path
                written.add(name)
                sealed = b"".join(_sealed_rows(digests, vectors, key))
                check = hashlib.blake2b(sealed, digest_size=CHECK, key=key).digest()
                file.write(_RECORD.pack(name, len(digests), check) + sealed)
                chunks += len(digests)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return len(written), chunks


def _sealed_rows(digests: list[str], vectors: Vectors, key: bytes) -> Iterator[bytes]:
    for number, digest in enumerate(digests):
        row = bytes.fromhex(digest) + vectors[number].astype("<f4").tobytes()
        yield _xor(row, key, number)


class SealedIndex:
    """An export, opened for reading. Raises IndexingFailed: not an export, cut short, of a newer version."""

    def __init__(self, path: str) -> None:
        try:
            self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115
        except OSError as error:
            raise IndexingFailed(f"{path} cannot be read: {error.strerror or error}") from None
        self.path = path
        try:
            self.header = self._read_header()
            self._records = self._read_records()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    @property
    def files(self) -> int:
        return len(self._records)

    @property
    def chunks(self) -> int:
        return sum(rows for _, rows, _ in self._records.values())

    def rows_of(self, content: bytes) -> list[Row]:
        """The rows of a file with this content, [] where it is not in the export. Raises IndexingFailed: damaged."""
        name, key = secret_of(content, self.header.salt)
        record = self._records.get(name)
        if record is None:
            return []
        offset, rows, check = record
        size = self.header.row_bytes
        sealed = self._bytes(offset, rows * size)
        if hashlib.blake2b(sealed, digest_size=CHECK, key=key).digest() != check:
            raise IndexingFailed(f"{self.path} is damaged: a record's check does not fit; have it made again")
        found = []
        for number in range(rows):
            digest = _xor(sealed[number * size : number * size + DIGEST], key, number)
            found.append(Row(digest.hex(), offset + number * size, number, key))
        return found

    def vector(self, row: Row) -> Vectors:
        """One vector, shape (dimension,), of length 1. Raises IndexingFailed."""
        clear = _xor(self._bytes(row.offset, self.header.row_bytes), row.key, row.number)
        vector = np.frombuffer(clear, dtype="<f4", offset=DIGEST).astype(np.float32)
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or abs(length - 1) > 0.01:
            raise IndexingFailed(f"{self.path} has a vector that is not of length 1; it was not made by embedserve")
        return vector

    def _read_header(self) -> Header:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise IndexingFailed(f"{self.path} is no index that `embedserve index export` of this version made")
        (length,) = struct.unpack("<I", self._file.read(4).ljust(4, b"\xff"))
        head = self._file.read(length) if length <= MOST_HEADER else b""
        try:
            header = Header(**json.loads(head))
            well = len(bytes.fromhex(header.salt)) == 16 and 0 < header.dimension <= 65536
        except (ValueError, TypeError):
            well = False
        if not well:
            raise IndexingFailed(f"{self.path} is cut short or damaged: its header cannot be read")
        return header

    def _read_records(self) -> dict[bytes, tuple[int, int, bytes]]:
        """id -> (offset of the rows, how many, check)."""
        found: dict[bytes, tuple[int, int, bytes]] = {}
        at, end = self._file.tell(), os.fstat(self._file.fileno()).st_size
        while at < end:
            head = self._bytes(at, _RECORD.size)
            name, rows, check = _RECORD.unpack(head)
            start = at + _RECORD.size
            at = start + rows * self.header.row_bytes
            if at > end:
                raise IndexingFailed(f"{self.path} is cut short; copy it again")
            found[name] = (start, rows, check)
        return found

    def _bytes(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) != size:
            raise IndexingFailed(f"{self.path} is cut short; copy it again")
        return data


def _xor(data: bytes, key: bytes, number: int) -> bytes:
    stream: Any = np.frombuffer(hashlib.shake_256(key + number.to_bytes(8, "little")).digest(len(data)), np.uint8)
    return bytes(np.frombuffer(data, np.uint8) ^ stream)
