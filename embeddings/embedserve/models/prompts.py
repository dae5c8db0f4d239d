"""The rules of a model that a request may name: which prompt is put before a text, and which dimension it is cut to.

A prompt is never guessed: it is put there when it was asked for (`input_type`, `prompt_name`, `title`, a model name
that ends in -query or -document) or configured (EMBEDDING_DEFAULT_PROMPT, the model's own `default_prompt_name`).

`input_type` has as many vocabularies as there are vendors. They all say which side of a search a text is on, so each
word is mapped to one: a model with such a side gets its prompt; for a model without one, the text stays as it is,
since that is what its makers trained. Knows no HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from embedserve.errors import InvalidRequest, SettingsError
from embedserve.models.spec import ModelSpec

QUERY, DOCUMENT = "query", "document"
# What OpenAI-compatible servers, Cohere, Voyage, Jina, NVIDIA and sentence-transformers call the two sides.
SIDES = {
    **dict.fromkeys(("query", "search_query", "retrieval.query", "retrieval_query", "question"), QUERY),
    **dict.fromkeys(("code.query", "nl2code.query", "code2code.query", "qa.query", "code_retrieval_query"), QUERY),
    **dict.fromkeys(("document", "passage", "search_document", "doc", "corpus"), DOCUMENT),
    **dict.fromkeys(("retrieval.passage", "retrieval.document", "retrieval_document"), DOCUMENT),
    **dict.fromkeys(("code.passage", "nl2code.passage", "code2code.passage", "qa.passage"), DOCUMENT),
}
# Tasks that are no side of a search: a model with a prompt of that name gets it, another gets the plain text.
TASKS = frozenset(
    ("classification", "clustering", "separation", "text-matching", "semantic_similarity", "similarity", "sts", "none")
)
NONE = "none"  # EMBEDDING_DEFAULT_PROMPT=none: not even the model's own default


def prefix(
    spec: ModelSpec,
    *,
    input_type: str | None = None,
    prompt_name: str | None = None,
    title: str | None = None,
    side: str = "",
) -> str:
    """The text to put before each input, "" for none.

    side: what the model's name said (`side_of`), "" for nothing. Raises InvalidRequest that names the field.
    """
    if prompt_name is not None and input_type is not None:
        raise InvalidRequest("give 'prompt_name' or 'input_type', not both", param="prompt_name")
    if prompt_name is not None:
        name = _by_name(spec, prompt_name)
    elif input_type is not None:
        name = _by_type(spec, input_type)
    else:
        name = spec.side_prompt(side) if side else spec.default_prompt if title is None else ""
    if title is not None:
        return _titled(spec, title, name)
    return spec.prompts.get(name, "")


def with_default(spec: ModelSpec, configured: str) -> ModelSpec:
    """The model with the default prompt that EMBEDDING_DEFAULT_PROMPT gives it: `NAME` for every model, `MODEL=NAME`
    for one, several joined by commas. Raises SettingsError for a name that is no side and no prompt of the model."""
    given = [prompt for model, prompt in _configured(configured) if not model or _is(spec, model)]
    name = given[-1] if given else ""
    if not name or spec.task == "score":  # a reranker's pairs have no prompts
        return spec
    if name.casefold() == NONE:
        return replace(spec, default_prompt="")
    if name in (QUERY, DOCUMENT) and name not in spec.prompts:
        return replace(spec, default_prompt=spec.side_prompt(name))
    if name not in spec.prompts:
        known = ", ".join(dict.fromkeys([*spec.prompts, QUERY, DOCUMENT, NONE]))
        raise SettingsError(
            f"EMBEDDING_DEFAULT_PROMPT: {spec.id} has no prompt '{name[:64]}'; give one of {known}, "
            f"or MODEL=NAME for one model only"
        )
    return replace(spec, default_prompt=name)


def refuse_strangers(specs: Sequence[ModelSpec], configured: str) -> None:
    """SettingsError for a model that EMBEDDING_DEFAULT_PROMPT names and that is none of these."""
    for model, _ in _configured(configured):
        if model and not any(_is(spec, model) for spec in specs):
            served = ", ".join(spec.id for spec in specs)
            raise SettingsError(f"EMBEDDING_DEFAULT_PROMPT names '{model[:64]}', which is not served; served: {served}")


def _configured(value: str) -> list[tuple[str, str]]:
    """(model or "", prompt) of each part of EMBEDDING_DEFAULT_PROMPT."""
    parts = [part.rpartition("=") for part in value.split(",") if part.strip()]
    return [(model.strip(), prompt.strip()) for model, _, prompt in parts]


def _is(spec: ModelSpec, name: str) -> bool:
    return name.casefold() in map(str.casefold, spec.names)


def dimension(spec: ModelSpec, wanted: int | None) -> int | None:
    """What to cut to, None for the full vector. Raises InvalidRequest that lists what is allowed."""
    if wanted is None or spec.allows(wanted):
        return wanted
    allowed = ", ".join(map(str, spec.dimensions))
    if spec.least_dimension:
        allowed = f"{spec.least_dimension} to {spec.dimension}"
    raise InvalidRequest(f"{spec.id} was not trained for {wanted} dimensions; allowed: {allowed}", param="dimensions")


def side_of(spec: ModelSpec, name: str) -> str | None:
    """ "" when `name` is the model, "query" or "document" when it is `<model>-query` or so, None when it is another.

    Ids are compared without case. Only a model with prompts has the two further names.
    """
    asked = name.casefold()
    for known in spec.names:
        known = known.casefold()
        if asked == known:
            return ""
        if spec.has_sides and asked.startswith(known):
            rest = asked[len(known) :]
            if rest in ("-query", "-document", "-passage"):
                return QUERY if rest == "-query" else DOCUMENT
    return None


def _by_name(spec: ModelSpec, name: str) -> str:
    found = next((known for known in spec.prompts if known.casefold() == name.casefold()), None)
    if found is None:
        known = ", ".join(spec.prompts) or "none: this model has no prompts"
        raise InvalidRequest(f"{spec.id} has no prompt '{name[:64]}'; known: {known}", param="prompt_name")
    return found


def _by_type(spec: ModelSpec, kind: str) -> str:
    asked = kind.casefold()
    found = next((known for known in spec.prompts if known.casefold() == asked), None)
    if found is not None:
        return found
    if asked in SIDES:
        return spec.side_prompt(SIDES[asked])
    if asked in TASKS:
        return ""
    known = ", ".join(dict.fromkeys(["query", "document", *spec.prompts]))
    raise InvalidRequest(
        f"'input_type' is '{kind[:64]}'; known for {spec.id}: {known} and their synonyms", param="input_type"
    )


def _titled(spec: ModelSpec, title: str, name: str) -> str:
    if not spec.title_prompt:
        raise InvalidRequest(f"{spec.id} takes no title", param="title")
    if name and name != spec.side_prompt(DOCUMENT):
        raise InvalidRequest("only a document has a title", param="title")
    return spec.title_prompt.replace("{title}", title.strip() or NONE)
