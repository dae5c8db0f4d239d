"""jina-embeddings-v2 ("JinaBERT v2, QK-post-norm"): no remote code, no transformers.

What is unusual, for a reader who knows BERT:

- No position embeddings. ALiBi instead: head h adds -slope_h * |i - j| to its scores, so texts longer than
  those of the training (512 tokens) still work.
- Queries and keys each get a LayerNorm over the full width, after the projection, before the split in heads.
- Two residuals go to the same `h`: one inside `attention.output`, one more around it (`layer_norm_1`).
- The feed-forward is GEGLU: one matrix makes `up` and `gate` (in this order), up * gelu(gate) goes down. The
  GELU is the exact one (erf).

`auto_map` in its config points to code in another repository; it is never followed.
"""

from __future__ import annotations

from embedserve.models.architectures import bert
from embedserve.models.architectures.base import Architecture, Config, Layout, Part, require
from embedserve.models.encoder import Encoder

LAYOUT: Layout = {
    **{ours: theirs for ours, theirs in bert.LAYOUT.items() if ours != "positions"},
    "layers.{i}.q_norm": "encoder.layer.{i}.attention.self.layer_norm_q",
    "layers.{i}.k_norm": "encoder.layer.{i}.attention.self.layer_norm_k",
    "layers.{i}.second_norm": "encoder.layer.{i}.layer_norm_1",
    "layers.{i}.up": Part("encoder.layer.{i}.mlp.up_gated_layer", 0, 2),
    "layers.{i}.gate": Part("encoder.layer.{i}.mlp.up_gated_layer", 1, 2),
    "layers.{i}.down": "encoder.layer.{i}.mlp.down_layer",
    "layers.{i}.mlp_norm": "encoder.layer.{i}.layer_norm_2",
}


def read(config: Config) -> Encoder:
    require(config, feed_forward_type="geglu", hidden_act="gelu")
    return Encoder(
        layers=int(config["num_hidden_layers"]),
        width=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("layer_norm_eps", 1e-12)),
        activation="gelu",
        max_tokens=int(config.get("max_position_embeddings", 8192)),
        mlp_bias=False,
        gated=True,
        second_norm=True,
        qk_norm="width",
        types=int(config.get("type_vocab_size", 2)),
        alibi=True,
    )


JINA_BERT = Architecture(
    "jina_bert",
    "JinaBERT v2",
    matches=lambda c: c.get("position_embedding_type") == "alibi" and c.get("feed_forward_type") == "geglu",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("bert.",),
    unused=bert.UNUSED,
)
