"""The catalog: every entry can be loaded and says what a person must know; the rules of prompts and dimensions."""

import re

import pytest

from embedserve.errors import InvalidRequest
from embedserve.models import prompts, static
from embedserve.models.architectures import ALL
from embedserve.models.catalog import CATALOG, EMBEDDINGGEMMA, QWEN3_EMBEDDING, find

ASKED_FOR = {
    "jina-code-v2": 768,
    "all-MiniLM-L6-v2": 384,
    "embeddinggemma-300m": 768,
    "CodeRankEmbed": 768,
    "granite-embedding-english-r2": 768,
    "granite-embedding-small-english-r2": 384,
    "gte-modernbert-base": 768,
    "bge-small-en-v1.5": 384,
    "bge-base-en-v1.5": 768,
    "nomic-embed-text-v1.5": 768,
    "Qwen3-Embedding-0.6B": 1024,
    "potion-code-16M-v2": 256,
    "potion-code-16M": 256,
}
by_id = pytest.mark.parametrize("spec", CATALOG, ids=lambda spec: spec.id)


def test_the_models_that_people_ask_for_are_known_with_their_dimensions():
    assert {spec.id: spec.dimension for spec in CATALOG if spec.task == "embed"} == ASKED_FOR


@by_id
def test_an_entry_has_an_architecture_that_can_be_loaded(spec):
    assert spec.architecture in {known.name for known in ALL} | {static.ARCHITECTURE}
    assert set(spec.dtypes) <= {"fp32", "bf16", "fp16", "int8"}


@by_id
def test_an_entry_says_what_it_is_good_for_what_may_be_done_with_it_and_how_much_is_downloaded(spec):
    assert spec.good_for
    assert spec.license
    assert spec.size_bytes > 1_000_000 or spec.task == "score"
    assert spec.hub_id
    assert spec.revision is None or re.fullmatch(r"[0-9a-f]{40}", spec.revision)


@by_id
def test_a_model_that_is_cut_has_its_full_dimension_first_and_its_prompts_end_where_the_text_begins(spec):
    if spec.matryoshka:
        assert list(spec.matryoshka) == sorted(spec.matryoshka, reverse=True)
        assert spec.matryoshka[0] == spec.dimension
    assert all(prompt.endswith((": ", "\nQuery:")) for prompt in spec.prompts.values())


def test_no_two_entries_answer_to_one_name():
    names = [name.casefold() for spec in CATALOG for name in spec.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("asked", "prefix"),
    [
        ({}, ""),
        ({"input_type": "query"}, "task: search result | query: "),
        ({"side": "query"}, "task: search result | query: "),
        ({"input_type": "document"}, "title: none | text: "),
        ({"input_type": "document", "title": "Adding"}, "title: Adding | text: "),
        ({"prompt_name": "code-retrieval"}, "task: code retrieval | query: "),
        ({"input_type": "classification"}, "task: classification | query: "),
    ],
)
def test_gemmas_prompts_are_added_when_asked_for_and_only_then(asked, prefix):
    assert prompts.prefix(EMBEDDINGGEMMA, **asked) == prefix


@pytest.mark.parametrize(
    ("name", "side", "prefix"),
    [
        ("CodeRankEmbed", "query", "Represent this query for searching relevant code: "),
        ("CodeRankEmbed", "document", ""),
        ("nomic-embed-text-v1.5", "query", "search_query: "),
        ("nomic-embed-text-v1.5", "document", "search_document: "),
        ("bge-small-en-v1.5", "query", "Represent this sentence for searching relevant passages: "),
        ("gte-modernbert-base", "query", ""),
    ],
)
def test_a_side_is_the_models_own_prompt(name, side, prefix):
    assert prompts.prefix(find(name), input_type=side) == prefix


def test_gemmas_dimensions_are_those_it_was_trained_for():
    assert [prompts.dimension(EMBEDDINGGEMMA, n) for n in (768, 512, 256, 128)] == [768, 512, 256, 128]
    with pytest.raises(InvalidRequest, match="384 dimensions; allowed: 768, 512, 256, 128"):
        prompts.dimension(EMBEDDINGGEMMA, 384)


def test_a_model_that_allows_a_range_of_dimensions_allows_each_of_them_and_no_other():
    assert [prompts.dimension(QWEN3_EMBEDDING, n) for n in (1024, 384, 33, 32)] == [1024, 384, 33, 32]
    for wrong in (31, 1025):
        with pytest.raises(InvalidRequest, match="allowed: 32 to 1024"):
            prompts.dimension(QWEN3_EMBEDDING, wrong)


def test_gemma_is_never_run_in_float16():
    assert "fp16" not in EMBEDDINGGEMMA.dtypes


def test_its_sides_are_names_for_clients_that_choose_nothing_else():
    assert find("embeddinggemma-300m-query") is EMBEDDINGGEMMA
    assert prompts.side_of(EMBEDDINGGEMMA, "EmbeddingGemma-document") == "document"
