"""From a request's texts or ids to the ids that the model gets: checked, cut at its limit, prompts marked.

Knows no cache, backlog or backend. All methods may be called from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from embedserve import observability as obs
from embedserve.backends.base import TokenIds
from embedserve.errors import ContextLengthExceeded, InvalidRequest

log = logging.getLogger(__name__)

_FOREIGN = (
    "These look like another tokenizer's ids: send texts instead (LangChain's OpenAIEmbeddings: "
    "check_embedding_ctx_length=False), or ids of this model's tokenizer with its special tokens"
)


class Encoded(Protocol):
    """One tokenised text: `ids` as the model will see them, `length` in tokens before the cut."""

    @property
    def ids(self) -> TokenIds: ...

    @property
    def length(self) -> int: ...


class Tokenizer(Protocol):
    """What the engine needs of a tokenizer. All methods are thread-safe."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def special(self) -> tuple[TokenIds, TokenIds]:
        """The ids before and after every text; empty arrays where the model has none."""
        ...

    def encode(self, texts: Sequence[str], max_tokens: int) -> Sequence[Encoded]: ...

    def pair(self, first: str, others: Sequence[str], max_tokens: int) -> Sequence[Encoded]: ...

    def mark_prompt(self, ids: TokenIds, prompt: str) -> TokenIds: ...

    def tokens(self, text: str, special: bool) -> Sequence[Any]:
        """Dataclasses of `id`, `text`, `special`, `start` and `stop`."""
        ...

    def decode(self, ids: Sequence[int], skip_special: bool) -> str: ...


@dataclass
class Ids:
    """The ids of each text, and which texts were cut."""

    ids: list[TokenIds]
    cut: list[bool]

    def __iadd__(self, other: Ids) -> Ids:
        self.ids += other.ids
        self.cut += other.cut
        return self


class Encoder:
    """pool_prompt: a prompt's tokens are pooled with the text's."""

    def __init__(self, name: str, tokenizer: Tokenizer, max_tokens: int, *, pool_prompt: bool = True) -> None:
        self.name, self.tokenizer, self.max_tokens, self.pool_prompt = name, tokenizer, max_tokens, pool_prompt
        self._warned_overlong = False

    def texts(self, texts: Sequence[str], prefix: str, truncate: bool, offset: int = 0) -> Ids:
        """Each text with `prefix` in front. offset: the first one's index in the request, for errors.

        Raises ContextLengthExceeded, InvalidRequest.
        """
        encoded = self.tokenizer.encode([prefix + text for text in texts] if prefix else texts, self.max_tokens)
        checked = self._checked(encoded, truncate, offset)
        if prefix and not self.pool_prompt:
            checked.ids = [self.tokenizer.mark_prompt(ids, prefix) for ids in checked.ids]
        return checked

    def pairs(self, query: str, documents: Sequence[str], truncate: bool, offset: int = 0) -> Ids:
        """(query, document) for a cross-encoder. Raises as `texts`."""
        return self._checked(self.tokenizer.pair(query, documents, self.max_tokens), truncate, offset)

    def own(self, rows: Sequence[TokenIds], truncate: bool) -> Ids:
        """Ids of this model's tokenizer, as given. Raises InvalidRequest for those of another, else as `texts`."""
        checked = Ids([], [])
        _, after = self.tokenizer.special
        for i, row in enumerate(rows):
            self._check_own(i, row)
            cut = len(row) > self.max_tokens
            if cut:
                self._overlong(i, len(row), truncate)
                row = np.concatenate([row[: self.max_tokens - len(after)], after])
            checked.ids.append(row)
            checked.cut.append(cut)
        return checked

    def _checked(self, encoded: Sequence[Encoded], truncate: bool, offset: int) -> Ids:
        cut = [one.length > self.max_tokens for one in encoded]
        for i, one in enumerate(encoded):
            if cut[i]:
                self._overlong(offset + i, one.length, truncate)
            if not len(one.ids):
                raise InvalidRequest(f"input {offset + i} gives no token for {self.name}", param="input")
        return Ids([one.ids for one in encoded], cut)

    def _check_own(self, index: int, row: TokenIds) -> None:
        """Raise InvalidRequest unless `row` can be of this model's tokenizer."""
        vocabulary = self.tokenizer.vocab_size
        if len(row) and (row.min() < 0 or row.max() >= vocabulary):
            raise InvalidRequest(
                f"input {index} has a token id outside the vocabulary of {self.name}; ids go from 0 to "
                f"{vocabulary - 1}. {_FOREIGN}",
                param="input",
            )
        before, after = self.tokenizer.special
        starts = np.array_equal(row[: len(before)], before)
        ends = np.array_equal(row[len(row) - len(after) :], after)
        if len(row) < len(before) + len(after) or not (starts and ends):
            raise InvalidRequest(
                f"input {index} does not begin and end with the special tokens of {self.name} "
                f"({before.tolist()} before, {after.tolist()} after the text). {_FOREIGN}",
                param="input",
            )

    def _overlong(self, index: int, length: int, truncate: bool) -> None:
        if not truncate:
            raise ContextLengthExceeded(
                f"input {index} has {length} tokens and {self.name} takes at most {self.max_tokens}: "
                'shorten it, or let it be cut with "truncate": true',
                param="input",
            )
        obs.TRUNCATED.inc()
        if not self._warned_overlong:
            self._warned_overlong = True
            log.warning(
                "a text of %d tokens was cut at %s's limit of %d; further ones are counted in "
                "embedserve_truncated_texts_total and not logged",
                length,
                self.name,
                self.max_tokens,
            )
