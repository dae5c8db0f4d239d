"""How a text becomes words, JSON <-> Qdrant Edge, for a text index and for BM25."""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields, expect, one_of
from embedserve.vectordb.errors import format_error

_TOKENIZERS = {
    "prefix": edge.TokenizerType.Prefix,
    "whitespace": edge.TokenizerType.Whitespace,
    "word": edge.TokenizerType.Word,
    "multilingual": edge.TokenizerType.Multilingual,
    "code": edge.TokenizerType.Code,
}


def _by_name(kind: Any) -> dict[str, Any]:
    return {name.lower(): getattr(kind, name) for name in dir(kind) if name[0].isupper()}


_LANGUAGES = _by_name(edge.Language)
_STEMMERS = _by_name(edge.SnowballLanguage)


class Analysis:
    """Taken from `fields`. `shown`: as it was given; `native`: Qdrant Edge's words for it. None: its default."""

    def __init__(self, fields: Fields, where: str, default_tokenizer: str | None = None) -> None:
        tokenizer = fields.take("tokenizer", str, default_tokenizer)
        lengths = {name: fields.count(name) for name in ("min_token_len", "max_token_len")}
        stopwords, stemmer = fields.take("stopwords"), fields.take("stemmer")
        self.shown: dict[str, Any] = {"tokenizer": tokenizer, **lengths, "stopwords": stopwords, "stemmer": stemmer}
        self.native: dict[str, Any] = {
            "tokenizer": None if tokenizer is None else one_of(tokenizer, _TOKENIZERS, f"{where}.tokenizer"),
            **lengths,
            "stopwords": _stopwords(stopwords, f"{where}.stopwords"),
            "stemmer": _stemmer(stemmer, f"{where}.stemmer"),
        }


def _stopwords(value: Any, where: str) -> Any:
    if value is None:
        return None
    if isinstance(value, str):
        return one_of(value, _LANGUAGES, where)
    fields = Fields(value, where)
    languages = {one_of(expect(n, str, where), _LANGUAGES, where) for n in fields.take("languages", list, [])}
    custom = {expect(word, str, where) for word in fields.take("custom", list, [])}
    fields.done()
    return edge.StopwordsSet(languages, custom)


def _stemmer(value: Any, where: str) -> Any:
    if value is None:
        return None
    fields = Fields(value, where)
    kind = fields.need("type", str)
    if kind == "none":
        stemmer: Any = edge.DisabledStemmer()
    elif kind == "snowball":
        stemmer = edge.SnowballParams(one_of(fields.need("language", str), _STEMMERS, f"{where}.language"))
    else:
        raise format_error(f"{where}.type: unknown variant, expected one of snowball, none")
    fields.done()
    return stemmer
