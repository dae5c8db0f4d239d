"""DistilBERT (Sanh et al. 2019): BERT without token types, with half the layers, and other names in its config."""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Head, activation, require
from embedserve.models.encoder import Encoder

LAYOUT = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "layers.{i}.q": "transformer.layer.{i}.attention.q_lin",
    "layers.{i}.k": "transformer.layer.{i}.attention.k_lin",
    "layers.{i}.v": "transformer.layer.{i}.attention.v_lin",
    "layers.{i}.o": "transformer.layer.{i}.attention.out_lin",
    "layers.{i}.attention_norm": "transformer.layer.{i}.sa_layer_norm",
    "layers.{i}.up": "transformer.layer.{i}.ffn.lin1",
    "layers.{i}.down": "transformer.layer.{i}.ffn.lin2",
    "layers.{i}.mlp_norm": "transformer.layer.{i}.output_layer_norm",
}


def read(config: Config) -> Encoder:
    require(config, sinusoidal_pos_embds=False)
    positions = int(config["max_position_embeddings"])
    return Encoder(
        layers=int(config["n_layers"]),
        width=int(config["dim"]),
        heads=int(config["n_heads"]),
        inner=int(config["hidden_dim"]),
        vocabulary=int(config["vocab_size"]),
        eps=1e-12,
        activation=activation(config.get("activation", "gelu")),
        max_tokens=positions,
        positions=positions,
    )


DISTILBERT = Architecture(
    "distilbert",
    "DistilBERT",
    matches=lambda c: c.get("model_type") == "distilbert",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("distilbert.",),
    unused=("vocab_transform.", "vocab_layer_norm.", "vocab_projector."),
    heads=lambda _: Head("classifier", dense="pre_classifier", activation="relu"),
)
