"""A file in a multipart/form-data body, written to disk as it comes: nothing but the piece at hand is in memory.

Knows one field, `snapshot`; every other part is an error by name, since dropping it could lose what was meant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO

from embedserve.vectordb.errors import ApiError, format_error, wrong_input
from embedserve.vectordb.threads import in_thread

FIELD = "snapshot"
IDLE_SECONDS = 30.0  # a client that sends nothing for so long has left


@dataclass(frozen=True)
class Upload:
    """A body that is not read yet: its Content-Type and its pieces."""

    content_type: str
    pieces: AsyncIterator[bytes]

    async def write_to(self, file: IO[bytes]) -> None:
        """The file's bytes. ApiError 400: this is no form with one file `snapshot`; 408: it stopped coming."""
        form = _Form(self.content_type)
        while True:
            try:
                piece = await asyncio.wait_for(anext(self.pieces, None), IDLE_SECONDS)
            except TimeoutError:
                raise ApiError(408, f"Timeout: nothing of the file came for {IDLE_SECONDS:.0f} s") from None
            if piece is None:
                break
            for part in form.feed(piece):
                await in_thread(file.write, part)
        form.finish()
        await in_thread(file.flush)


class _Form:
    """Feeds python-multipart and keeps the pieces of the one file."""

    def __init__(self, content_type: str) -> None:
        from python_multipart.multipart import MultipartParser, parse_options_header

        media, options = parse_options_header(content_type)
        if media != b"multipart/form-data" or not options.get(b"boundary"):
            raise format_error(f"expected multipart/form-data with a file `{FIELD}`")
        self._options_of = parse_options_header
        self._name, self._value, self._files, self._ended = b"", b"", 0, False
        self._found: list[bytes] = []
        callbacks = {
            "on_header_field": lambda data, start, end: self._grow("_name", data[start:end]),
            "on_header_value": lambda data, start, end: self._grow("_value", data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._found.append(data[start:end]),
            "on_end": lambda: setattr(self, "_ended", True),
        }
        self._parser = MultipartParser(options[b"boundary"], callbacks)  # type: ignore[arg-type]

    def _grow(self, name: str, more: bytes) -> None:
        setattr(self, name, getattr(self, name) + more)

    def _header(self) -> None:
        if self._name.lower() == b"content-disposition":
            _, options = self._options_of(self._value)
            field = options.get(b"name", b"").decode("utf-8", "replace")
            if field != FIELD or self._files:
                raise wrong_input(f"unexpected field `{field[:50]}`, expected one file `{FIELD}`")
            self._files += 1
        self._name = self._value = b""

    def feed(self, piece: bytes) -> list[bytes]:
        from python_multipart.exceptions import ParseError

        self._found = []
        try:
            self._parser.write(piece)
        except ParseError:
            raise format_error("this is no multipart/form-data") from None
        return self._found

    def finish(self) -> None:
        if not self._ended or not self._files:
            raise wrong_input(f"the file `{FIELD}` is missing or was cut off")
