"""BERT (Devlin et al. 2018): post-norm, learned absolute positions. MiniLM, bge, e5, gte-base, mxbai are BERTs."""

from __future__ import annotations

from embedserve.models.architectures.base import Architecture, Config, Head, activation, require
from embedserve.models.encoder import Encoder

LAYER = {
    "layers.{i}.q": "encoder.layer.{i}.attention.self.query",
    "layers.{i}.k": "encoder.layer.{i}.attention.self.key",
    "layers.{i}.v": "encoder.layer.{i}.attention.self.value",
    "layers.{i}.o": "encoder.layer.{i}.attention.output.dense",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attention.output.LayerNorm",
    "layers.{i}.up": "encoder.layer.{i}.intermediate.dense",
    "layers.{i}.down": "encoder.layer.{i}.output.dense",
    "layers.{i}.mlp_norm": "encoder.layer.{i}.output.LayerNorm",
}
LAYOUT = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    **LAYER,
}
UNUSED = ("pooler.", "cls.predictions.", "cls.seq_relationship.", "lm_head.")


def read(config: Config, first_position: int = 0) -> Encoder:
    require(config, is_decoder=False, add_cross_attention=False, position_embedding_type="absolute")
    positions = int(config["max_position_embeddings"])
    return Encoder(
        layers=int(config["num_hidden_layers"]),
        width=int(config["hidden_size"]),
        heads=int(config["num_attention_heads"]),
        inner=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        eps=float(config.get("layer_norm_eps", 1e-12)),
        activation=activation(config.get("hidden_act", "gelu")),
        max_tokens=positions - first_position,
        positions=positions,
        first_position=first_position,
        types=int(config.get("type_vocab_size", 2)),
    )


BERT = Architecture(
    "bert",
    "BERT",
    matches=lambda c: c.get("model_type") == "bert" and c.get("position_embedding_type", "absolute") == "absolute",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("bert.",),
    unused=UNUSED,
    heads=lambda _: Head("classifier", dense="pooler.dense"),
)
