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


def model2vec(folder, tokenizer, config, **tensors):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer._tokenizer.save(str(folder / "tokenizer.json"))
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.mark.parametrize("max_length", [None, 20])
def test_model2vecs_newer_layout_has_no_model_type_leaves_unknown_tokens_out_and_cuts(tokenizer, tmp_path, max_length):
    """What model2vec 0.10's StaticModel.encode does. Compared with it by hand on a float32 table: 1e-7 apart."""
    table = np.random.default_rng(2).standard_normal((len(tokenizer), 16), dtype=np.float32)
    config = {"normalize": True, "embedding_dtype": "float16", **({"max_length": max_length} if max_length else {})}
    folder = model2vec(tmp_path / "m2v", tokenizer, config, embeddings=table.astype(np.float16))
    texts = ["def add(a, b): ☃ return ☃ a", *TEXTS]
    source, found = ours(folder, tmp_path, texts)
    assert source.spec.max_tokens == (max_length or 512)
    unknown, rows = tokenizer.unk_token_id, table.astype(np.float16).astype(np.float32)
    wanted = []
    for text in texts:
        ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"][: source.spec.max_tokens])
        wanted.append(rows[ids[ids != unknown]].mean(axis=0))
    assert unknown in tokenizer(texts[0])["input_ids"]
    assert np.abs(found - np.array(wanted) / np.linalg.norm(wanted, axis=1, keepdims=True)).max() < 1e-6


def test_a_text_of_unknown_tokens_only_still_has_a_unit_vector(tokenizer, tmp_path):
    table = np.random.default_rng(3).standard_normal((len(tokenizer), 16), dtype=np.float32)
    folder = model2vec(tmp_path / "m2v", tokenizer, {"normalize": True}, embeddings=table)
    _, found = ours(folder, tmp_path, ["☃", ""])
    assert np.isfinite(found).all()


def test_model2vecs_layout_with_a_mapping_and_weights(tokenizer, tmp_path):
    size = len(tokenizer)
    pick = np.random.default_rng(1)
    rows = pick.standard_normal((40, 16), dtype=np.float32)
    mapping, weights = pick.integers(0, 40, size), pick.random(size, dtype=np.float32) + 0.1
    config = {"model_type": "model2vec", "normalize": True}
    folder = model2vec(tmp_path / "m2v", tokenizer, config, embeddings=rows, mapping=mapping, weights=weights)
    texts = [text[:500] for text in TEXTS]  # under 512 tokens, where model2vec cuts and the library does not
    _, found = ours(folder, tmp_path, texts)
    wanted = library(tokenizer, rows[mapping] * weights[:, None]).encode(texts, normalize_embeddings=True)
    assert np.abs(found - wanted).max() < 1e-6
    with pytest.raises(SettingsError, match="static model"):
        load_backend(resolve(str(folder), home=tmp_path), precision="bf16", home=tmp_path)
