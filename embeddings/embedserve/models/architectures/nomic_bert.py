"""NomicBERT (Nussbaum et al. 2024): BERT with rotary positions and SwiGLU. nomic-embed-text-v1.5, CodeRankEmbed.

There are two spellings of it: the one of its makers (config of GPT-2's field names, fused Wqkv), which every published
checkpoint has, and transformers' own.
"""

from __future__ import annotations

from embedserve.models.architectures.base import (
    Architecture,
    Config,
    Layout,
    Part,
    Unsupported,
    activation,
    require,
    theta,
)
from embedserve.models.encoder import Encoder

OURS: Layout = {
    "tokens": "embeddings.word_embeddings",
    "types": "embeddings.token_type_embeddings",
    "embedding_norm": "emb_ln",
    "layers.{i}.q": Part("encoder.layers.{i}.attn.Wqkv", 0, 3),
    "layers.{i}.k": Part("encoder.layers.{i}.attn.Wqkv", 1, 3),
    "layers.{i}.v": Part("encoder.layers.{i}.attn.Wqkv", 2, 3),
    "layers.{i}.o": "encoder.layers.{i}.attn.out_proj",
    "layers.{i}.attention_norm": "encoder.layers.{i}.norm1",
    "layers.{i}.mlp_norm": "encoder.layers.{i}.norm2",
    "layers.{i}.up": "encoder.layers.{i}.mlp.fc11",
    "layers.{i}.gate": "encoder.layers.{i}.mlp.fc12",
    "layers.{i}.down": "encoder.layers.{i}.mlp.fc2",
}
TRANSFORMERS = {
    "tokens": "embeddings.word_embeddings",
    "types": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "layers.{i}.q": "layers.{i}.self_attn.q_proj",
    "layers.{i}.k": "layers.{i}.self_attn.k_proj",
    "layers.{i}.v": "layers.{i}.self_attn.v_proj",
    "layers.{i}.o": "layers.{i}.self_attn.o_proj",
    "layers.{i}.attention_norm": "layers.{i}.post_attention_layernorm",
    "layers.{i}.mlp_norm": "layers.{i}.post_mlp_layernorm",
    "layers.{i}.up": "layers.{i}.mlp.up_proj",
    "layers.{i}.gate": "layers.{i}.mlp.gate_proj",
    "layers.{i}.down": "layers.{i}.mlp.down_proj",
}


def read(config: Config) -> Encoder:
    makers = "n_embd" in config
    if makers:
        require(
            config,
            rotary_emb_fraction=1.0,
            rotary_emb_interleaved=False,
            rotary_emb_scale_base=None,
            prenorm=False,
            parallel_block=False,
            causal=False,
            use_rms_norm=False,
            num_experts=0,
        )
        if config.get("activation_function") != "swiglu":
            raise Unsupported(f"activation_function = {config.get('activation_function')!r} (only 'swiglu' is)")
    layers = int(config["n_layer" if makers else "num_hidden_layers"])
    width = int(config["n_embd" if makers else "hidden_size"])
    limit = int(config.get("n_positions" if makers else "max_position_embeddings", 2048))
    if makers and config.get("rotary_scaling_factor"):
        # Beyond the trained length the makers' code makes the rotary base follow the longest text of a batch: a vector
        # would depend on its neighbours. Up to it nothing is scaled.
        limit = min(limit, int(config.get("max_trained_positions") or 2048))
    base = float(config.get("rotary_emb_base", 10_000)) if makers else theta(config, "rope_theta", 1000.0)
    return Encoder(
        layers=layers,
        width=width,
        heads=int(config["n_head" if makers else "num_attention_heads"]),
        inner=int(config["n_inner" if makers else "intermediate_size"] or 4 * width),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("layer_norm_epsilon" if makers else "layer_norm_eps", 1e-12)),
        activation="silu" if makers else activation(config.get("hidden_act", "silu")),
        max_tokens=limit,
        attention_bias=bool(config.get("qkv_proj_bias", False)) if makers else False,
        mlp_bias=bool(config.get("mlp_fc1_bias", False)) if makers else False,
        down_bias=bool(config.get("mlp_fc2_bias", False)) if makers else False,
        gated=True,
        types=int(config.get("type_vocab_size", 2)),
        thetas=(base,) * layers,
    )


NOMIC_BERT = Architecture(
    "nomic_bert",
    "NomicBERT",
    matches=lambda c: c.get("model_type") == "nomic_bert",
    read=read,
    layouts=(OURS, TRANSFORMERS),
    prefixes=("bert.", "nomic_bert."),
    unused=("pooler.", "cls.", "lm_head."),
)
