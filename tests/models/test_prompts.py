"""A prompt is there when it was asked for, by any vendor's word for it, and never otherwise."""

import pytest

from embedserve.errors import InvalidRequest, SettingsError
from embedserve.models.prompts import SIDES, dimension, prefix, refuse_strangers, side_of, with_default
from embedserve.models.spec import ModelSpec

PLAIN = ModelSpec("plain", "bert", 8, 64)
SIDED = ModelSpec(
    "sided",
    "bert",
    8,
    64,
    aliases=("org/Sided",),
    prompts={"query": "q: ", "document": "title: none | text: ", "Clustering": "c: "},
    title_prompt="title: {title} | text: ",
    matryoshka=(8, 4),
)
ONE_SIDED = ModelSpec("one", "bert", 8, 64, prompts={"query": "code: "})


def test_nothing_is_added_that_was_not_asked_for():
    assert prefix(SIDED) == prefix(PLAIN) == ""


@pytest.mark.parametrize(("word", "side"), SIDES.items())
def test_each_vendors_word_for_a_side_is_that_side_and_a_side_that_is_not_there_is_the_plain_text(word, side):
    assert prefix(SIDED, input_type=word) == SIDED.prompts[side]
    assert prefix(PLAIN, input_type=word) == ""
    assert prefix(ONE_SIDED, input_type=word) == ("code: " if side == "query" else "")


def test_a_task_is_the_prompt_of_that_name_without_case_or_the_plain_text():
    assert prefix(SIDED, input_type="clustering") == "c: "
    assert prefix(PLAIN, input_type="clustering") == ""
    assert prefix(SIDED, prompt_name="clustering") == "c: "


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"input_type": "poem"}, "input_type"),
        ({"prompt_name": "poem"}, "prompt_name"),
        ({"prompt_name": "query", "input_type": "query"}, "prompt_name"),
        ({"title": "x", "input_type": "query"}, "title"),
    ],
)
def test_what_is_not_understood_is_refused_by_the_name_of_its_field(arguments, field):
    with pytest.raises(InvalidRequest) as refusal:
        prefix(SIDED, **arguments)
    assert refusal.value.param == field


def test_a_title_is_part_of_a_documents_prompt():
    assert prefix(SIDED, title="Venus") == "title: Venus | text: "
    assert prefix(SIDED, title=" ", input_type="passage") == "title: none | text: "
    with pytest.raises(InvalidRequest):
        prefix(PLAIN, title="Venus")


def test_a_default_is_a_prompts_name_and_none_switches_the_models_own_off():
    own = ModelSpec("own", "bert", 8, 64, prompts={"query": "q: ", "x": "x: "}, default_prompt="x")
    assert prefix(own) == "x: "
    assert prefix(with_default(own, "none")) == ""
    assert prefix(with_default(own, "query")) == "q: "
    assert prefix(with_default(own, "query"), input_type="document") == ""
    assert prefix(with_default(PLAIN, "query")) == ""


def test_a_default_can_be_given_for_each_model():
    assert prefix(with_default(SIDED, "query,plain=none")) == "q: "
    assert prefix(with_default(SIDED, "none, Sided = query")) == "q: "
    assert prefix(with_default(SIDED, "org/sided=document")) == "title: none | text: "
    assert prefix(with_default(SIDED, "other=query")) == ""


def test_a_reranker_beside_is_not_asked_for_the_prompt():
    reranker = ModelSpec("pairs", "bert", 1, 64, task="score")
    assert with_default(reranker, "Clustering") == reranker


def test_a_misspelt_default_is_refused_with_what_there_is():
    with pytest.raises(SettingsError, match="sided has no prompt 'qurey'; give one of query, document"):
        with_default(SIDED, "qurey")
    with pytest.raises(SettingsError, match="names 'siddd', which is not served; served: sided, plain"):
        refuse_strangers([SIDED, PLAIN], "siddd=query")
    refuse_strangers([SIDED, PLAIN], "org/sided=query,none")


def test_a_model_with_sides_answers_to_two_more_names():
    assert side_of(SIDED, "SIDED") == ""
    assert side_of(SIDED, "org/sided-Query") == "query"
    assert side_of(SIDED, "sided-passage") == side_of(SIDED, "sided-document") == "document"
    assert side_of(SIDED, "sided-other") is None
    assert side_of(PLAIN, "plain-query") is None
    assert prefix(SIDED, side="document") == "title: none | text: "
    assert prefix(SIDED, side="document", input_type="query") == "q: "


def test_only_dimensions_that_the_model_was_trained_for_are_allowed():
    assert dimension(SIDED, None) is None
    assert dimension(SIDED, 4) == 4
    with pytest.raises(InvalidRequest, match="allowed: 8, 4"):
        dimension(SIDED, 5)
