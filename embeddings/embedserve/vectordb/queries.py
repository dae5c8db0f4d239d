"""Queries: the body of points/query (and the older search, recommend, discover) -> Qdrant Edge.

A query may name points by id, whose vectors must be read first, and may stand on prefetches that are queries
themselves. So parsing, which needs no data, gives a `Query` tree; `Query.request(vectors)` gives Qdrant Edge's
request once the vectors of the named ids are known. A point that is named as an example is left out of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import qdrant_edge as edge

from embedserve.vectordb.bm25 import is_text
from embedserve.vectordb.body import Fields, as_list, expect, one_of
from embedserve.vectordb.errors import format_error, unsupported, validation_error, wrong_input
from embedserve.vectordb.field_conditions import checked
from embedserve.vectordb.filters import need_filter, parse_filter
from embedserve.vectordb.formula import parse_formula
from embedserve.vectordb.ids import PointId, parse_id
from embedserve.vectordb.points import SHARD_KEY, parse_order, parse_payload_selector, parse_with_vector, scored_json
from embedserve.vectordb.quantization import search_quantization
from embedserve.vectordb.vectors import F32_MAX, Space, parse_named

Vectors = dict[tuple[str, str, PointId], Any]
"""(collection or "" for the own one, vector's name, id) -> the vector."""


@dataclass(frozen=True)
class Example:
    """A vector, or the id of a point that has it (`source`: in which collection, "" for the own one)."""

    vector: Any = None
    point: PointId | None = None
    using: str = ""
    source: str = ""

    def resolve(self, vectors: Vectors) -> Any:
        return self.vector if self.point is None else vectors[self.source, self.using, self.point]


Build = Callable[[Vectors], Any]


@dataclass(frozen=True)
class Query:
    """One level of a query. `build` makes what scores, None to list points by id."""

    build: Build | None
    options: dict[str, Any]
    condition: edge.Filter | None
    examples: list[Example] = field(default_factory=list)
    prefetches: list[Query] = field(default_factory=list)

    def named(self) -> Iterator[Example]:
        """The examples of this and all lower levels that are points."""
        yield from (example for example in self.examples if example.point is not None)
        for prefetch in self.prefetches:
            yield from prefetch.named()

    def request(self, vectors: Vectors | None = None, **changes: Any) -> edge.QueryRequest:
        return edge.QueryRequest(**self._parts(vectors or {}), **self.options | changes)

    def _parts(self, vectors: Vectors) -> dict[str, Any]:
        return {
            "query": None if self.build is None else self.build(vectors),
            "filter": self._without_examples(),
            "prefetches": [p._prefetch(vectors) for p in self.prefetches],
        }

    def _prefetch(self, vectors: Vectors) -> edge.Prefetch:
        return edge.Prefetch(**self._parts(vectors), **self.options)

    def _without_examples(self) -> edge.Filter | None:
        ids = {e.point for e in self.examples if e.point is not None and not e.source}
        if not ids:
            return self.condition
        others = edge.Filter(must_not=[edge.HasIdCondition({*ids})])
        return others if self.condition is None else edge.Filter(must=[self.condition, others])

    def read(self, shard: edge.EdgeShard, vectors: Vectors | None = None) -> list[dict[str, Any]]:
        found = [scored_json(point) for point in shard.query(self.request(vectors))]
        wanted = self.options["with_vector"]
        if wanted is not True:
            for hit in found:
                _keep_vectors(hit, wanted or [])
        return found


def _keep_vectors(hit: dict[str, Any], wanted: list[str]) -> None:
    """MMR reads vectors for itself, and Qdrant Edge leaves them in the answer."""
    vector = hit.get("vector")
    if isinstance(vector, dict):
        hit["vector"] = {name: item for name, item in vector.items() if name in wanted}
    elif vector is not None and "" not in wanted:
        hit["vector"] = {}
    if not wanted:
        hit.pop("vector", None)


def parse_query(body: Any, space: Space, where: str = "body") -> Query:
    """POST points/query."""
    fields = Fields({} if body is None else body, where)
    fields.refuse(**SHARD_KEY)
    extra = {
        "offset": fields.count("offset", 0),
        "with_payload": parse_payload_selector(fields.take("with_payload"), False),
        "with_vector": parse_with_vector(fields, space),
    }
    return _level(fields, space, extra)


def _level(fields: Fields, space: Space, extra: dict[str, Any]) -> Query:
    """What a query and a prefetch have in common."""
    where = fields.where
    prefetch = fields.take("prefetch")
    inner = [] if prefetch is None else as_list(prefetch, f"{where}.prefetch")
    prefetches = [_level(Fields(p, f"{where}.prefetch[{i}]"), space, {}) for i, p in enumerate(inner)]
    limit = fields.count("limit", 10, minimum=1)
    source = _lookup(fields.take("lookup_from"))
    maker = _Maker(space, fields.take("using", str, ""), source, limit, len(prefetches))
    target = fields.take("query")
    build = None if target is None else maker.query(target, f"{where}.query")
    options = {"limit": limit, "params": _params(fields.take("params")), **extra}
    options["score_threshold"] = fields.take("score_threshold", float)
    condition = parse_filter(fields.take("filter"), f"{where}.filter")
    fields.done()
    if prefetches and build is None:
        raise wrong_input("A query is needed to merge the prefetches")
    return Query(build, options, condition, maker.examples, prefetches)


def _lookup(value: Any) -> tuple[str, str | None]:
    if value is None:
        return "", None
    fields = Fields(value, "lookup_from")
    fields.refuse(**SHARD_KEY)
    source = fields.need("collection", str), fields.take("vector", str)
    fields.done()
    return source


def _params(value: Any) -> edge.SearchParams | None:
    if value is None:
        return None
    fields = Fields(value, "params")
    acorn, idf = fields.take("acorn"), fields.take("idf")
    params = {
        "quantization": search_quantization(fields.take("quantization")),
        "hnsw_ef": fields.count("hnsw_ef"),
        "exact": fields.take("exact", bool, False),
        "indexed_only": fields.take("indexed_only", bool, False),
    }
    if acorn is not None:
        inner = Fields(acorn, "params.acorn")
        params["acorn"] = edge.AcornSearchParams(
            inner.take("enable", bool, False), inner.number("max_selectivity", 0, 1)
        )
        inner.done()
    if isinstance(idf, dict):
        inner = Fields(idf, "params.idf")
        params["idf"] = edge.IdfParams(need_filter(inner.need("corpus"), "params.idf.corpus"))
        inner.done()
    elif idf not in (None, "global"):
        raise format_error("params.idf: unknown variant, expected global or {corpus}")
    fields.done()
    return edge.SearchParams(**params)


class _Maker:
    """Makes the scoring part of one level, and notes its examples."""

    def __init__(self, space: Space, using: str, source: tuple[str, str | None], limit: int, prefetches: int) -> None:
        self.space, self.using, self.limit, self.prefetches = space, using, limit, prefetches
        self.source, self.source_using = source[0], using if source[1] is None else source[1]
        self.examples: list[Example] = []

    def query(self, value: Any, where: str) -> Build:
        if not isinstance(value, dict) or "indices" in value or is_text(value):
            return self.nearest({"nearest": value}, where)
        kind = next((name for name in _KINDS if name in value), None)
        if kind is None:
            if "model" in value or "image" in value:
                raise unsupported("inference of vectors from images")
            name = str(next(iter(value), ""))[:50]
            raise format_error(f"{where}: unknown query `{name}`, expected one of {', '.join(_KINDS)}")
        return _KINDS[kind](self, value, where)

    def example(self, value: Any, where: str) -> Example:
        if isinstance(value, list | dict):
            example = Example(parse_named(self.space, self.using, value, where, query=True))
        else:
            if not self.source:
                self.space.check_name(self.using)
            example = Example(None, parse_id(value), self.source_using, self.source)
        self.examples.append(example)
        return example

    def many(self, value: Any, where: str) -> list[Example]:
        return [self.example(item, f"{where}[{i}]") for i, item in enumerate(expect(value, list, where))]

    def nearest(self, value: Any, where: str) -> Build:
        fields = Fields(value, where)
        example, mmr = self.example(fields.need("nearest"), where), fields.take("mmr")
        fields.done()
        using = self.using
        if mmr is None:
            return lambda vectors: edge.Query.Nearest(example.resolve(vectors), using)
        inner = Fields(mmr, f"{where}.mmr")
        diversity = inner.number("diversity", 0.0, 1.0, 0.5)
        candidates = inner.count("candidates_limit", self.limit)
        inner.done()
        return lambda vectors: edge.Mmr(example.resolve(vectors), 1.0 - diversity, candidates, using)

    def recommend(self, value: Any, where: str) -> Build:
        outer = Fields(value, where)
        fields = Fields(outer.need("recommend"), f"{where}.recommend")
        outer.done()
        positive = self.many(fields.take("positive", list, []), f"{where}.positive")
        negative = self.many(fields.take("negative", list, []), f"{where}.negative")
        strategy = fields.take("strategy", str, "average_vector")
        fields.done()
        one_of(strategy, dict.fromkeys(("average_vector", "best_score", "sum_scores")), f"{where}.strategy")
        using = self.using
        if strategy == "average_vector":
            if not positive:
                raise wrong_input("At least one positive vector ID required with this strategy")
            if using in self.space.multi:
                raise unsupported("average of multivectors")
            return lambda vectors: edge.Query.Nearest(_average(positive, negative, vectors), using)
        if not positive and not negative:
            raise wrong_input("At least one positive or negative vector ID required with this strategy")
        kind = edge.Query.RecommendBestScore if strategy == "best_score" else edge.Query.RecommendSumScores

        def build(vectors: Vectors) -> Any:
            likes, dislikes = ([example.resolve(vectors) for example in given] for given in (positive, negative))
            return kind(edge.RecommendQuery(likes, dislikes), using)

        return build

    def discover(self, value: Any, where: str) -> Build:
        outer = Fields(value, where)
        fields = Fields(outer.need("discover"), f"{where}.discover")
        outer.done()
        target = self.example(fields.need("target"), f"{where}.target")
        pairs = self.pairs(fields.need("context"), f"{where}.context")
        fields.done()
        using = self.using
        return lambda vectors: edge.Query.Discover(
            edge.DiscoverQuery(target.resolve(vectors), _pairs(pairs, vectors)), using
        )

    def context(self, value: Any, where: str) -> Build:
        fields = Fields(value, where)
        pairs = self.pairs(fields.need("context"), f"{where}.context")
        fields.done()
        using = self.using
        return lambda vectors: edge.Query.Context(edge.ContextQuery(_pairs(pairs, vectors)), using)

    def pairs(self, value: Any, where: str) -> list[tuple[Example, Example]]:
        found = []
        for i, item in enumerate(as_list(value, where)):
            fields = Fields(item, f"{where}[{i}]")
            positive, negative = (self.example(fields.need(n), fields.where) for n in ("positive", "negative"))
            fields.done()
            found.append((positive, negative))
        return found

    def order(self, value: Any, where: str) -> Build:
        fields = Fields(value, where)
        order = parse_order(fields.need("order_by"), f"{where}.order_by")
        fields.done()
        return lambda _vectors: order

    def fusion(self, value: Any, where: str) -> Build:
        self.needs_prefetch()
        fields = Fields(value, where)
        kind = one_of(fields.need("fusion", str), {"rrf": edge.Fusion.Rrf(2), "dbsf": edge.Fusion.Dbsf()}, where)
        fields.done()
        return lambda _vectors: kind

    def rrf(self, value: Any, where: str) -> Build:
        self.needs_prefetch()
        outer = Fields(value, where)
        fields = Fields(outer.need("rrf"), f"{where}.rrf")
        outer.done()
        k, weights = fields.count("k", 2, minimum=1), fields.take("weights", list)
        fields.done()
        if weights is not None and len(weights) != self.prefetches:
            raise validation_error(f"{where}.weights: {len(weights)} weights for {self.prefetches} prefetches")
        numbers = None if weights is None else [float(expect(w, float, f"{where}.weights")) for w in weights]
        fused = checked(lambda: edge.Fusion.Rrf(k, numbers), where)
        return lambda _vectors: fused

    def needs_prefetch(self) -> None:
        if not self.prefetches:
            raise wrong_input("Fusion queries cannot be combined without prefetches: a `prefetch` is needed")

    def formula(self, value: Any, where: str) -> Build:
        fields = Fields(value, where)
        formula = parse_formula(fields.need("formula"), fields.take("defaults", dict, {}), where)
        fields.done()
        return lambda _vectors: formula

    def sample(self, value: Any, where: str) -> Build:
        fields = Fields(value, where)
        one_of(fields.need("sample", str), {"random": None}, f"{where}.sample")
        fields.done()
        return lambda _vectors: edge.Sample.Random

    def text(self, value: Any, where: str) -> Build:
        """BM25 over the text index of the payload field that `using` names."""
        outer = Fields(value, where)
        text = outer.need("text")
        outer.done()
        fields = Fields({"query": text} if isinstance(text, str) else text, f"{where}.text")
        words, scoring = fields.need("query", str), fields.take("scoring")
        fields.done()
        params = None
        if scoring is not None:
            inner = Fields(scoring, f"{where}.scoring")
            bm25 = Fields(inner.need("bm25"), f"{where}.scoring.bm25")
            inner.done()
            params = edge.Bm25Params(bm25.number("k", 0.0, F32_MAX), bm25.number("b", 0.0, 1.0))
            bm25.done()
        if not self.using:
            raise wrong_input("A `text` query needs `using`, the payload field whose text index to search")
        if self.prefetches:
            raise wrong_input("A `text` query cannot rescore a prefetch; make it one of the prefetches")
        query = checked(lambda: edge.TextQuery(self.using, words, params), where)
        return lambda _vectors: query

    def feedback(self, value: Any, where: str) -> Build:
        outer = Fields(value, where)
        fields = Fields(outer.need("relevance_feedback"), f"{where}.relevance_feedback")
        outer.done()
        target, items = self.example(fields.need("target"), f"{where}.target"), []
        for i, item in enumerate(fields.need("feedback", list)):
            one = Fields(item, f"{where}.feedback[{i}]")
            items.append((self.example(one.need("example"), one.where), float(one.need("score", float))))
            one.done()
        strategy = Fields(fields.need("strategy"), f"{where}.strategy")
        naive = Fields(strategy.need("naive"), f"{where}.strategy.naive")
        coefficients = edge.NaiveFeedbackStrategy(*(float(naive.need(name, float)) for name in "abc"))
        for part in (naive, strategy, fields):
            part.done()
        using = self.using

        def build(vectors: Vectors) -> Any:
            given = [edge.FeedbackItem(example.resolve(vectors), score) for example, score in items]
            return edge.Query.FeedbackNaive(
                edge.FeedbackNaiveQuery(target.resolve(vectors), given, coefficients), using
            )

        return build


_KINDS: dict[str, Callable[[_Maker, Any, str], Build]] = {
    "nearest": _Maker.nearest,
    "recommend": _Maker.recommend,
    "discover": _Maker.discover,
    "context": _Maker.context,
    "order_by": _Maker.order,
    "fusion": _Maker.fusion,
    "rrf": _Maker.rrf,
    "formula": _Maker.formula,
    "sample": _Maker.sample,
    "text": _Maker.text,
    "relevance_feedback": _Maker.feedback,
}


def _pairs(pairs: list[tuple[Example, Example]], vectors: Vectors) -> list[edge.ContextPair]:
    return [edge.ContextPair(positive.resolve(vectors), negative.resolve(vectors)) for positive, negative in pairs]


def _average(positive: list[Example], negative: list[Example], vectors: Vectors) -> Any:
    """mean(positive) + (mean(positive) - mean(negative)), as Qdrant's `average_vector`."""
    likes, dislikes = ([example.resolve(vectors) for example in given] for given in (positive, negative))
    if isinstance(likes[0], edge.SparseVector):
        weights: dict[int, float] = {}
        for given, factor in ((likes, 2.0 if dislikes else 1.0), (dislikes, -1.0)):
            for vector in given:
                for index, value in zip(vector.indices, vector.values, strict=True):
                    weights[index] = weights.get(index, 0.0) + factor * value / len(given)
        return edge.SparseVector(list(weights), list(weights.values()))
    mean = np.mean(np.asarray(likes, dtype=np.float32), axis=0)
    if dislikes:
        mean = mean + mean - np.mean(np.asarray(dislikes, dtype=np.float32), axis=0)
    return [float(x) for x in mean]
