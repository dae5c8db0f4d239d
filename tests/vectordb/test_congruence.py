"""The server answers what qdrant-client's own local mode answers, field by field, over random collections and queries.

Two implementations, one body, as in qdrant-client's congruence tests; with QDRANT_URL the same against a real server.
CONGRUENCE_SEEDS (3 by default) says how many random collections.
"""

import os
import random
import uuid
import warnings

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.models import FieldCondition, Filter, MatchAny, MatchExcept, MatchValue, Range

COUNT, TOLERANCE = 60, 1e-4
SEEDS = range(int(os.environ.get("CONGRUENCE_SEEDS", "3")))
DISTANCES = [models.Distance.COSINE, models.Distance.DOT, models.Distance.EUCLID, models.Distance.MANHATTAN]
WORDS = ["red", "green", "blue", "grey"]


def vector(rng, size):
    return [rng.uniform(-1, 1) for _ in range(size)]


def sparse(rng):
    indices = rng.sample(range(12), rng.randint(1, 5))
    return models.SparseVector(indices=indices, values=[rng.uniform(0.1, 2) for _ in indices])


def point_id(rng, n):
    return n if n % 3 else str(uuid.UUID(int=rng.getrandbits(128)))


def a_point(rng, n):
    payload = {
        "n": n,
        "colour": rng.choice(WORDS),
        "size": round(rng.uniform(0, 9), 2) + n / 100_000,
        "group": rng.randrange(6),
    }
    if n % 4 == 0:
        payload |= {"tags": rng.sample(WORDS, rng.randint(0, 3)), "deep": {"er": rng.randrange(3)}}
    if n % 7 == 0:
        payload["none"] = None
    vectors = {"": vector(rng, 4), "small": vector(rng, 2), "words": sparse(rng), "rare": sparse(rng)}
    if n % 5 == 0:
        del vectors[rng.choice(["small", "words"])]
    return models.PointStruct(id=point_id(rng, n), vector=vectors, payload=payload)


class Pair:
    """The server and the local mode, told the same."""

    def __init__(self, server, local, name, seed):
        self.server, self.local, self.name, self.rng = server, local, name, random.Random(seed)

    def both(self, call):
        return call(self.server), call(self.local)

    def make(self):
        rng = self.rng
        distances = [rng.choice(DISTANCES) for _ in range(2)]
        self.both(
            lambda c: c.create_collection(
                self.name,
                vectors_config={
                    "": models.VectorParams(size=4, distance=distances[0]),
                    "small": models.VectorParams(size=2, distance=distances[1]),
                },
                sparse_vectors_config={
                    "words": models.SparseVectorParams(),
                    "rare": models.SparseVectorParams(modifier=models.Modifier.IDF),
                },
            )
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the local mode says that indexes have no effect
            for field, kind in (("n", "integer"), ("size", "float"), ("colour", "keyword"), ("group", "integer")):
                self.both(lambda c, f=field, k=kind: c.create_payload_index(self.name, f, k, wait=True))
        self.points = [a_point(rng, n) for n in range(COUNT)]
        self.both(lambda c: c.upsert(self.name, self.points, wait=True))

    def filter(self):
        rng = self.rng
        conditions = [
            FieldCondition(key="colour", match=MatchValue(value=rng.choice(WORDS))),
            FieldCondition(key="colour", match=MatchAny(any=rng.sample(WORDS, 2))),
            FieldCondition(key="colour", match=MatchExcept(**{"except": rng.sample(WORDS, 2)})),
            FieldCondition(key="size", range=Range(gte=rng.uniform(0, 4), lt=rng.uniform(4, 9))),
            FieldCondition(key="tags", values_count=models.ValuesCount(gte=rng.randint(0, 2))),
            FieldCondition(key="deep.er", match=MatchValue(value=rng.randrange(3))),
            models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")),
            models.IsNullCondition(is_null=models.PayloadField(key="none")),
            models.HasIdCondition(has_id=[p.id for p in rng.sample(self.points, 20)]),
            models.HasVectorCondition(has_vector=rng.choice(["small", "words"])),
        ]
        if rng.random() < 0.3:
            return None
        parts = {name: rng.sample(conditions, rng.randint(0, 2)) for name in ("must", "should", "must_not")}
        return Filter(**{name: part for name, part in parts.items() if part})

    def check(self, call, what, exact_order=True):
        ours, theirs = self.both(call)
        assert same(plain(ours), plain(theirs), exact_order), f"{what}\n{difference(plain(ours), plain(theirs))}"


def difference(ours, theirs):
    """The first hit that differs, for a message that can be read."""
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
        return isinstance(ours, float | int) and ours == pytest.approx(theirs, rel=1e-3, abs=TOLERANCE)
    return ours == theirs


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def pair(url, name, request):
    server = QdrantClient(url=url, timeout=60, api_key=os.environ.get("QDRANT_API_KEY"))
    pair = Pair(server, QdrantClient(":memory:"), name, request.param)
    pair.make()
    yield pair
    server.close()


def queries(pair):
    """(what it is, the keyword arguments of query_points)."""
    rng = pair.rng
    ids = [p.id for p in pair.points if "small" in p.vector and "words" in p.vector]
    pick = lambda count: rng.sample(ids, count)  # noqa: E731
    yield "nearest", {"query": vector(rng, 4)}
    yield "nearest in a named vector", {"query": vector(rng, 2), "using": "small"}
    yield "sparse", {"query": sparse(rng), "using": "words"}
    yield "sparse with idf", {"query": sparse(rng), "using": "rare"}
    yield "by id", {"query": pick(1)[0]}
    yield "by id in a named vector", {"query": pick(1)[0], "using": "small"}
    yield "no query", {}
    yield "score threshold", {"query": vector(rng, 4), "score_threshold": 0.3}
    for strategy in ("average_vector", "best_score", "sum_scores"):
        recommend = models.RecommendInput(positive=pick(2), negative=pick(2), strategy=strategy)
        yield f"recommend {strategy}", {"query": models.RecommendQuery(recommend=recommend)}
    positive = models.RecommendInput(positive=[*pick(1), vector(rng, 4)])
    yield "recommend positive only", {"query": models.RecommendQuery(recommend=positive)}
    pairs = [models.ContextPair(positive=a, negative=b) for a, b in (pick(2), pick(2))]
    discover = models.DiscoverInput(target=vector(rng, 4), context=pairs)
    yield "discover", {"query": models.DiscoverQuery(discover=discover)}
    yield "context", {"query": models.ContextQuery(context=pairs)}
    for direction in ("asc", "desc"):
        order = models.OrderBy(key="n", direction=direction)
        yield f"order by {direction}", {"query": models.OrderByQuery(order_by=order)}
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


def test_every_kind_of_query_scores_and_orders_as_the_local_mode(pair):
    for what, arguments in queries(pair):
        for condition in (None, pair.filter(), pair.filter()):
            limit, offset = pair.rng.choice([(5, 0), (8, 3), (100, 0)])
            if what in ("context", "fusion rrf", "weighted rrf"):  # equal scores: nobody promises which a limit keeps
                limit, offset = 100, 0
            pair.check(
                lambda c, a=arguments, f=condition, n=limit, o=offset: (
                    c.query_points(
                        pair.name,
                        query_filter=f,
                        limit=n,
                        offset=o,
                        with_payload=True,
                        with_vectors=["small", "words"],
                        **a,
                    ).points
                ),
                f"{what} {arguments} filter {condition} limit {limit} offset {offset}",
                exact_order=False,
            )


def test_groups_facets_counts_and_scrolls_are_the_local_modes(pair):
    for _ in range(10):
        condition, rng = pair.filter(), pair.rng
        query, key = vector(rng, 4), rng.choice(["colour", "group"])
        pair.check(
            lambda c, q=query, k=key, f=condition: (
                c.query_points_groups(
                    pair.name, group_by=k, query=q, query_filter=f, limit=4, group_size=2, with_payload=["n"]
                ).groups
            ),
            f"groups by {key} {condition}",
        )
        pair.check(lambda c, f=condition: c.count(pair.name, count_filter=f, exact=True), f"count {condition}")
        pair.check(
            lambda c, k=key, f=condition: sorted(
                plain(c.facet(pair.name, key=k, facet_filter=f, exact=True).hits), key=repr
            ),
            f"facet {key} {condition}",
        )
        pair.check(
            lambda c, f=condition: c.scroll(pair.name, scroll_filter=f, limit=7, with_vectors=True),
            f"scroll {condition}",
        )
        order = models.OrderBy(key="size", direction=rng.choice(["asc", "desc"]))
        pair.check(
            lambda c, f=condition, o=order: c.scroll(pair.name, scroll_filter=f, limit=9, order_by=o)[0],
            f"scroll by {order} {condition}",
        )


def everything(client, name):
    records, offset = client.scroll(name, limit=1000, with_vectors=True)
    assert offset is None
    return sorted(plain(records), key=lambda record: str(record["id"]))


def updates(pair):
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
    yield "upsert", lambda c: c.upsert(name, new)
    bare = models.PointStruct(id=2000, vector={}, payload={"a": 1})
    yield "a point without a vector", lambda c: c.upsert(name, [bare])
    operations = [
        models.UpsertOperation(upsert=models.PointsList(points=[a_point(rng, 3000), a_point(rng, 3002)])),
        models.SetPayloadOperation(set_payload=models.SetPayload(payload={"late": 1}, points=some[:2])),
        models.DeleteVectorsOperation(delete_vectors=models.DeleteVectors(points=some[:1], vector=["rare"])),
        models.ClearPayloadOperation(clear_payload=models.PointIdsList(points=some[7:])),
        models.DeleteOperation(delete=models.PointIdsList(points=some[6:7])),
    ]
    yield "a batch of updates", lambda c: c.batch_update_points(name, operations)
    yield "delete by filter", lambda c: c.delete(name, points_selector=models.FilterSelector(filter=red))


def test_every_kind_of_update_leaves_the_points_of_the_local_mode(pair):
    for what, call in updates(pair):
        pair.both(call)
        ours, theirs = pair.both(lambda c: everything(c, pair.name))
        assert same(ours, theirs), (
            f"after {what}: {[(a, b) for a, b in zip(ours, theirs, strict=False) if not same(a, b)]}"
        )
