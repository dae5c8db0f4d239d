"""ModernBERT (Warner et al. 2024): pre-norm, rotary, gated; two layers of three see a window of tokens only.

granite-embedding-r2 and gte-modernbert-base are ModernBERTs. The rotary base differs between global and local layers.
"""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Head, Layout, Part, activation, theta
from embedserve.models.encoder import Encoder

LAYOUT: Layout = {
    "tokens": "embeddings.tok_embeddings",
    "embedding_norm": "embeddings.norm",
    "layers.{i}.q": Part("layers.{i}.attn.Wqkv", 0, 3),
    "layers.{i}.k": Part("layers.{i}.attn.Wqkv", 1, 3),
    "layers.{i}.v": Part("layers.{i}.attn.Wqkv", 2, 3),
    "layers.{i}.o": "layers.{i}.attn.Wo",
    "layers.{i}.attention_norm": "layers.{i}.attn_norm",
    "layers.{i}.mlp_norm": "layers.{i}.mlp_norm",
    "layers.{i}.gate": Part("layers.{i}.mlp.Wi", 0, 2),  # the first half goes through the activation
    "layers.{i}.up": Part("layers.{i}.mlp.Wi", 1, 2),
    "layers.{i}.down": "layers.{i}.mlp.Wo",
    "final_norm": "final_norm",
}


def read(config: Config) -> Encoder:
    layers = int(config["num_hidden_layers"])
    every = int(config.get("global_attn_every_n_layers", 3))
    kinds = config.get("layer_types") or ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
    far = theta(config, "global_rope_theta", 160_000.0, "full_attention")
    near = theta({**config, "rope_scaling": None}, "local_rope_theta", 10_000.0, "sliding_attention")
    window = int(config.get("local_attention", 128)) // 2
    return Encoder(
        layers=layers,
        width=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("norm_eps", 1e-5)),
        activation=activation(config.get("hidden_activation", "gelu")),
        max_tokens=int(config.get("max_position_embeddings", 8192)),
        norm_bias=bool(config.get("norm_bias", False)),
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=bool(config.get("mlp_bias", False)),
        down_bias=bool(config.get("mlp_bias", False)),
        gated=True,
        pre_norm=True,
        first_norm=False,
        final_norm=True,
        windows=tuple(window if kind == "sliding_attention" else None for kind in kinds),
        thetas=tuple(near if kind == "sliding_attention" else far for kind in kinds),
    )


MODERNBERT = Architecture(
    "modernbert",
    "ModernBERT",
    matches=lambda c: c.get("model_type") == "modernbert",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("model.",),
    unused=("head.", "decoder."),
    heads=lambda c: Head(
        "classifier",
        dense="head.dense",
        activation=activation(c.get("classifier_activation", "gelu")),
        norm="head.norm",
        pooling=str(c.get("classifier_pooling", "cls")),
    ),
)
