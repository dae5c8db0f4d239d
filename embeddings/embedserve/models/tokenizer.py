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

An id may carry a mark that the model's own table never sees (`packing.pack` takes it off): SECOND for a token of the
second text of a pair, PROMPT for a token of a prompt that is not to be pooled (`include_prompt` false). So pairs and
prompts have cache keys of their own, and a backend needs nothing but ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from embedserve.errors import CheckpointError
from embedserve.models import static
from embedserve.models.folder import read_config
from embedserve.models.layout import optional
from embedserve.models.spec import ModelSource

PIECE = 64 * 1024  # characters encoded at once from one text
COUNTED = 1024 * 1024  # characters of one text after which an over-long text is no longer counted
READ = 8 * COUNTED  # characters of one text after which even white space and endless words are given up
CALL = 1024 * 1024  # characters in one call of the library
ALONE = 1024  # characters that are encoded by the calling thread itself: not less than engine/small.py does inline
SECOND = 1 << 28  # marks of an id
PROMPT = 1 << 29
ID = SECOND - 1  # what is left of an id without its marks
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


@dataclass(frozen=True)
class Token:
    """`start`, `stop`: places in the text, in characters; None for a special token."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Tokenizer:
    """Thread-safe: the library's object is never changed after construction, and encoding releases the GIL.

    vocab_size: rows of the model's embedding table; ids from 0 to vocab_size - 1 are valid.
    max_tokens: the model's limit, special tokens included.
    """

    def __init__(
        self,
        path: Path,
        vocab_size: int,
        max_tokens: int,
        *,
        lower_case: bool = False,
        plain: bool = False,
        typed: bool = True,
    ) -> None:
        """lower_case: the text is lowered first. plain: without special tokens (static models).
        typed: tokens of a pair's second text are marked, where the template says so."""
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
        nothing = np.array([], dtype=np.int32)
        self._lower_case = lower_case
        self._typed = typed
        self._prefix, self._suffix = (nothing, nothing) if plain else self._template()
        self._blank = int(self._rust.token_to_id("[UNK]") or 0) if plain else None

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
        if not len(ids):  # a static model's text without a token: an unknown one
            ids = np.array([self._blank], dtype=np.int32)
        return Encoding(ids, count + special, exact)

    def pair(self, first: str, others: Sequence[str], max_tokens: int | None = None) -> list[Encoding]:
        """(first, other) for a cross-encoder, one Encoding a pair. The longer text loses tokens first, as in
        transformers' `longest_first`. Tokens of the second text are marked SECOND where the template says so."""
        limit = self.max_tokens if max_tokens is None else max_tokens
        template = self._pair_template()
        room = limit - sum(len(part) for part in template)
        if room <= 0:
            raise ValueError(f"max_tokens = {limit} leaves no room for a pair's tokens")
        (a,) = self._content([first[:READ]])
        pairs = []
        for b in self._content([other[:READ] for other in others]):
            total = len(a) + len(b)
            m, n = _longest_first(len(a), len(b), room)
            start, middle, end = template
            ids = np.concatenate([start, a[:m], middle, b[:n] | self._second, end])
            pairs.append(Encoding(ids, total + limit - room, True))
        return pairs

    def tokens(self, text: str, special: bool = True) -> list[Token]:
        """Every token of a text, uncut; for people and for clients that count, not for the model."""
        text = text.lower() if self._lower_case else text
        found = self._rust.encode(text, add_special_tokens=special and self._blank is None)
        rows = zip(found.ids, found.tokens, found.special_tokens_mask, found.offsets, strict=True)
        return [
            Token(id, name, True, None, None) if mask else Token(id, text[start:stop], False, start, stop)
            for id, name, mask, (start, stop) in rows
        ]

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """The text of ids from 0 to vocab_size - 1; ids of the table that no token has are left out."""
        return str(self._rust.decode(list(ids), skip_special_tokens=skip_special))

    def mark_prompt(self, ids: npt.NDArray[np.int32], prompt: str) -> npt.NDArray[np.int32]:
        """The ids with those of `prompt`, which stands before the text, marked as not to be pooled."""
        (content,) = self._content([prompt])
        count = min(len(self._prefix) + len(content), len(ids))
        marked = ids.copy()
        marked[:count] |= PROMPT
        return marked

    def _pair_template(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The special tokens before, between and after the two texts, with marks."""
        bare = self._rust.encode("a", add_special_tokens=False).ids
        full = self._rust.encode("a", "a", add_special_tokens=True)
        ids = np.array(full.ids, dtype=np.int32) | np.where(
            np.array(full.type_ids) == 1, SECOND * self._typed, 0
        ).astype(np.int32)
        plain = ids & ID
        places = [i for i in range(len(plain) - len(bare) + 1) if plain[i : i + len(bare)].tolist() == bare]
        if len(places) != 2:
            raise CheckpointError("the tokenizer's template for two texts is not understood")
        one, two = places
        self._second = np.int32(ids[two] & SECOND)
        return ids[:one], ids[one + len(bare) : two], ids[two + len(bare) :]

    def _content(self, texts: list[str]) -> list[npt.NDArray[np.int32]]:
        """Ids without special tokens."""
        if self._lower_case:
            texts = [text.lower() for text in texts]
        try:
            encodings = self._encodings(texts)
        except TypeError:  # a lone surrogate cannot become UTF-8
            encodings = self._encodings([_clean(t) for t in texts])
        return [np.array(e.ids, dtype=np.int32) for e in encodings]

    def _encodings(self, texts: list[str]) -> list[Any]:
        """A batch goes to the library's own threads. On a busy machine those wait for a core, seen for 70 ms, and who
        asked waits with them; that may be the event loop, with a search."""
        if sum(map(len, texts)) <= ALONE:
            return [self._rust.encode(text, add_special_tokens=False) for text in texts]
        encodings: list[Any] = self._rust.encode_batch_fast(texts, add_special_tokens=False)
        return encodings

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
    spec = source.spec
    if spec.architecture == static.ARCHITECTURE:
        path = static.folder_of(source.folder) or source.folder
        size = static.vocabulary(source.folder)
        return Tokenizer(path / "tokenizer.json", size, spec.max_tokens, plain=True)
    vocab_size = read_config(source.folder).get("vocab_size")
    if not isinstance(vocab_size, int):
        raise CheckpointError(f"{source.folder / 'config.json'}: vocab_size is missing")
    path, typed = source.folder / "tokenizer.json", _gives_types(source.folder)
    return Tokenizer(path, vocab_size, spec.max_tokens, lower_case=spec.lower_case, typed=typed)


def _gives_types(folder: Path) -> bool:
    """Whether transformers' tokenizer of this folder hands token types to the model: its class decides, unless the
    names of the inputs are written down. The generic classes do not, whatever tokenizer.json says."""
    settings = optional(folder / "tokenizer_config.json")
    if names := settings.get("model_input_names"):
        return "token_type_ids" in names
    return settings.get("tokenizer_class") not in ("PreTrainedTokenizerFast", "TokenizersBackend")


def _longest_first(m: int, n: int, room: int) -> tuple[int, int]:
    """How many tokens of two texts stay: one at a time is taken from the longer (the second where they are equal)."""
    over = m + n - room
    if over <= 0:
        return m, n
    difference = abs(m - n)
    if m > n:
        m -= min(over, difference)
    else:
        n -= min(over, difference)
    over = max(0, over - difference)
    return m - over // 2, n - (over - over // 2)


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
