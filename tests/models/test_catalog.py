"""EmbeddingGemma as the catalog knows it: its prompts, titles, dimensions and names."""

import pytest

from embedserve.errors import InvalidRequest
from embedserve.models import prompts
from embedserve.models.architectures import ALL
from embedserve.models.catalog import CATALOG, EMBEDDINGGEMMA, find


def test_every_entry_has_an_architecture_that_can_be_loaded():
    assert {spec.architecture for spec in CATALOG} <= {known.name for known in ALL}


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


def test_gemmas_dimensions_are_those_it_was_trained_for():
    assert [prompts.dimension(EMBEDDINGGEMMA, n) for n in (768, 512, 256, 128)] == [768, 512, 256, 128]
    with pytest.raises(InvalidRequest, match="384 dimensions; allowed: 768, 512, 256, 128"):
        prompts.dimension(EMBEDDINGGEMMA, 384)


def test_gemma_is_never_run_in_float16():
    assert "fp16" not in EMBEDDINGGEMMA.dtypes


def test_its_sides_are_names_for_clients_that_choose_nothing_else():
    assert find("embeddinggemma-300m-query") is EMBEDDINGGEMMA
    assert prompts.side_of(EMBEDDINGGEMMA, "EmbeddingGemma-document") == "document"
