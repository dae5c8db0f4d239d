"""Under which names a model answers, however a client writes one. No I/O here."""

from __future__ import annotations

from embedserve.models.prompts import side_of
from embedserve.models.spec import ModelSpec

_VENDOR = "openai/"  # as litellm's users write it
_TAG = ":latest"  # Ollama's default tag


def bare(name: str) -> str:
    """The name without `openai/` in front and `:latest` behind; case is no matter to `side_of`."""
    name = name.strip()
    if name[: len(_VENDOR)].lower() == _VENDOR:
        name = name[len(_VENDOR) :]
    return name[: -len(_TAG)] if name.lower().endswith(_TAG) else name


def answers_to(spec: ModelSpec, name: str) -> bool:
    """Whether `name` is the model's id, an alias, its hub id, or one of these with a side (`<model>-query`)."""
    return side(spec, name) is not None


def side(spec: ModelSpec, name: str) -> str | None:
    """ "" when `name` is the model, "query" or "document" when it says the side too, None when it is another model."""
    return side_of(spec, bare(name))
