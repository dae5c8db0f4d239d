"""MPNet (Song et al. 2020): BERT with a learned bias for the distance of two tokens. all-mpnet-base-v2."""

from __future__ import annotations

from embedserve.models.architectures import bert
from embedserve.models.architectures.base import Architecture, Config, Head, require
from embedserve.models.encoder import Encoder

LAYOUT = {
    "tokens": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "embedding_norm": "embeddings.LayerNorm",
    "buckets": "encoder.relative_attention_bias",
    **bert.LAYER,
    "layers.{i}.q": "encoder.layer.{i}.attention.attn.q",
    "layers.{i}.k": "encoder.layer.{i}.attention.attn.k",
    "layers.{i}.v": "encoder.layer.{i}.attention.attn.v",
    "layers.{i}.o": "encoder.layer.{i}.attention.attn.o",
    "layers.{i}.attention_norm": "encoder.layer.{i}.attention.LayerNorm",
}
BUCKETS = 32  # transformers uses as many whatever the config says


def read(config: Config) -> Encoder:
    from dataclasses import replace

    require(config, relative_attention_num_buckets=BUCKETS)
    # The padding id is 1 whatever the config says, so the first token has position 2.
    found = bert.read({**config, "type_vocab_size": 0}, first_position=2)
    return replace(found, types=0, buckets=BUCKETS)


MPNET = Architecture(
    "mpnet",
    "MPNet",
    matches=lambda c: c.get("model_type") == "mpnet",
    read=read,
    layouts=(LAYOUT,),
    prefixes=("mpnet.",),
    unused=("pooler.", "lm_head."),
    heads=lambda _: Head("classifier.out_proj", dense="classifier.dense"),
)
