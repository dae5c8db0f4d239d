"""A model's weights on this machine against the values that its makers published: no server, nothing is converted.

Computed by the reference in NumPy and float32, so a difference is the weights', the tokenizer's or our statement of
the model's, and not a precision's. Reads each weight once: seconds for a model of 300 million parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from embedserve.errors import ModelUnavailable
from embedserve.models import graph, static
from embedserve.models.spec import ModelSource
from embedserve.models.tokenizer import load_tokenizer

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Difference:
    """what: of which published values. apart: the largest difference of a number; NaN: a vector is not finite."""

    what: str
    apart: float
    allowed: float

    @property
    def holds(self) -> bool:
        return self.apart <= self.allowed


def differences(source: ModelSource) -> list[Difference]:
    """One for each published thing; where nothing is published, whether a text has a finite vector at all."""
    spec = source.spec
    if spec.task != "embed":
        raise ModelUnavailable(f"{spec.id} is a reranker; published values are compared for models of embeddings")
    found = []
    for known in spec.published:
        (row,) = _unit(source, [known.text])
        apart = float(np.abs(row[: len(known.values)] - known.values).max())
        found.append(Difference(f"first {len(known.values)} values of {known.text!r}", apart, known.allowed))
    for ranking in spec.rankings:
        query, *documents = _unit(source, [ranking.query, *ranking.documents])
        cosines = np.array(documents) @ query
        apart = float(np.abs(cosines - ranking.cosines).max())
        what = f"cosines of {ranking.query!r} with {len(documents)} document(s)"
        found.append(Difference(what, apart, ranking.allowed))
    if not found:
        (row,) = _unit(source, ["hello world"])
        found.append(Difference("", 0.0 if np.isfinite(row).all() else float("nan"), 0.0))
    return found


def _unit(source: ModelSource, texts: list[str]) -> Vectors:
    """(n, dimension), of length 1."""
    spec = source.spec
    ids = [encoding.ids for encoding in load_tokenizer(source).encode(texts)]
    if spec.architecture == static.ARCHITECTURE:
        from embedserve.backends.static_backend import StaticBackend

        rows = StaticBackend(source, why="compared").embed(ids)
    else:
        from embedserve.backends import numpy_ops

        rows = numpy_ops.embed(spec, graph.load_parameters(source), ids)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)
