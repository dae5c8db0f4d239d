"""Token ids are Hugging Face's, also for text that is very long, broken or hostile; and no torch is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from embedserve.errors import CheckpointError
from embedserve.models import tokenizer as module
from embedserve.models.sources import resolve
from embedserve.models.spec import ModelSource
from embedserve.models.tokenizer import Tokenizer, load_tokenizer
from support.checkpoints import minilm, tiny_jina
from support.memory import forget_peak, peak_mib
from support.texts import varied_texts


@pytest.fixture(scope="module", params=["jina", "minilm"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    home = tmp_path_factory.mktemp("home")
    if request.param == "minilm":
        return minilm(home)
    return resolve(str(tiny_jina(home / "tiny", vocab=2000, files=20)), home=home)


@pytest.fixture(scope="module")
def tokenizer(source: ModelSource) -> Tokenizer:
    return load_tokenizer(source)


@pytest.fixture(scope="module")
def reference(source: ModelSource) -> tokenizers.Tokenizer:
    """The library itself, with nothing cut."""
    plain = tokenizers.Tokenizer.from_file(str(source.folder / "tokenizer.json"))
    plain.no_truncation()
    plain.no_padding()
    return plain


def long_text() -> str:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-d]*.py"))
    return "\n".join(f.read_text(encoding="utf-8", errors="replace") for f in files)


def test_ids_equal_the_library_with_its_right_truncation(tokenizer, reference):
    texts = varied_texts(200)
    for limit in (3, 16, 64, 256):
        reference.enable_truncation(limit)
        wanted = [e.ids for e in reference.encode_batch(texts)]
        reference.no_truncation()
        assert [e.ids.tolist() for e in tokenizer.encode(texts, limit)] == wanted


def test_the_length_counts_every_token_before_the_cut(tokenizer, reference):
    text = "one two three " * 50
    (encoding,) = tokenizer.encode([text], 16)
    assert (len(encoding.ids), encoding.length) == (16, len(reference.encode(text).ids))
    assert encoding.truncated
    assert encoding.exact


def test_without_a_limit_the_models_own_is_used(tokenizer, source):
    (encoding,) = tokenizer.encode(["word " * 20_000])
    assert len(encoding.ids) == source.spec.max_tokens == tokenizer.max_tokens


def test_empty_and_white_space_texts_have_their_special_tokens(tokenizer):
    for encoding in tokenizer.encode(["", "   ", "\n\t"]):
        assert len(encoding.ids) >= 2


def test_a_long_text_encoded_in_pieces_has_the_ids_of_the_whole(tokenizer, reference):
    text = long_text()
    assert len(text) > 4 * module.PIECE
    (encoding,) = tokenizer.encode([text], 10_000_000)
    assert encoding.ids.tolist() == reference.encode(text).ids
    assert encoding.exact


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab1 \n\t_.é世🙂'"), min_size=100, max_size=400))
def test_pieces_join_without_a_seam_wherever_they_are_cut(tokenizer, reference, text):
    """With pieces of 20 characters instead of 65,536; texts that have a place to cut in each."""
    boundary = "x y"
    text = boundary.join(text[i : i + 10] for i in range(0, len(text), 10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", 20)
        (encoding,) = tokenizer.encode([text], 10_000)
    assert encoding.ids.tolist() == reference.encode(text).ids


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_few_texts_need_no_other_thread_and_have_the_ids_of_a_batch(tokenizer, texts):
    """A search's text is encoded where it is asked for: on a busy machine the library's threads wait for a core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ALONE", -1)
        wanted = [e.ids.tolist() for e in tokenizer.encode(texts)]
    rust = Mock(wraps=tokenizer._rust)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "_rust", rust)
        assert [e.ids.tolist() for e in tokenizer.encode(texts)] == wanted
    assert not rust.encode_batch_fast.called


@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
@pytest.mark.parametrize("unit", ["a b ", *(pytest.param(unit, marks=pytest.mark.slow) for unit in ("a", "世", "🙂"))])
def test_a_text_of_32_mib_neither_takes_long_nor_much_memory(tokenizer, unit):
    """The library alone would keep hundreds of bytes for each of millions of tokens."""
    text = unit * (32 * 1024 * 1024 // len(unit.encode()))
    before = forget_peak()
    (encoding,) = tokenizer.encode([text])
    grown = peak_mib() - before
    assert len(encoding.ids) <= tokenizer.max_tokens
    assert encoding.length >= len(encoding.ids)
    print(f"grown by {grown} MiB")
    assert grown < 400


def test_a_lone_surrogate_becomes_the_replacement_character(tokenizer):
    """A JavaScript client that cuts text by UTF-16 units sends half an emoji."""
    broken, mended, fine = tokenizer.encode(["half \ud83d emoji", "half \ufffd emoji", "fine"])
    assert broken.ids.tolist() == mended.ids.tolist()
    assert fine.length > 2


def test_many_threads_get_the_same_ids(tokenizer):
    texts = varied_texts(100)
    wanted = [e.ids.tolist() for e in tokenizer.encode(texts)]
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda limit: tokenizer.encode(texts, limit), [None, 16] * 8):
            assert all(f.ids.tolist() == w for f, w in zip(found, wanted, strict=True) if len(w) <= 16)


def test_order_is_kept_when_a_batch_is_cut_into_calls(tokenizer, monkeypatch):
    monkeypatch.setattr(module, "CALL", 100)
    texts = [f"text number {i} " * (i % 7 + 1) for i in range(200)]
    one_by_one = [tokenizer.encode([t])[0].ids.tolist() for t in texts]
    assert [e.ids.tolist() for e in tokenizer.encode(texts)] == one_by_one


def test_ids_are_int32(tokenizer):
    assert tokenizer.encode(["a"])[0].ids.dtype == np.int32


def test_a_tokenizer_larger_than_the_embedding_table_is_refused(source, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((source.folder / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    with pytest.raises(CheckpointError, match="outside the model's 1000 embeddings"):
        load_tokenizer(ModelSource(source.spec, tmp_path, "folder", "r"))


def test_finding_and_tokenising_import_neither_torch_nor_transformers():
    """`serve` with an optimised artefact must not pay for them."""
    code = """
import sys
import embedserve.models.catalog, embedserve.models.sources, embedserve.models.spec, embedserve.models.tokenizer
import embedserve.models.hub, embedserve.models.folder, embedserve.models.package
print([m for m in ("torch", "transformers", "huggingface_hub", "httpx", "openvino") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tokens_are_transformers_with_places_in_the_text_and_decode_to_it(tmp_path):
    from transformers import AutoTokenizer

    source = minilm(tmp_path)
    ours, theirs = load_tokenizer(source), AutoTokenizer.from_pretrained(source.folder)
    text = "def Añadir(a, b): return a + b  # ☃"
    tokens = ours.tokens(text)
    assert [one.id for one in tokens] == theirs(text)["input_ids"]
    assert [one.special for one in tokens] == [True, *[False] * (len(tokens) - 2), True]
    assert all(one.text == text[one.start : one.stop] for one in tokens[1:-1])
    assert [one.id for one in ours.tokens(text, special=False)] == theirs(text, add_special_tokens=False)["input_ids"]
    ids = [one.id for one in tokens]
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert ours.decode(ids, skip_special=False).startswith("[CLS]")
