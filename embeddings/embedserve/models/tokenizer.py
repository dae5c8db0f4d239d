"""Texts to token ids, with the Rust `tokenizers` library directly (never transformers).

Gives exactly the ids that Hugging Face's tokenizer gives with right truncation: special tokens included, a
text over the limit keeps its first tokens and the closing special token. Truncation and padding that are
baked into a `tokenizer.json` are switched off, since they differ from what the model was published with.

Long texts. The library keeps some hundred bytes a token, so 32 MiB in one text would cost gigabytes. A text
over PIECE characters is encoded piece by piece, and after COUNTED characters counting stops: `length` is then
a lower bound (`exact` False). Pieces end between a letter or digit and a white space, where both
pre-tokenizers in use (GPT-2's regex, BERT's) always split, so the ids are those of the whole text. Only a
single run of over PIECE characters without such a place is cut inside, where a token or two may differ.

Lone surrogates (a JavaScript client that cut an emoji in half sends "\\ud83d") become U+FFFD: refusing would
fail the whole batch for half a character. Prompts are put before the text by the caller. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers

from embedserve.errors import CheckpointError
from embedserve.models.folder import read_config
from embedserve.models.spec import ModelSource

PIECE = 64 * 1024  # characters encoded at once from one text
COUNTED = 1024 * 1024  # characters of one text after which an over-long text is no longer counted
READ = 8 * COUNTED  # characters of one text after which even white space and endless words are given up
CALL = 1024 * 1024  # characters in one call of the library
_BOUNDARY = re.compile(r"[^\W_](?=\s)")


@dataclass(frozen=True)
class Encoding:
    """One text's tokens. `ids`: what the model is to see, at most `max_tokens`. `length`: how many ids there
    were before the cut, special tokens included; a lower bound when `exact` is False."""

    ids: npt.NDArray[np.int32]
    length: int
    exact: bool = True

    @property
    def truncated(self) -> bool:
        return self.length > len(self.ids) or not self.exact


class Tokenizer:
    """Thread-safe: the library's object is never changed after construction, and encoding releases the GIL.

    vocab_size: rows of the model's embedding table; ids from 0 to vocab_size - 1 are valid.
    max_tokens: the model's limit, special tokens included.
    """

    def __init__(self, path: Path, vocab_size: int, max_tokens: int) -> None:
        try:
            self._rust = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises a bare Exception
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        self._rust.no_truncation()
        self._rust.no_padding()
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens
        highest = max(self._rust.get_vocab(with_added_tokens=True).values())
        if highest >= vocab_size:
            raise CheckpointError(f"{path}: token id {highest} is outside the model's {vocab_size} embeddings")
        self._prefix, self._suffix = self._template()

    def encode(self, texts: Sequence[str], max_tokens: int | None = None) -> list[Encoding]:
        """One Encoding a text, in order. max_tokens: the cut, self.max_tokens if None."""
        limit = self.max_tokens if max_tokens is None else max_tokens
        if limit <= len(self._prefix) + len(self._suffix):
            raise ValueError(f"max_tokens = {limit} leaves no room for a text's tokens")
        result: list[Encoding | None] = [None] * len(texts)
        batch: list[int] = []
        size = 0
        for i, text in enumerate(texts):
            if len(text) > PIECE:
                result[i] = self._encode_long(text, limit)
                continue
            if batch and size + len(text) > CALL:
                self._encode_into(result, texts, batch, limit)
                batch, size = [], 0
            batch.append(i)
            size += len(text)
        self._encode_into(result, texts, batch, limit)
        return result  # type: ignore[return-value]

    @property
    def special(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The special tokens' ids before and after every text."""
        return self._prefix, self._suffix

    def _encode_into(self, result: list[Encoding | None], texts: Sequence[str], batch: list[int], limit: int) -> None:
        if batch:
            for i, ids in zip(batch, self._content([texts[i] for i in batch]), strict=True):
                result[i] = self._finish(ids, len(ids), limit)

    def _encode_long(self, text: str, limit: int) -> Encoding:
        parts: list[npt.NDArray[np.int32]] = []
        count = seen = 0
        for piece in _pieces(text):
            (ids,) = self._content([piece])
            if count < limit:  # later tokens are only counted
                parts.append(ids)
            count += len(ids)
            seen += len(piece)
            if seen >= (COUNTED if count > limit else READ):
                break
        return self._finish(np.concatenate(parts), count, limit, exact=seen == len(text))

    def _finish(self, content: npt.NDArray[np.int32], count: int, limit: int, exact: bool = True) -> Encoding:
        special = len(self._prefix) + len(self._suffix)
        ids = np.concatenate([self._prefix, content[: limit - special], self._suffix])
        return Encoding(ids, count + special, exact)

    def _content(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        """Ids without special tokens."""
        try:
            encodings = self._rust.encode_batch_fast(texts, add_special_tokens=False)
        except TypeError:  # a lone surrogate cannot become UTF-8
            encodings = self._rust.encode_batch_fast([_clean(t) for t in texts], add_special_tokens=False)
        return [np.array(e.ids, dtype=np.int32) for e in encodings]

    def _template(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The special tokens before and after a text."""
        bare = self._rust.encode("a", add_special_tokens=False).ids
        full = self._rust.encode("a", add_special_tokens=True).ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                end = start + len(bare)
                return np.array(full[:start], dtype=np.int32), np.array(full[end:], dtype=np.int32)
        raise CheckpointError("the tokenizer's template of special tokens is not understood")


def load_tokenizer(source: ModelSource) -> Tokenizer:
    """The tokenizer of a model. Raises CheckpointError if the folder has no usable `tokenizer.json`."""
    vocab_size = read_config(source.folder).get("vocab_size")
    if not isinstance(vocab_size, int):
        raise CheckpointError(f"{source.folder / 'config.json'}: vocab_size is missing")
    return Tokenizer(source.folder / "tokenizer.json", vocab_size, source.spec.max_tokens)


def _clean(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces of PIECE to 2 * PIECE characters, cut at boundaries where there are any."""
    start = 0
    while len(text) - start > 2 * PIECE:
        boundary = _BOUNDARY.search(text, start + PIECE, start + 2 * PIECE)
        end = boundary.end() if boundary else start + 2 * PIECE
        yield text[start:end]
        start = end
    yield text[start:]
