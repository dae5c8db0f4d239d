"""Law: whatever the shape of the input, the answer is the vector of each text alone, in order, with every token
counted, or one refusal that names the element. There is no answer to a part."""

import base64
import json

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedserve.backends.fake import FakeTokenizer
from support.live import fake_server

MOST = 6  # inputs in one request of this server
LIMIT = 512
TEXT = st.text(st.characters(exclude_categories=[]), max_size=12)  # lone surrogates, NUL and the rest of Unicode
WORD = st.text("ab \u00e9\U0001f600", min_size=1, max_size=8)
IDS = st.lists(st.integers(2, 257), max_size=6).map(lambda middle: [0, *middle, 1])
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 300), st.floats(), st.just(""), st.just(2**60), st.just({}), st.just([])
)
ELEMENT = st.one_of(WORD, TEXT, IDS, ODD, st.binary(max_size=9).map(lambda raw: base64.b64encode(raw).decode()))
TEXTS = st.one_of(
    TEXT,
    st.lists(WORD, max_size=MOST + 1),
    st.lists(TEXT, max_size=MOST),
    st.lists(ELEMENT, max_size=MOST),
    st.recursive(ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=2)),
)
INPUT = st.one_of(TEXTS, IDS, st.lists(IDS, max_size=MOST + 1), st.lists(st.lists(ODD, max_size=4), max_size=3))


@pytest.fixture(scope="module")
def server():
    with fake_server(max_inputs=MOST, rerank_model="fake-reranker") as live, httpx.Client(base_url=live.url) as http:
        live.http = http
        yield live


def sound(text):
    """As it is embedded: half an emoji is U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def is_text(value):
    return type(value) is str and value != ""


def is_row(value):
    """Token ids that can be this model's."""
    whole = type(value) is list and len(value) >= 2 and all(type(one) is int for one in value)
    return whole and all(0 <= one < 258 for one in value) and (value[0], value[-1]) == (0, 1)


def first_bad(values, good):
    return next((i for i, one in enumerate(values) if not good(one)), None)


def texts_of(value):
    """The texts that a field of texts holds; otherwise the place of what is wrong, or None where it is the whole."""
    values = [value] if type(value) is str else value
    if type(values) is not list or not values or len(values) > MOST:
        return None, None
    bad = first_bad(values, is_text)
    return (values, None) if bad is None else (None, bad)


def inputs_of(value):
    """OpenAI's `input`: texts, or rows of ids."""
    if type(value) is list and value and type(value[0]) is int:
        return ([value], None) if is_row(value) else (None, first_bad(value, lambda one: type(one) is int))
    if type(value) is list and value and type(value[0]) is list and len(value) <= MOST:
        bad = first_bad(value, is_row)
        return (value, None) if bad is None else (None, bad)
    return texts_of(value)


def ids_of(one):
    return np.array(one, dtype=np.int32) if type(one) is list else FakeTokenizer().encode([sound(one)], LIMIT)[0].ids


def alone(server, one):
    raw = server.backend.vector(ids_of(one)).astype(np.float64)
    return raw / np.linalg.norm(raw)


def send(server, path, body):
    content = json.dumps(body)  # NaN, Infinity and lone surrogates too, as careless clients write them
    return server.http.post(path, content=content, headers={"content-type": "application/json"}, timeout=60)


def judge(server, answer, expected, vectors_and_tokens):
    """`expected`: (inputs, None) or (None, the place of what is wrong)."""
    inputs, place = expected
    if inputs is None:
        assert answer.status_code == 400, answer.text
        assert place is None or str(place) in answer.text, (place, answer.text)
        return
    assert answer.status_code == 200, answer.text
    vectors, tokens = vectors_and_tokens(answer.json())
    assert len(vectors) == len(inputs)
    for got, one in zip(vectors, inputs, strict=True):
        np.testing.assert_allclose(got, alone(server, one), atol=1e-6)
    if tokens is not None:
        assert tokens == sum(len(ids_of(one)) for one in inputs)


def openai(answer):
    assert [one["index"] for one in answer["data"]] == list(range(len(answer["data"])))
    return [one["embedding"] for one in answer["data"]], answer["usage"]["total_tokens"]


def openai_base64(answer):
    read = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
    return read, answer["usage"]["prompt_tokens"]


def cohere(answer):
    return answer["embeddings"]["float"], answer["meta"]["billed_units"]["input_tokens"]


ROUTES = {
    "/v1/embeddings": (lambda v: {"input": v}, inputs_of, openai),
    "/openai/deployments/fake/embeddings": (
        lambda v: {"input": v, "encoding_format": "base64"},
        inputs_of,
        openai_base64,
    ),
    "/embed": (lambda v: {"inputs": v}, texts_of, lambda answer: (answer, None)),
    "/": (lambda v: {"inputs": v if type(v) is not dict else None}, None, lambda answer: (answer, None)),
    "/api/embed": (
        lambda v: {"model": "fake", "input": v},
        texts_of,
        lambda answer: (answer["embeddings"], answer["prompt_eval_count"]),
    ),
    "/v2/embed": (lambda v: {"texts": v}, texts_of, cohere),
    "/v1/embed": (lambda v: {"texts": v, "embedding_types": ["float"]}, texts_of, cohere),
}
MANY = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("path", ROUTES)
@MANY
@given(value=INPUT)
def test_every_shape_is_embedded_right_or_refused_by_place(server, path, value):
    body, understood, read = ROUTES[path]
    held = texts_of(value) if understood is None else understood(value)
    sent = body(value)
    if any(one != one or one in (float("inf"), float("-inf")) for one in _floats(sent)):
        held = (None, None)  # no JSON
    judge(server, send(server, path, sent), held, read)


def _floats(value):
    if isinstance(value, float):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _floats(item)


@MANY
@given(contents=st.lists(st.one_of(TEXT, WORD, ODD), max_size=MOST + 1), ids=st.lists(TEXT, max_size=MOST + 1))
def test_a_batch_of_chunks_is_whole_or_refused(server, contents, ids):
    chunks = [{"chunk_id": one, "content": content} for one, content in zip(ids, contents, strict=False)]
    answer = send(server, "/embed", {"batch_id": "b", "chunks": chunks})
    names = [sound(chunk["chunk_id"]) for chunk in chunks]
    bad = first_bad(chunks, lambda chunk: type(chunk["content"]) is str)
    if len(chunks) > MOST or bad is not None or len(set(names)) < len(names):
        assert answer.status_code == 400, answer.text
        return
    assert answer.status_code == 200, answer.text
    rows = answer.json()["vectors"]
    assert [row["chunk_id"] for row in rows] == names
    for row, chunk in zip(rows, chunks, strict=True):
        np.testing.assert_allclose(row["vector"], alone(server, chunk["content"]), atol=1e-6)


@MANY
@given(source=st.one_of(WORD, ODD), sentences=TEXTS)
def test_similarity_compares_with_every_sentence_or_refuses(server, source, sentences):
    sent = {"inputs": {"source_sentence": source, "sentences": sentences}}
    held, place = texts_of(sentences)
    wrong = held is None or not is_text(source) or any(one - one != 0 for one in _floats(sent))
    answer = send(server, "/similarity", sent)
    if wrong:
        assert answer.status_code == 400, answer.text
        assert place is None or not is_text(source) or str(place) in answer.text or list(_floats(sent))
        return
    assert answer.status_code == 200, answer.text
    own = alone(server, source)
    np.testing.assert_allclose(answer.json(), [own @ alone(server, one) for one in held], atol=1e-6)


@MANY
@given(query=st.one_of(WORD, ODD), documents=TEXTS)
def test_every_document_is_scored_once_or_all_are_refused(server, query, documents):
    sent = {"query": query, "documents": documents}
    held, place = texts_of(documents) if type(documents) is list else (None, None)
    if type(documents) is list and any(type(one) is dict for one in documents):
        held = None  # a document without a text
    answer = send(server, "/v1/rerank", sent)
    if held is None or not is_text(query) or any(one - one != 0 for one in _floats(sent)):
        assert answer.status_code == 400, answer.text
        return
    assert answer.status_code == 200, answer.text
    rows = answer.json()["results"]
    assert sorted(row["index"] for row in rows) == list(range(len(held)))
    scores = [row["relevance_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    by_text = {}
    for row in rows:
        assert by_text.setdefault(sound(held[row["index"]]), row["relevance_score"]) == row["relevance_score"]
    assert place is None
