"""A text in the place of a sparse vector: `{"text", "model": "qdrant/bm25", "options"}`.

Qdrant's own server computes this one model by itself, and so does Qdrant Edge: a document's words weigh by how often
they occur (k, b, avg_len), a query's each 1. The collection's IDF is the sparse vector's `modifier`. Any other model
needs an inference service: 501 by name.
"""

from __future__ import annotations

from typing import Any

import qdrant_edge as edge

from embedserve.vectordb.body import Fields
from embedserve.vectordb.errors import unsupported, validation_error
from embedserve.vectordb.text_analysis import Analysis

MODEL = "qdrant/bm25"
_MOST = 3.4028234663852886e38  # float32's


def is_text(value: Any) -> bool:
    """A text for a model, and no scored text query, which names none."""
    return isinstance(value, dict) and "text" in value and "model" in value


def sparse_of(value: Any, where: str, *, query: bool) -> edge.SparseVector:
    """The sparse vector of a document, or of a query."""
    fields = Fields(value, where)
    text, model, options = fields.need("text", str), fields.need("model", str), fields.take("options", dict, {})
    fields.done()
    if model.casefold() != MODEL:
        raise unsupported(f"inference by `{model[:64]}` (`{MODEL}` is the one that is here)")
    try:
        bm25 = edge.Bm25(_config(Fields(options, f"{where}.options")))
    except ValueError as error:
        raise validation_error(f"{where}.options: {error}") from None
    return bm25.embed_query(text) if query else bm25.embed_document(text)


def _config(fields: Fields) -> edge.Bm25Config:
    numbers = {"k": fields.number("k", 0.0, _MOST), "b": fields.number("b", 0.0, 1.0)}
    numbers["avg_len"] = fields.number("avg_len", 0.0, _MOST)
    words = {"language": fields.take("language", str)}
    flags = {name: fields.take(name, bool) for name in ("lowercase", "ascii_folding")}
    analysis = Analysis(fields, fields.where)
    fields.done()
    given = {**numbers, **words, **flags, **analysis.native}
    return edge.Bm25Config(**{name: item for name, item in given.items() if item is not None})
