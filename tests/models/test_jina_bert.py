"""The native jina implementation against an independent one in float64 NumPy, and its strict loading."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embedserve.backends.select import load_backend
from embedserve.errors import CheckpointError
from embedserve.models.architectures import jina_bert
from embedserve.models.encoder import alibi_slopes, shapes
from embedserve.models.graph import load_parameters
from embedserve.models.sources import resolve
from embedserve.models.spec import ModelSource
from support import jina_numpy
from support.checkpoints import tiny_jina

pytestmark = pytest.mark.usefixtures("converted_here")

LENGTHS = (1, 2, 3, 17, 64, 129, 512, 700, 2000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Width 192 in 12 heads: the real number of heads, which is no power of two."""
    return tiny_jina(tmp_path_factory.mktemp("jina"), layers=3, hidden=192, heads=12, intermediate=256)


def load(folder: Path, backend: str = "torch", precision: str = "fp32"):
    return load_backend(source(folder), backend=backend, precision=precision, home=folder / "home")


def source(folder: Path) -> ModelSource:
    return resolve(str(folder), home=folder / "home")


def unit_vectors(backend, texts: list[np.ndarray]) -> np.ndarray:
    """All texts in one batch."""
    rows = backend.embed([np.asarray(text, dtype=np.int32) for text in texts])
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """length -> (ids, unit vector of the NumPy implementation)."""
    config = json.loads((folder / "config.json").read_text())
    state = load_file(folder / "model.safetensors")
    rng = np.random.default_rng(1)
    texts = {n: rng.integers(0, config["vocab_size"], n) for n in LENGTHS}
    return {n: (ids, jina_numpy.embed(config, state, ids)) for n, ids in texts.items()}


def up_to(expected, longest: int) -> tuple[list[np.ndarray], np.ndarray]:
    chosen = [pair for length, pair in expected.items() if length <= longest]
    return [ids for ids, _ in chosen], np.stack([vector for _, vector in chosen])


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_text_alone_equals_the_numpy_implementation(folder, expected, backend):
    loaded = load(folder, backend)
    for length in LENGTHS:
        ids, vector = expected[length]
        assert np.abs(unit_vectors(loaded, [ids])[0] - vector).max() < 1e-5, length


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("longest", [129, 700, 2000])
def test_texts_inside_a_mixed_batch_equal_the_numpy_implementation(folder, expected, backend, longest):
    texts, vectors = up_to(expected, longest)
    assert np.abs(unit_vectors(load(folder, backend), texts) - vectors).max() < 1e-5


def test_attention_in_blocks_of_queries_equals_the_numpy_implementation(folder, expected, monkeypatch):
    """As an accelerator does it where the bias of a long text would be too large at once."""
    from embedserve.backends import torch_ops

    monkeypatch.setitem(torch_ops.MASK_BYTES, "cpu", 37 * 12 * 700 * 4 * 8)
    texts, vectors = up_to(expected, 700)
    assert np.abs(unit_vectors(load(folder), texts) - vectors).max() < 1e-5


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_finite_and_near(folder, expected, precision):
    from embedserve.backends.torch_backend import TorchBackend

    texts, vectors = up_to(expected, 129)
    backend = TorchBackend(source(folder), precision=precision, device="cpu", threads=2, why="")
    assert (unit_vectors(backend, texts) * vectors).sum(1).min() > 0.998


def test_the_slopes_of_twelve_heads_are_the_published_ones():
    assert alibi_slopes(12) == pytest.approx([2.0**-k for k in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])
    assert alibi_slopes(12) == pytest.approx(jina_numpy.slopes(12))


def rewrite(folder: Path, into: Path, change) -> Path:
    """A copy of the checkpoint with changed tensors."""
    into.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (into / name).write_bytes((folder / name).read_bytes())
    state = load_file(folder / "model.safetensors")
    save_file(change(state) or state, into / "model.safetensors")
    return into


def test_a_missing_tensor_is_an_error_that_names_it(folder, tmp_path):
    """The old service loaded a plain BERT with random parts: wrong vectors and no error."""
    name = "encoder.layer.1.attention.self.layer_norm_q.weight"
    broken = rewrite(folder, tmp_path / "m", lambda state: state.pop(name) is None)
    with pytest.raises(CheckpointError, match=rf"missing tensors: {name}"):
        load_parameters(source(broken))


def test_an_extra_tensor_is_an_error_that_names_it(folder, tmp_path):
    extra = {"embeddings.position_embeddings.weight": np.zeros((4, 192), np.float16)}
    broken = rewrite(folder, tmp_path / "m", lambda state: {**state, **extra})
    with pytest.raises(CheckpointError, match=r"does not have: embeddings\.position_embeddings\.weight"):
        load_parameters(source(broken))


def test_a_misshapen_tensor_is_an_error_with_both_shapes(folder, tmp_path):
    name = "encoder.layer.0.mlp.down_layer.bias"
    broken = rewrite(folder, tmp_path / "m", lambda state: {**state, name: np.zeros(191, np.float16)})
    with pytest.raises(CheckpointError, match=rf"{name} is \[191\], must be \[192\]"):
        load_parameters(source(broken))


def test_a_torn_weights_file_is_an_error(folder, tmp_path):
    broken = rewrite(folder, tmp_path / "m", lambda state: state)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="torn"):
        load_parameters(source(broken))


def test_a_prefix_pooler_and_mlm_head_are_accepted(folder, tmp_path, expected):
    heads = {
        "bert.pooler.dense.weight": np.zeros((192, 192), np.float16),
        "cls.predictions.bias": np.zeros(400, np.float16),
    }

    def change(state):
        return {**{f"bert.{name}": tensor for name, tensor in state.items()}, **heads}

    ids, vector = expected[64]
    found = unit_vectors(load(rewrite(folder, tmp_path / "m", change)), [ids])[0]
    assert np.abs(found - vector).max() < 1e-5


def test_the_original_pytorch_bin_is_loaded(folder, tmp_path, expected):
    import torch

    original = rewrite(folder, tmp_path / "m", lambda state: state)
    state = load_file(original / "model.safetensors")
    torch.save({n: torch.from_numpy(t) for n, t in state.items()}, original / "pytorch_model.bin")
    (original / "model.safetensors").unlink()
    ids, vector = expected[64]
    assert np.abs(unit_vectors(load(original), [ids])[0] - vector).max() < 1e-5


def test_a_pickle_with_code_in_it_is_refused_and_not_run(folder, tmp_path):
    import torch

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    broken = rewrite(folder, tmp_path / "m", lambda state: state)
    (broken / "model.safetensors").unlink()
    torch.save({"embeddings.LayerNorm.weight": Trap()}, broken / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load_parameters(source(broken))
    assert not (tmp_path / "ran").exists()


def test_auto_map_is_never_followed(folder):
    """The config of the original points at code in another repository; loading imports no transformers."""
    assert "auto_map" in json.loads((folder / "config.json").read_text())
    code = f"""
import sys
from pathlib import Path
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
home = Path({str(folder / "home")!r})
load_backend(resolve({str(folder)!r}, home=home), backend="openvino", precision="fp32", home=home)
print([name for name in ("torch", "transformers") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_full_shape_has_the_published_number_of_parameters():
    config = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 61056,
    }
    found = shapes(jina_bert.JINA_BERT.read(config))
    assert sum(int(np.prod(shape)) for shape in found.values()) == 160_278_528


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")
def test_8192_tokens_of_the_full_shape_fit_in_modest_memory(tmp_path):
    """Peak memory of the process, weights included; the ALiBi table of 8,192 alone would be 3.2 GB. Two layers of the
    twelve, as one follows the other in the same memory: the others' weights are taken off the bound."""
    from random_jina import write_checkpoint

    folder = write_checkpoint(tmp_path / "full", files=20, layers=2)
    layer = (4 * 768 * 768 + 3 * 768 * 3072) * 4 // 2**20  # MiB: attention, the gated products, float32
    code = f"""
import numpy as np
from pathlib import Path
from support.memory import peak_mib
from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
home = Path({str(tmp_path)!r})
backend = load_backend(resolve({str(folder)!r}, home=home), backend="torch", precision="fp32", home=home)
before = peak_mib()
vector = backend.embed([np.random.default_rng(0).integers(5, 60000, 8192).astype(np.int32)])
assert np.isfinite(vector).all()
print(before, peak_mib())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # `support`
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded, peak = map(int, done.stdout.split())
    print(f"8,192 tokens: peak {peak} MiB, {loaded} MiB after loading")
    assert peak < 2048 - 10 * layer
