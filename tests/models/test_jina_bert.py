"""The native jina implementation against an independent one in float64 NumPy, and its strict loading."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from random_jina import tensors
from safetensors.numpy import load_file, save_file

from embedserve.errors import CheckpointError
from embedserve.models import jina_bert
from embedserve.models.jina_bert import alibi_slopes
from embedserve.models.loading import load_encoder
from embedserve.models.pooling import mean_pool
from embedserve.models.sources import resolve
from embedserve.models.spec import ModelSource
from support import jina_numpy
from support.checkpoints import tiny_jina

LENGTHS = (1, 2, 3, 17, 64, 129, 512, 700, 2000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Width 192 in 12 heads: the real number of heads, which is no power of two."""
    return tiny_jina(tmp_path_factory.mktemp("jina"), layers=3, hidden=192, heads=12, intermediate=256)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    return load_encoder(source(folder), dtype)


def source(folder: Path) -> ModelSource:
    return resolve(str(folder), home=folder / "home")


def unit_vectors(encoder: torch.nn.Module, texts: list[np.ndarray], pad_id: int = 1) -> np.ndarray:
    """All texts in one padded batch."""
    length = max(map(len, texts))
    ids = torch.full((len(texts), length), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for i, text in enumerate(texts):
        ids[i, : len(text)] = torch.from_numpy(text)
        mask[i, : len(text)] = 1
    with torch.inference_mode():
        return torch.nn.functional.normalize(mean_pool(encoder(ids, mask), mask)).numpy()


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


@pytest.mark.parametrize("length", LENGTHS)
def test_a_text_alone_equals_the_numpy_implementation(folder, expected, length):
    ids, vector = expected[length]
    found = unit_vectors(load(folder), [ids])[0]
    assert np.abs(found - vector).max() < 1e-5


@pytest.mark.parametrize(("pad_id", "longest"), [(0, 129), (1, 2000), (7, 700)])
def test_texts_inside_a_padded_batch_equal_the_numpy_implementation(folder, expected, pad_id, longest):
    """Whatever stands in the padding: the mask comes from lengths, never from a pad id."""
    texts, vectors = up_to(expected, longest)
    assert np.abs(unit_vectors(load(folder), texts, pad_id) - vectors).max() < 1e-5


@pytest.mark.parametrize("way", ["at once", "in blocks"])
def test_the_ways_of_accelerators_and_traces_equal_the_numpy_implementation(folder, expected, monkeypatch, way):
    """Forced on the CPU, which takes texts one by one instead."""
    texts, vectors = up_to(expected, 700)

    def attend(self, mask, h):
        slopes = torch.tensor(alibi_slopes(12))
        if way == "in blocks":
            return jina_bert.attend_in_blocks(mask, slopes, 37)
        return jina_bert.attend_at_once(jina_bert.attention_bias(mask, slopes))

    monkeypatch.setattr(jina_bert.JinaBert, "_attend", attend)
    assert np.abs(unit_vectors(load(folder), texts) - vectors).max() < 1e-5


def test_the_bias_of_a_long_text_takes_no_memory():
    slopes = torch.tensor(alibi_slopes(12))
    bias = jina_bert.reversed_bias(8192, slopes)
    assert bias.shape == (1, 12, 8192, 8192)
    assert bias.untyped_storage().nbytes() < 1_000_000
    short = jina_bert.reversed_bias(50, slopes).flip(2)
    assert torch.equal(short, jina_bert.attention_bias(torch.ones(1, 50), slopes))


@pytest.mark.parametrize("mask", [[[0, 1, 1]], [[1, 0, 1]], [[0, 0, 0]]])
def test_padding_on_the_left_is_an_error_and_not_a_wrong_vector(folder, mask):
    with pytest.raises(ValueError, match="ones, then zeros"):
        load(folder)(torch.ones(1, 3, dtype=torch.int64), torch.tensor(mask))


@pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")
def test_a_trace_works_for_other_lengths_and_batch_sizes(folder, expected):
    """torch.jit.trace is what an OpenVINO conversion records."""
    encoder = load(folder)
    example = (torch.ones(2, 5, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64))
    traced = torch.jit.trace(encoder, example, check_trace=False)
    texts = [expected[n][0] for n in (17, 64, 129)]
    assert np.abs(unit_vectors(traced, texts) - unit_vectors(encoder, texts)).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_and_near(folder, expected, dtype):
    texts, vectors = up_to(expected, 129)
    found = unit_vectors(load(folder, dtype), texts)
    assert (found * vectors).sum(1).min() > 0.998


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
        load(broken)


def test_an_extra_tensor_is_an_error_that_names_it(folder, tmp_path):
    extra = {"embeddings.position_embeddings.weight": np.zeros((4, 192), np.float16)}
    broken = rewrite(folder, tmp_path / "m", lambda state: {**state, **extra})
    with pytest.raises(CheckpointError, match=r"does not have: embeddings\.position_embeddings\.weight"):
        load(broken)


def test_a_misshapen_tensor_is_an_error_with_both_shapes(folder, tmp_path):
    name = "encoder.layer.0.mlp.down_layer.bias"
    broken = rewrite(folder, tmp_path / "m", lambda state: {**state, name: np.zeros(191, np.float16)})
    with pytest.raises(CheckpointError, match=rf"{name} is \[191\], must be \[192\]"):
        load(broken)


def test_a_torn_weights_file_is_an_error(folder, tmp_path):
    broken = rewrite(folder, tmp_path / "m", lambda state: state)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="torn"):
        load(broken)


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
    original = rewrite(folder, tmp_path / "m", lambda state: state)
    state = load_file(original / "model.safetensors")
    torch.save({n: torch.from_numpy(t) for n, t in state.items()}, original / "pytorch_model.bin")
    (original / "model.safetensors").unlink()
    ids, vector = expected[64]
    assert np.abs(unit_vectors(load(original), [ids])[0] - vector).max() < 1e-5


def test_a_pickle_with_code_in_it_is_refused_and_not_run(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    broken = rewrite(folder, tmp_path / "m", lambda state: state)
    (broken / "model.safetensors").unlink()
    torch.save({"embeddings.LayerNorm.weight": Trap()}, broken / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load(broken)
    assert not (tmp_path / "ran").exists()


def test_auto_map_is_never_followed(folder):
    """The config of the original points at code in another repository; loading imports no transformers."""
    assert "auto_map" in json.loads((folder / "config.json").read_text())
    code = f"""
import sys
from pathlib import Path
from embedserve.models.loading import load_encoder
from embedserve.models.sources import resolve
load_encoder(resolve({str(folder)!r}, home=Path({str(folder / "home")!r})))
print("transformers" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_full_shape_has_the_published_number_of_parameters():
    config = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "vocab_size": 61056,
    }
    with torch.device("meta"):
        model = jina_bert.JinaBert(jina_bert.JinaBertConfig.from_dict(config))
    assert sum(p.numel() for p in model.parameters()) == 160_278_528
    small = {**config, "hidden_size": 24, "vocab_size": 10, "intermediate_size": 8, "type_vocab_size": 2}
    assert {*model.state_dict()} == {*tensors(small)}


@pytest.mark.slow
def test_8192_tokens_of_the_full_shape_fit_in_modest_memory(tmp_path):
    """Peak memory of the process, weights included; the ALiBi table of 8,192 alone would be 3.2 GB."""
    from random_jina import write_checkpoint

    folder = write_checkpoint(tmp_path / "full", files=20)
    code = f"""
import resource, torch
from pathlib import Path
from embedserve.models.loading import load_encoder
from embedserve.models.pooling import mean_pool
from embedserve.models.sources import resolve
encoder = load_encoder(resolve({str(folder)!r}, home=Path({str(tmp_path)!r})))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ids = torch.randint(5, 60000, (1, 8192)); mask = torch.ones_like(ids)
with torch.inference_mode():
    vector = mean_pool(encoder(ids, mask), mask)
assert vector.isfinite().all()
print(before // 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, peak = map(int, done.stdout.split())
    print(f"8,192 tokens: peak {peak} MiB, {loaded} MiB after loading")
    assert peak < 2048
