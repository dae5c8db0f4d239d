"""Qwen3 (Qwen3-Embedding): a causal decoder, grouped queries, normalised queries and keys. The last token is pooled."""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Unsupported, activation, theta
from embedserve.models.architectures.gemma3 import LAYOUT as GEMMA
from embedserve.models.encoder import Encoder

LAYOUT = {
    **{ours: theirs for ours, theirs in GEMMA.items() if "out_norm" not in ours},
    "layers.{i}.mlp_norm": "layers.{i}.post_attention_layernorm",
}


def read(config: Config) -> Encoder:
    if config.get("use_sliding_window") or "sliding_attention" in (config.get("layer_types") or ()):
        raise Unsupported("use_sliding_window")
    layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    return Encoder(
        layers=layers,
        width=int(config["hidden_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_width=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("rms_norm_eps", 1e-6)),
        activation=activation(config.get("hidden_act", "silu")),
        max_tokens=int(config.get("max_position_embeddings", 32768)),
        norm="rms",
        attention_bias=bool(config.get("attention_bias", False)),
        mlp_bias=False,
        down_bias=False,
        gated=True,
        pre_norm=True,
        final_norm=True,
        embedding_norm=False,
        qk_norm="head",
        causal=True,
        thetas=(theta(config, "rope_theta", 10_000.0),) * layers,
    )


QWEN3 = Architecture(
    "qwen3",
    "Qwen3",
    matches=lambda c: c.get("model_type") == "qwen3",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("model.",),
    unused=("lm_head.",),
)
