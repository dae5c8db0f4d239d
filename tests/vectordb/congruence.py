"""Two Qdrants told the same must answer the same, field by field, over random collections, filters and queries.

    PYTHONPATH=embeddings:tests python -m vectordb.congruence --collections 30 [--against grpc]

Compares the server (the embedded one, or the one at QDRANT_URL) with qdrant-client's own local mode, or the embedded
one over gRPC with another over REST, and prints how many answers were compared and each that differs. The tests run
the same with few collections. What a server may choose is left out: versions, operation numbers, the order of hits of
equal score.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import uuid
import warnings
from collections import Counter
from pathlib import Path

from qdrant_client import QdrantClient, models
from qdrant_client.models import FieldCondition, Filter, MatchAny, MatchExcept, MatchText, MatchValue, Range

COUNT, TOLERANCE = 60, 1e-4
DISTANCES = [models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID, models.Distance.MANHATTAN]
WORDS = ["red", "green", "blue", "grey"]
TEXTS = ["the quick brown fox", "quick red cars drive", "a slow brown bear", "nothing of it", "Brown, and quick!"]
INDEXES = {
    "n": models.IntegerIndexParams(type="integer", lookup=True, range=True),
    "size": models.FloatIndexParams(type="float"),
    "colour": models.KeywordIndexParams(type="keyword", is_tenant=True),
    "group": "integer",
    "at": models.DatetimeIndexParams(type="datetime"),
    "place": models.GeoIndexParams(type="geo"),
    "ok": models.BoolIndexParams(type="bool"),
    "uid": models.UuidIndexParams(type="uuid"),
    "text": models.TextIndexParams(type="text", tokenizer="word", lowercase=True, phrase_matching=True, scoring=True),
}
# equal scores: nobody promises which of them a limit keeps
ALL_OF = ("context", "fusion rrf", "weighted rrf", "recommend in a sparse vector", "bm25")


def vector(rng, size):
    return [rng.uniform(-1, 1) for _ in range(size)]


def sparse(rng):
    indices = rng.sample(range(12), rng.randint(1, 5))
    return models.SparseVector(indices=indices, values=[rng.uniform(0.1, 2) for _ in indices])


def many(rng):
    return [vector(rng, 3) for _ in range(rng.randint(1, 3))]


def place(rng):
    return {"lon": rng.uniform(-170, 170), "lat": rng.uniform(-80, 80)}


def moment(rng):
    return f"20{rng.randrange(10, 30)}-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}T0{rng.randrange(9)}:15:00Z"


def point_id(rng, n):
    return n if n % 3 else str(uuid.UUID(int=rng.getrandbits(128)))


def a_point(rng, n):
    payload = {
        "n": n,
        "colour": rng.choice(WORDS),
        "size": round(rng.uniform(0, 9), 2) + n / 100_000,
        "group": rng.randrange(6),
        "at": moment(rng),
        "place": place(rng),
        "ok": rng.random() < 0.5,
        "uid": str(uuid.UUID(int=rng.randrange(3))),
        "text": rng.choice(TEXTS),
        "items": [{"a": rng.randrange(3), "b": rng.choice(WORDS)} for _ in range(rng.randrange(3))],
    }
    if n % 4 == 0:
        payload |= {"tags": rng.sample(WORDS, rng.randint(0, 3)), "deep": {"er": rng.randrange(3)}}
    if n % 7 == 0:
        payload["none"] = None
    vectors = {
        "": vector(rng, 4),
        "small": vector(rng, 2),
        "words": sparse(rng),
        "rare": sparse(rng),
        "rows": many(rng),
    }
    if n % 5 == 0:
        del vectors[rng.choice(["small", "words"])]
    return models.PointStruct(id=point_id(rng, n), vector=vectors, payload=payload)


class Difference(AssertionError):
    """Two answers are not the same."""


class Pair:
    """The server and its double, told the same. `compared`: how many answers of each kind were the same."""

    def __init__(self, server, double, name, seed):
        self.server, self.double, self.name, self.rng = server, double, name, random.Random(seed)
        self.compared = Counter()

    def both(self, call):
        return call(self.server), call(self.double)

    def make(self):
        rng = self.rng
        distances = [rng.choice(DISTANCES) for _ in range(3)]
        rows = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        self.both(
            lambda c: c.create_collection(
                self.name,
                vectors_config={
                    "": models.VectorParams(size=4, distance=distances[0]),
                    "small": models.VectorParams(size=2, distance=distances[1]),
                    "rows": models.VectorParams(size=3, distance=distances[2], multivector_config=rows),
                },
                sparse_vectors_config={
                    "words": models.SparseVectorParams(),
                    "rare": models.SparseVectorParams(modifier=models.Modifier.IDF),
                },
            )
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the local mode says that indexes have no effect
            for field, kind in INDEXES.items():
                self.both(lambda c, f=field, k=kind: c.create_payload_index(self.name, f, k, wait=True))
        self.points = [a_point(rng, n) for n in range(COUNT)]
        self.both(lambda c: c.upsert(self.name, self.points, wait=True))

    def condition(self):
        """One of every kind of condition."""
        rng = self.rng
        circle = models.GeoRadius(center=models.GeoPoint(**place(rng)), radius=rng.uniform(1e5, 8e6))
        west, east = sorted(rng.uniform(-170, 170) for _ in range(2))
        south, north = sorted(rng.uniform(-80, 80) for _ in range(2))
        ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        line = models.GeoLineString(points=[models.GeoPoint(lon=x, lat=y) for x, y in ring])
        first, last = sorted(moment(rng) for _ in range(2))
        of_items = [
            FieldCondition(key="a", match=MatchValue(value=rng.randrange(3))),
            FieldCondition(key="b", match=MatchValue(value=rng.choice(WORDS))),
        ]
        box = models.GeoBoundingBox(
            top_left=models.GeoPoint(lon=west, lat=north), bottom_right=models.GeoPoint(lon=east, lat=south)
        )
        words = " ".join(rng.sample(rng.choice(TEXTS).split(), 2))
        return rng.choice(
            [
                FieldCondition(key="colour", match=MatchValue(value=rng.choice(WORDS))),
                FieldCondition(key="colour", match=MatchAny(any=rng.sample(WORDS, 2))),
                FieldCondition(key="colour", match=MatchExcept(**{"except": rng.sample(WORDS, 2)})),
                FieldCondition(key="group", match=MatchAny(any=rng.sample(range(6), 2))),
                FieldCondition(key="group", match=MatchExcept(**{"except": rng.sample(range(6), 2)})),
                FieldCondition(key="ok", match=MatchValue(value=rng.random() < 0.5)),
                FieldCondition(key="uid", match=MatchValue(value=str(uuid.UUID(int=rng.randrange(3))))),
                FieldCondition(key="text", match=MatchText(text=words)),
                FieldCondition(key="text", match=models.MatchTextAny(text_any=words)),
                FieldCondition(key="text", match=models.MatchPhrase(phrase=words)),
                FieldCondition(key="size", range=Range(gte=rng.uniform(0, 4), lt=rng.uniform(4, 9))),
                FieldCondition(key="n", range=Range(gt=rng.randrange(COUNT), lte=COUNT)),
                FieldCondition(key="at", range=models.DatetimeRange(gte=first, lt=last)),
                FieldCondition(key="tags", values_count=models.ValuesCount(gte=rng.randint(0, 2))),
                FieldCondition(key="deep.er", match=MatchValue(value=rng.randrange(3))),
                FieldCondition(key="items[].a", match=MatchValue(value=rng.randrange(3))),
                FieldCondition(key="tags", is_empty=rng.random() < 0.5),
                FieldCondition(key="none", is_null=rng.random() < 0.5),
                FieldCondition(key="place", geo_bounding_box=box),
                FieldCondition(key="place", geo_radius=circle),
                FieldCondition(key="place", geo_polygon=models.GeoPolygon(exterior=line)),
                models.NestedCondition(nested=models.Nested(key="items", filter=Filter(must=of_items))),
                models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")),
                models.IsNullCondition(is_null=models.PayloadField(key="none")),
                models.HasIdCondition(has_id=[p.id for p in rng.sample(self.points, 20)]),
                models.HasVectorCondition(has_vector=rng.choice(["small", "words"])),
                models.SliceCondition(slice=models.Slice(total=3, index=rng.randrange(3))),
            ]
        )

    def filter(self, depth=2):
        rng = self.rng
        if rng.random() < 0.3 and depth == 2:
            return None
        one = lambda: self.filter(depth - 1) if depth and rng.random() < 0.15 else self.condition()  # noqa: E731
        parts = {name: [one() for _ in range(rng.randint(0, 2))] for name in ("must", "should", "must_not")}
        if rng.random() < 0.2:
            parts["min_should"] = models.MinShould(conditions=[self.condition() for _ in range(3)], min_count=2)
        return Filter(**{name: part for name, part in parts.items() if part})

    def check(self, kind, call, detail="", exact_order=True):
        ours, theirs = (plain(answer) for answer in self.both(call))
        if not same(ours, theirs, exact_order):
            raise Difference(f"{kind} {detail}\n{difference(ours, theirs)}")
        self.compared[kind] += 1


def difference(ours, theirs):
    """The first hit that differs, for a message that can be read."""
    if isinstance(ours, dict) or isinstance(theirs, dict):
        return f"ours   {ours}\ntheirs {theirs}"
    for a, b in zip(ours, theirs, strict=False):
        if not same(a, b):
            return f"ours   {a}\ntheirs {b}"
    return f"ours has {len(ours)}, theirs {len(theirs)}"


def plain(value):
    """Models as JSON; what a server may choose (version, operation number) left out."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {
            name: plain(item)
            for name, item in value.items()
            if name not in ("version", "shard_key") and item is not None
        }
    return value


def same(ours, theirs, exact_order=True):
    """Equal, numbers within float32's precision; hits of equal score in any order."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if {"indices", "values"} == ours.keys() == theirs.keys():
            a, b = (dict(zip(x["indices"], x["values"], strict=True)) for x in (ours, theirs))
            return same(a, b)
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k], exact_order) for k in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            return False
        if not exact_order and ours and isinstance(ours[0], dict) and "id" in ours[0]:
            ours, theirs = (
                sorted(hits, key=lambda h: (-round(h.get("score", 0), 3), str(h["id"]))) for hits in (ours, theirs)
            )
        return all(same(a, b, exact_order) for a, b in zip(ours, theirs, strict=True))
    if isinstance(ours, float) or isinstance(theirs, float):
        if not (isinstance(ours, float | int) and isinstance(theirs, float | int)):
            return False
        return abs(ours - theirs) <= max(TOLERANCE, 1e-3 * abs(theirs))
    return ours == theirs


def queries(pair):
    """(what it is, the keyword arguments of query_points)."""
    rng = pair.rng
    ids = [p.id for p in pair.points if "small" in p.vector and "words" in p.vector]
    pick = lambda count: rng.sample(ids, count)  # noqa: E731
    yield "nearest", {"query": vector(rng, 4)}
    yield "nearest in a named vector", {"query": vector(rng, 2), "using": "small"}
    yield "nearest of a multivector", {"query": many(rng), "using": "rows"}
    yield "sparse", {"query": sparse(rng), "using": "words"}
    yield "sparse with idf", {"query": sparse(rng), "using": "rare"}
    corpus = models.SearchParams(idf=models.IdfCorpusParams(corpus=Filter(must=[pair.condition()])))
    yield "sparse with idf of a part", {"query": sparse(rng), "using": "rare", "search_params": corpus}
    words = " ".join(rng.sample(rng.choice(TEXTS).split(), 2))
    yield "bm25", {"query": models.TextQuery(text=words), "using": "text"}
    yield (
        "exact, with parameters",
        {
            "query": vector(rng, 4),
            "search_params": models.SearchParams(
                exact=True, hnsw_ef=64, quantization=models.QuantizationSearchParams(ignore=True, rescore=True)
            ),
        },
    )
    yield "by id", {"query": pick(1)[0]}
    yield "by id in a named vector", {"query": pick(1)[0], "using": "small"}
    yield "by id in a sparse vector", {"query": pick(1)[0], "using": "words"}
    yield "no query", {}
    yield "score threshold", {"query": vector(rng, 4), "score_threshold": 0.3}
    for strategy in ("average_vector", "best_score", "sum_scores"):
        recommend = models.RecommendInput(positive=pick(2), negative=pick(2), strategy=strategy)
        yield f"recommend {strategy}", {"query": models.RecommendQuery(recommend=recommend)}
    positive = models.RecommendInput(positive=[*pick(1), vector(rng, 4)])
    yield "recommend positive only", {"query": models.RecommendQuery(recommend=positive)}
    of_words = models.RecommendInput(positive=pick(1), negative=[sparse(rng)], strategy="best_score")
    yield "recommend in a sparse vector", {"query": models.RecommendQuery(recommend=of_words), "using": "words"}
    pairs = [models.ContextPair(positive=a, negative=b) for a, b in (pick(2), pick(2))]
    discover = models.DiscoverInput(target=vector(rng, 4), context=pairs)
    yield "discover", {"query": models.DiscoverQuery(discover=discover)}
    yield "context", {"query": models.ContextQuery(context=pairs)}
    for direction in ("asc", "desc"):
        order = models.OrderBy(key="n", direction=direction)
        yield f"order by {direction}", {"query": models.OrderByQuery(order_by=order)}
    start = models.OrderBy(key="n", direction="asc", start_from=rng.randrange(COUNT))
    yield "order by from a value", {"query": models.OrderByQuery(order_by=start)}
    prefetch = [
        models.Prefetch(query=vector(rng, 4), limit=20, filter=pair.filter()),
        models.Prefetch(query=sparse(rng), using="words", limit=20),
        models.Prefetch(query=vector(rng, 2), using="small", limit=20),
    ]
    for fusion in ("rrf", "dbsf"):
        yield f"fusion {fusion}", {"query": models.FusionQuery(fusion=fusion), "prefetch": prefetch}
    weighted = models.Rrf(k=60, weights=[1.0, 2.0, 0.5])
    yield "weighted rrf", {"query": models.RrfQuery(rrf=weighted), "prefetch": prefetch}
    yield "rescoring", {"query": vector(rng, 4), "prefetch": prefetch[1:2]}
    nested = models.Prefetch(query=vector(rng, 2), using="small", limit=15, prefetch=prefetch[:1])
    yield "nested prefetch", {"query": vector(rng, 4), "prefetch": nested}
    mmr = models.NearestQuery(nearest=vector(rng, 4), mmr=models.Mmr(diversity=0.4, candidates_limit=30))
    yield "mmr", {"query": mmr}
    product = models.MultExpression(mult=["$score", 2.0])
    formula = models.FormulaQuery(formula=models.SumExpression(sum=[product, "size"]), defaults={"size": 0})
    yield "formula", {"query": formula, "prefetch": prefetch[:1]}
    yield "formula of everything", {"query": a_formula(pair), "prefetch": prefetch[:1]}
    items = [models.FeedbackItem(example=p, score=rng.uniform(0, 1)) for p in pick(3)]
    strategy = models.NaiveFeedbackStrategy(naive=models.NaiveFeedbackStrategyParams(a=1.0, b=0.5, c=0.25))
    feedback = models.RelevanceFeedbackInput(target=vector(rng, 4), feedback=items, strategy=strategy)
    yield "relevance feedback", {"query": models.RelevanceFeedbackQuery(relevance_feedback=feedback)}


def a_formula(pair):
    """An expression with most of the operators."""
    rng = pair.rng
    near = models.GeoDistance(geo_distance=models.GeoDistanceParams(origin=models.GeoPoint(**place(rng)), to="place"))
    decay = models.DecayParamsExpression(x=near, target=0.0, scale=5e6, midpoint=0.5)
    then = models.DecayParamsExpression(
        x=models.DatetimeKeyExpression(datetime_key="at"),
        target=models.DatetimeExpression(datetime=moment(rng)),
        scale=86400.0 * 900,
    )
    ratio = models.DivExpression(div=models.DivParams(left="size", right="group", by_zero_default=1.0))
    power = models.PowExpression(pow=models.PowParams(base=2.0, exponent=models.NegExpression(neg="group")))
    root = models.SqrtExpression(sqrt=models.AbsExpression(abs="size"))
    return models.FormulaQuery(
        formula=models.SumExpression(
            sum=[
                "$score",
                models.MultExpression(mult=[3.0, models.ExpDecayExpression(exp_decay=decay)]),
                models.GaussDecayExpression(gauss_decay=then),
                FieldCondition(key="colour", match=MatchAny(any=rng.sample(WORDS, 2))),
                ratio,
                power,
                root,
                models.LnExpression(ln=models.SumExpression(sum=["size", 1.0])),
            ]
        ),
        defaults={"size": 0.5, "group": 1},
    )


def check_queries(pair):
    """Every kind of query, each without and with filters, limits and offsets."""
    for what, arguments in queries(pair):
        for condition in (None, pair.filter(), pair.filter()):
            limit, offset = pair.rng.choice([(5, 0), (8, 3), (100, 0)])
            if what in ALL_OF:
                limit, offset = 100, 0
            vectors = pair.rng.choice([["small", "words", "rows"], True, False])
            payload = pair.rng.choice([True, ["n", "deep.er"], models.PayloadSelectorExclude(exclude=["items"]), False])
            pair.check(
                what,
                lambda c, a=arguments, f=condition, n=limit, o=offset, v=vectors, p=payload: (
                    c.query_points(
                        pair.name, query_filter=f, limit=n, offset=o, with_payload=p, with_vectors=v, **a
                    ).points
                ),
                f"{arguments} filter {condition} limit {limit} offset {offset}",
                exact_order=False,
            )


def check_reads(pair):
    """Groups, facets, counts, scrolls, reads by id, batches of queries, distance matrices where both have them."""
    for _ in range(10):
        condition, rng = pair.filter(), pair.rng
        query, key = vector(rng, 4), rng.choice(["colour", "group"])
        pair.check(
            "groups",
            lambda c, q=query, k=key, f=condition: (
                c.query_points_groups(
                    pair.name, group_by=k, query=q, query_filter=f, limit=4, group_size=2, with_payload=["n"]
                ).groups
            ),
            f"by {key} {condition}",
        )
        pair.check("count", lambda c, f=condition: c.count(pair.name, count_filter=f, exact=True), condition)
        facet = rng.choice(["colour", "group", "ok", "uid"])
        pair.check(
            "facet",
            lambda c, k=facet, f=condition: sorted(
                plain(c.facet(pair.name, key=k, facet_filter=f, exact=True).hits), key=repr
            ),
            f"{facet} {condition}",
        )
        pair.check(
            "scroll",
            lambda c, f=condition: c.scroll(pair.name, scroll_filter=f, limit=7, with_vectors=True),
            condition,
        )
        order = models.OrderBy(key=rng.choice(["size", "n"]), direction=rng.choice(["asc", "desc"]))
        pair.check(
            "scroll by order",
            lambda c, f=condition, o=order: c.scroll(pair.name, scroll_filter=f, limit=9, order_by=o)[0],
            f"{order} {condition}",
        )
        ids = [p.id for p in rng.sample(pair.points, 5)] + [999_999]
        pair.check(
            "retrieve",
            lambda c, i=ids: sorted(plain(c.retrieve(pair.name, i, with_vectors=["rare", "small"])), key=repr),
        )
        requests = [models.QueryRequest(query=vector(rng, 4), limit=3, filter=condition) for _ in range(2)]
        requests.append(models.QueryRequest(query=sparse(rng), using="words", limit=4, with_payload=True))
        pair.check("batch", lambda c, r=requests: [a.points for a in c.query_batch_points(pair.name, r)], condition)


def everything(client, name):
    records, offset = client.scroll(name, limit=1000, with_vectors=True)
    assert offset is None
    return sorted(plain(records), key=lambda record: str(record["id"]))


def updates(pair):
    """(what it is, the call)."""
    rng, name = pair.rng, pair.name
    some = [p.id for p in rng.sample(pair.points, 8)]
    red = Filter(must=[FieldCondition(key="colour", match=MatchValue(value="red"))])
    new = [a_point(rng, n) for n in (5, 1000, 1001)]
    yield "set payload", lambda c: c.set_payload(name, {"new": 1, "colour": "red"}, points=some[:4])
    yield "set payload by filter", lambda c: c.set_payload(name, {"seen": True}, points=red)
    yield "set payload at a key", lambda c: c.set_payload(name, {"x": 1}, points=some[:2], key="deep")
    yield "overwrite payload", lambda c: c.overwrite_payload(name, {"only": "this"}, points=some[1:3])
    yield "delete payload", lambda c: c.delete_payload(name, keys=["size", "absent"], points=some)
    yield "delete payload by filter", lambda c: c.delete_payload(name, keys=["group"], points=red)
    yield "clear payload", lambda c: c.clear_payload(name, points_selector=some[5:7])
    vectors = [models.PointVectors(id=p, vector={"small": vector(rng, 2), "words": sparse(rng)}) for p in some[:3]]
    yield "update vectors", lambda c: c.update_vectors(name, points=vectors)
    yield "delete vectors", lambda c: c.delete_vectors(name, vectors=["rare"], points=some[2:6])
    yield "delete vectors by filter", lambda c: c.delete_vectors(name, vectors=["small"], points=red)
    yield "upsert", lambda c: c.upsert(name, new)
    columns = models.Batch(
        ids=[7000, 7001], vectors={"small": [vector(rng, 2) for _ in range(2)]}, payloads=[{"k": 1}, {}]
    )
    yield "upsert in columns", lambda c: c.upsert(name, columns)
    bare = models.PointStruct(id=2000, vector={}, payload={"a": 1})
    yield "a point without a vector", lambda c: c.upsert(name, [bare])
    operations = [
        models.UpsertOperation(upsert=models.PointsList(points=[a_point(rng, 3000), a_point(rng, 3002)])),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"late": 1}, points=some[:2])),
        models.OverwritePayloadOperation(overwrite_payload=models.SetPayload(payload={"o": 1}, points=some[2:3])),
        models.DeletePayloadOperation(delete_payload=models.DeletePayload(keys=["n"], points=some[3:4])),
        models.UpdateVectorsOperation(
            update_vectors=models.UpdateVectors(points=[models.PointVectors(id=some[0], vector={"": vector(rng, 4)})])
        ),
        models.DeleteVectorsOperation(delete_vectors=models.DeleteVectors(points=some[:1], vector=["rare"])),
        models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=some[7:])),
        models.DeleteOperation(delete=models.PointIdsList(points=some[6:7])),
    ]
    yield "a batch of updates", lambda c: c.batch_update_points(name, operations)
    yield "delete by filter", lambda c: c.delete(name, points_selector=models.FilterSelector(filter=red))
    yield "delete by id", lambda c: c.delete(name, points_selector=models.PointIdsList(points=some[:2]))


def check_updates(pair):
    """After every kind of update the collections hold the same."""
    for what, call in updates(pair):
        pair.both(call)
        pair.check(what, lambda c: everything(c, pair.name))


CHECKS = (check_queries, check_reads, check_updates)


def _pairs(against, collections):
    """A pair for each seed, its collection made."""
    from vectordb.conftest import EXTERNAL, Embedded, over_grpc

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        double = QdrantClient(":memory:")
        if against == "grpc":
            other = stack.enter_context(Embedded(folder / "theirs"))
            double = QdrantClient(url=other.url, timeout=60)
        if EXTERNAL:
            key = os.environ.get("QDRANT_API_KEY")
            ours = QdrantClient(url=EXTERNAL, timeout=60, api_key=key, prefer_grpc=against == "grpc")
        else:
            server = stack.enter_context(Embedded(folder / "ours", env={"QDRANT_GRPC_PORT": "0"}))
            ours = over_grpc(server) if against == "grpc" else QdrantClient(url=server.url, timeout=60)
        for seed in range(collections):
            pair = Pair(ours, double, f"congruence-{uuid.uuid4().hex[:12]}", seed)
            pair.make()
            yield seed, pair
            pair.both(lambda c, n=pair.name: c.delete_collection(n))


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--collections", type=int, default=30)
    parser.add_argument("--against", choices=("local", "grpc"), default="local", help="see above (local)")
    args = parser.parse_args()
    compared, differences = Counter(), []
    for seed, pair in _pairs(args.against, args.collections):
        for check in CHECKS:
            try:
                check(pair)
            except Difference as error:
                differences.append(f"collection {seed}: {error}")
        compared += pair.compared
    print(
        f"{args.collections} collections, {sum(compared.values())} answers of {len(compared)} kinds the same, ", end=""
    )
    print(f"{len(differences)} different")
    for text in differences:
        print(text[:3000])
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
