"""A static model (a table of token vectors) in both of its layouts equals sentence-transformers' StaticEmbedding."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from embedserve.backends.select import load_backend
from embedserve.errors import SettingsError
from embedserve.models.sources import resolve
from embedserve.models.tokenizer import load_tokenizer
from support.tiny_models import TEXTS, fast_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore")


def ours(folder, home, texts=TEXTS):
    source = resolve(str(folder), home=home)
    ids = [e.ids for e in load_tokenizer(source).encode(texts)]
    rows = load_backend(source, home=home).embed(ids)
    return source, rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tokenizer():
    """One for both sides: training gives another order of equally frequent tokens each time."""
    return fast_tokenizer("bert")


def library(tokenizer, table):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, table)], device="cpu")


def test_the_sentence_transformers_layout(tokenizer, tmp_path):
    table = np.random.default_rng(0).standard_normal((len(tokenizer), 16), dtype=np.float32)
    library(tokenizer, table).save(str(tmp_path / "st"), create_model_card=False)
    source, found = ours(tmp_path / "st", tmp_path)
    wanted = library(tokenizer, table).encode(TEXTS, normalize_embeddings=True)
    assert (source.spec.architecture, source.spec.dimension) == ("static", 16)
    assert np.abs(found - wanted).max() < 1e-6


def test_model2vecs_layout_with_a_mapping_and_weights(tokenizer, tmp_path):
    size = len(tokenizer)
    pick = np.random.default_rng(1)
    rows = pick.standard_normal((40, 16), dtype=np.float32)
    mapping, weights = pick.integers(0, 40, size), pick.random(size, dtype=np.float32) + 0.1
    folder = tmp_path / "m2v"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    tokenizer._tokenizer.save(str(folder / "tokenizer.json"))
    save_file({"embeddings": rows, "mapping": mapping, "weights": weights}, folder / "model.safetensors")
    _, found = ours(folder, tmp_path)
    wanted = library(tokenizer, rows[mapping] * weights[:, None]).encode(TEXTS, normalize_embeddings=True)
    assert np.abs(found - wanted).max() < 1e-6
    with pytest.raises(SettingsError, match="static model"):
        load_backend(resolve(str(folder), home=tmp_path), precision="bf16", home=tmp_path)
