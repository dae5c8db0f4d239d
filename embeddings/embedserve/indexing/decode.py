"""The text of a file, whatever its encoding, or why it is none.

In this order: a byte order mark; UTF-16 and UTF-32 without a mark, where there are zero bytes; ISO-2022-JP by its
escapes; UTF-8; then a detector (chardet) for the encodings of one or two bytes that source files are met in. What
cannot be read with confidence is not indexed: replacement characters in an index are noise that nobody sees.
"""

from __future__ import annotations

import codecs
import unicodedata

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SAMPLE = 8192
DETECTED_BYTES = 16384  # of lines that are not ASCII; a detector's time grows with them
# DOS, Mac and EBCDIC code pages would be guessed from a single letter; cp866 is met in old Russian sources.
DETECTED = (
    *("cp1252", "cp1250", "iso8859-2", "cp1251", "koi8-r", "koi8-u", "cp866", "cp1125", "iso8859-5"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "cp932", "euc-jp", "gb18030", "big5", "cp949"),
)
_UNSURE = 0.05  # chardet's confidence in one or two letters of any single-byte encoding
_FEW = 0.1
_PAIRS = ("cp932", "euc_jis_2004", "gb18030", "big5hkscs", "cp949")
_NO_TEXT = frozenset({"Cc", "Cn", "Co", "Cs"})


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
    if 0 in data[:SAMPLE]:
        return _wide(data)
    if b"\x1b$" in data and (text := _strictly(data, "iso2022_jp")) is not None:
        return text
    text = _strictly(data, "utf-8")
    return _detected(data) if text is None else text


def _strictly(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _wide(data: bytes) -> str:
    """UTF-16 or UTF-32 without a mark. Read with another width or byte order, text is mostly of no script."""
    for encoding, width in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        text = _strictly(data, encoding) if len(data) % width == 0 else None
        if text and _looks_like_text(text) and _has_white_space(text):
            return text
    raise NotText("binary")


def _detected(data: bytes) -> str:
    from chardet import detect

    lines = [line for line in data.split(b"\n") if not line.isascii()]
    sample = b"\n".join(lines)[:DETECTED_BYTES]
    found = detect(sample, include_encodings=DETECTED, compat_names=False, max_bytes=DETECTED_BYTES)
    encoding, sure = found["encoding"], found["confidence"] >= _UNSURE
    high = sum(byte > 0x7F for byte in sample)
    if not sure and encoding not in _PAIRS and high <= _FEW * max(len(data), 1):
        encoding = "cp1252"  # a name, a degree sign: what a file of ASCII has most often
    text = _strictly(data, encoding) if encoding else None
    if text is None:
        raise NotText("of unknown encoding")
    if not _looks_like_text(text):
        raise NotText("binary")
    return text


def _looks_like_text(text: str) -> bool:
    """Few characters that are controls, assigned to nothing, of private use or replacements."""
    sample = text[:SAMPLE]
    odd = sum(1 for c in sample if c == "\ufffd" or (c not in "\t\n\r\f\b\x1b" and unicodedata.category(c) in _NO_TEXT))
    return odd <= len(sample) // 100


def _has_white_space(text: str) -> bool:
    sample = text[:SAMPLE]
    return sum(c in " \n\r\t\u3002\u3001" for c in sample) * 100 >= len(sample)
