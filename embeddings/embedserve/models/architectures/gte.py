"""GTE v1.5 / multilingual ("new" model): BERT with rotary positions and a gated feed-forward. gte-multilingual-base.

Two spellings again: the makers' (model_type `new`, fused qkv and up/gate) and transformers' own (`gte`).
"""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Head, Layout, Part, activation, require, theta
from embedserve.models.architectures.nomic_bert import TRANSFORMERS
from embedserve.models.encoder import Encoder

OURS: Layout = {
    "tokens": "embeddings.word_embeddings",
    "types": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "layers.{i}.q": Part("encoder.layer.{i}.attention.qkv_proj", 0, 3),
    "layers.{i}.k": Part("encoder.layer.{i}.attention.qkv_proj", 1, 3),
    "layers.{i}.v": Part("encoder.layer.{i}.attention.qkv_proj", 2, 3),
    "layers.{i}.o": "encoder.layer.{i}.attention.o_proj",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attn_ln",
    "layers.{i}.mlp_norm": "encoder.layer.{i}.mlp_ln",
    "layers.{i}.up": Part("encoder.layer.{i}.mlp.up_gate_proj", 0, 2),
    "layers.{i}.gate": Part("encoder.layer.{i}.mlp.up_gate_proj", 1, 2),
    "layers.{i}.down": "encoder.layer.{i}.mlp.down_proj",
}


def read(config: Config) -> Encoder:
    layers = int(config["num_hidden_layers"])
    require(config, layer_norm_type="layer_norm", logn_attention_scale=False, position_embedding_type="rope")
    return Encoder(
        layers=layers,
        width=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("layer_norm_eps", 1e-12)),
        activation=activation(config.get("hidden_act", "gelu")),
        max_tokens=int(config.get("max_position_embeddings", 8192)),
        mlp_bias=False,
        gated=True,
        types=int(config.get("type_vocab_size", 1)),
        thetas=(theta(config, "rope_theta", 160_000.0),) * layers,
    )


GTE = Architecture(
    "gte",
    "GTE (new)",
    matches=lambda c: c.get("model_type") in ("gte", "new"),
    read=read,
    layouts=(OURS, TRANSFORMERS),
    prefixes=("new.", "gte."),
    unused=("pooler.", "lm_head.", "classifier."),
    heads=lambda _: Head("classifier", dense="pooler.dense"),
)
