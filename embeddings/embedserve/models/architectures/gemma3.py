"""Gemma 3 text (EmbeddingGemma): a decoder trained to look both ways. RMS norms of 1 + w around every part, grouped
queries, normalised queries and keys, rotary positions of two bases, five layers of six with a window.

float16 is refused: its activations overflow, and the vectors are NaN.
"""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Unsupported, activation, theta
from embedserve.models.encoder import Encoder

LAYOUT = {
    "tokens": "embed_tokens",
    "layers.{i}.q": "layers.{i}.self_attn.q_proj",
    "layers.{i}.k": "layers.{i}.self_attn.k_proj",
    "layers.{i}.v": "layers.{i}.self_attn.v_proj",
    "layers.{i}.o": "layers.{i}.self_attn.o_proj",
    "layers.{i}.q_norm": "layers.{i}.self_attn.q_norm",
    "layers.{i}.k_norm": "layers.{i}.self_attn.k_norm",
    "layers.{i}.attention_norm": "layers.{i}.input_layernorm",
    "layers.{i}.attention_out_norm": "layers.{i}.post_attention_layernorm",
    "layers.{i}.mlp_norm": "layers.{i}.pre_feedforward_layernorm",
    "layers.{i}.mlp_out_norm": "layers.{i}.post_feedforward_layernorm",
    "layers.{i}.up": "layers.{i}.mlp.up_proj",
    "layers.{i}.gate": "layers.{i}.mlp.gate_proj",
    "layers.{i}.down": "layers.{i}.mlp.down_proj",
    "final_norm": "norm",
}


def read(config: Config) -> Encoder:
    if config.get("attn_logit_softcapping"):
        raise Unsupported("attn_logit_softcapping")
    layers = int(config["num_hidden_layers"])
    every = int(config.get("_sliding_window_pattern", config.get("sliding_window_pattern", 6)))
    kinds = config.get("layer_types") or [
        "full_attention" if (i + 1) % every == 0 else "sliding_attention" for i in range(layers)
    ]
    both_ways = bool(config.get("use_bidirectional_attention", False))
    window = int(config["sliding_window"])
    # transformers keeps |i - j| < window / 2 + 1 both ways, and i - j < window looking back.
    nearest = window // 2 if both_ways else window - 1
    far = theta(config, "rope_theta", 1_000_000.0, "full_attention")
    near = theta({**config, "rope_scaling": None}, "rope_local_base_freq", 10_000.0, "sliding_attention")
    width = int(config["hidden_size"])
    bias = bool(config.get("attention_bias", False))
    return Encoder(
        layers=layers,
        width=width,
        heads=int(config["num_attention_heads"]),
        kv_heads=int(config["num_key_value_heads"]),
        head_width=int(config["head_dim"]),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("rms_norm_eps", 1e-6)),
        activation=activation(config.get("hidden_activation", "gelu_pytorch_tanh")),
        max_tokens=int(config.get("max_position_embeddings", 2048)),
        norm="rms",
        attention_bias=bias,
        mlp_bias=False,
        down_bias=False,
        gated=True,
        pre_norm=True,
        out_norms=True,
        final_norm=True,
        embedding_norm=False,
        qk_norm="head",
        scale=float(config.get("query_pre_attn_scalar", 256)) ** -0.5,
        one_plus=True,
        embedding_scale=width**0.5,
        causal=not both_ways,
        windows=tuple(nearest if kind == "sliding_attention" else None for kind in kinds),
        thetas=tuple(near if kind == "sliding_attention" else far for kind in kinds),
    )


GEMMA3 = Architecture(
    "gemma3_text",
    "Gemma 3 text",
    matches=lambda c: c.get("model_type") == "gemma3_text",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("model.",),
    unused=("lm_head.",),
    dtypes=("fp32", "bf16", "int8"),
    why_not="its activations overflow float16 and the vectors become NaN; take bf16 or fp32",
)
