"""`embedserve doctor --model`: weights on this machine against their makers' values, without a server."""

from dataclasses import replace

import numpy as np
import pytest

from embedserve.doctor import _guarded, check_weights
from embedserve.models.catalog import EMBEDDINGGEMMA, JINA_CODE_V2, MINILM
from embedserve.models.sources import resolve
from embedserve.models.spec import Published, Ranking
from embedserve.serving.published import differences
from embedserve.settings import Settings
from support.checkpoints import minilm, tiny_jina
from support.tiny_models import sentence_transformer


def test_the_real_minilm_has_its_published_values(tmp_path):
    (found,) = differences(minilm(tmp_path))
    assert found.holds
    assert found.apart < 1e-4
    [line] = check_weights(Settings(model="all-MiniLM-L6-v2", home=tmp_path))
    assert line.status == "pass"
    assert "first 5 values of 'hello world': 0.0000" in line.message
    assert not (tmp_path / "artefacts").exists()


@pytest.mark.parametrize("published", [JINA_CODE_V2, EMBEDDINGGEMMA, MINILM], ids=lambda spec: spec.id)
def test_other_weights_differ_in_every_published_thing(published, tmp_path):
    source = resolve(str(tiny_jina(tmp_path / "jina")), home=tmp_path)
    spec = replace(source.spec, published=published.published, rankings=published.rankings)
    found = differences(replace(source, spec=spec))
    assert len(found) == len(published.published) + len(published.rankings)
    assert not any(one.holds for one in found)


def test_a_published_ranking_of_gemmas_kind_holds_where_the_library_gives_it(tmp_path):
    """The values of a tiny Gemma by sentence-transformers stand for the published ones of the real one."""
    model = sentence_transformer("gemma3_text", tmp_path)
    query, documents = (
        "task: search result | query: add",
        ("title: none | text: def add(a, b)", "title: none | text: x"),
    )
    rows = model.encode([query, *documents], normalize_embeddings=True)
    spec = resolve(str(tmp_path / "st"), home=tmp_path).spec
    cosines = tuple(float(cosine) for cosine in rows[1:] @ rows[0])
    spec = replace(
        spec,
        published=(Published(query, tuple(float(value) for value in rows[0][:5])),),
        rankings=(Ranking(query, documents, cosines),),
    )
    source = replace(resolve(str(tmp_path / "st"), home=tmp_path), spec=spec)
    assert [(one.holds, one.apart < 1e-5) for one in differences(source)] == [(True, True), (True, True)]
    wrong = replace(spec, rankings=(Ranking(query, documents, (cosines[0] + 0.01, cosines[1])),))
    assert not differences(replace(source, spec=wrong))[1].holds


def test_a_vector_that_is_not_finite_is_a_failure(tmp_path, monkeypatch):
    source = resolve(str(tiny_jina(tmp_path / "jina")), home=tmp_path)
    assert differences(source)[0].holds
    monkeypatch.setattr("embedserve.backends.numpy_ops.embed", lambda *_: np.full((1, 32), np.nan))
    assert not differences(source)[0].holds


def test_weights_that_are_not_the_published_files_fail_in_words(tmp_path):
    own = tmp_path / "models" / "all-MiniLM-L6-v2"
    tiny_jina(own)

    [line] = _guarded("weights", lambda: check_weights(Settings(model="all-MiniLM-L6-v2", home=tmp_path)))
    assert line.status == "fail"
    assert "is not the published all-MiniLM-L6-v2" in line.message
