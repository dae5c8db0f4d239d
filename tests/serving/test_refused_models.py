"""Models that a backend could compute and the engine would answer wrongly are refused at load, by name."""

import pytest

from embedserve.errors import SetupError
from embedserve.models import sources
from embedserve.models.spec import ModelSource, ModelSpec
from embedserve.models.steps import Pool
from embedserve.serving.loading import load
from embedserve.settings import Settings

SPEC = ModelSpec(id="tiny", architecture="bert", dimension=8, max_tokens=16)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ModelSpec(**{**vars(SPEC), "task": "score"}), "cross-encoder"),
        (ModelSpec(**{**vars(SPEC), "steps": (Pool(("mean",), include_prompt=False),)}), "include_prompt"),
    ],
)
def test_a_model_that_would_be_answered_wrongly_is_refused(spec, words, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "resolve", lambda name, home: ModelSource(spec, tmp_path, "folder", "0"))
    with pytest.raises(SetupError, match=words):
        load("tiny", Settings(home=tmp_path))
