"""The text of a file, whatever its encoding, or why it is none.

In this order: a byte order mark; UTF-8; UTF-16 and UTF-32 without a mark, by where their zero bytes are; then a
detector for the encodings of one or two bytes (cp1251, Shift-JIS, GBK, Latin-1). What cannot be read with confidence is
not indexed: replacement characters in an index are noise that nobody sees.
"""

from __future__ import annotations

import codecs

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SAMPLE = 8192


class NotText(Exception):
    """`reason`: "binary" or "of unknown encoding"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(data: bytes) -> str:
    """Raises NotText."""
    for mark, encoding in MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                if encoding != "utf-8":
                    raise NotText("of unknown encoding") from None
                data = data[len(mark) :]
                break
    zeros = data[:SAMPLE].count(0)
    if zeros:
        return _wide(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _detected(data)


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: text of Latin letters has zeros at every second or fourth place."""
    sample = data[:SAMPLE]
    quarter = max(len(sample) // 4, 1)
    zeros = [sample[place::4].count(0) / quarter for place in range(4)]
    for encoding, places in (
        ("utf-32-le", (2, 3)),
        ("utf-32-be", (0, 1)),
        ("utf-16-le", (1, 3)),
        ("utf-16-be", (0, 2)),
    ):
        width = 4 if "32" in encoding else 2
        others = [place for place in range(4) if place not in places]
        if len(data) % width == 0 and min(zeros[p] for p in places) > 0.5 and zeros[others[0]] < 0.1:
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            if _looks_like_text(text):
                return text
    raise NotText("binary")


def _detected(data: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:65536], threshold=0.3).best()
    if best is None:
        raise NotText("of unknown encoding")
    try:
        text = data.decode(best.encoding)
    except (UnicodeDecodeError, LookupError):
        raise NotText("of unknown encoding") from None
    if not _looks_like_text(text):
        raise NotText("binary")
    return text


def _looks_like_text(text: str) -> bool:
    """Few control characters, no replacement characters."""
    sample = text[:SAMPLE]
    odd = sum(1 for c in sample if (c < " " and c not in "\t\n\r\f\b\x1b") or "\x7f" <= c < "\xa0" or c == "\ufffd")
    return odd <= len(sample) // 100
