"""NomicBERT with its makers' config.json, in GPT-2's field names, as published: the same model as with transformers'
config, which the parity test holds against the library."""

import json
import shutil

import numpy as np
import pytest

from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from support.tiny_models import transformer

pytestmark = pytest.mark.filterwarnings("ignore")


def as_published(folder, target, **further):
    """A copy of transformers' tiny NomicBERT (it writes its makers' tensors) with their config."""
    config = json.loads((folder / "config.json").read_text())
    theirs = {
        "model_type": "nomic_bert",
        "n_embd": config["hidden_size"],
        "n_head": config["num_attention_heads"],
        "n_inner": config["intermediate_size"],
        "n_layer": config["num_hidden_layers"],
        "n_positions": config["max_position_embeddings"],
        "vocab_size": config["vocab_size"],
        "type_vocab_size": config["type_vocab_size"],
        "layer_norm_epsilon": config["layer_norm_eps"],
        "activation_function": "swiglu",
        "rotary_emb_base": config["rope_parameters"]["rope_theta"],
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "max_trained_positions": 2048,
        "prenorm": False,
        "causal": False,
        "qkv_proj_bias": False,
        "mlp_fc1_bias": False,
        "mlp_fc2_bias": False,
        "auto_map": {"AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel"},
        **further,
    }
    shutil.copytree(folder, target)
    (target / "config.json").write_text(json.dumps(theirs))
    return target


@pytest.mark.slow
def test_the_published_spelling_is_the_same_model(tmp_path):
    ours = transformer("nomic_bert", tmp_path / "transformers")
    theirs = as_published(ours, tmp_path / "makers")
    pick = np.random.default_rng(0)
    texts = [pick.integers(5, 100, n).astype(np.int32) for n in (3, 40, 200)]
    rows = [
        load_backend(resolve(str(folder), home=tmp_path), backend="openvino", precision="fp32", home=tmp_path).embed(
            texts
        )
        for folder in (ours, theirs)
    ]
    np.testing.assert_array_equal(*rows)


@pytest.mark.slow
def test_a_rotary_base_that_follows_the_length_of_a_batch_is_not_approximated_but_the_text_is_cut_before_it(tmp_path):
    ours = transformer("nomic_bert", tmp_path / "transformers")
    scaled = as_published(ours, tmp_path / "scaled", rotary_scaling_factor=2, max_trained_positions=64, n_positions=512)
    assert resolve(str(scaled), home=tmp_path).spec.max_tokens == 64
