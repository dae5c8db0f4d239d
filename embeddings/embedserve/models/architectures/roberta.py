"""RoBERTa and XLM-RoBERTa: BERT whose positions begin after the padding id. multilingual-e5, bge-m3, unixcoder."""

from __future__ import annotations

from embedserve.models.architectures import bert
from embedserve.models.architectures.base import Architecture, Config, Head
from embedserve.models.encoder import Encoder


def read(config: Config) -> Encoder:
    """transformers gives position pad_token_id + 1 to the first token."""
    return bert.read({"type_vocab_size": 2, **config}, first_position=int(config.get("pad_token_id", 1)) + 1)


ROBERTA = Architecture(
    "roberta",
    "RoBERTa / XLM-RoBERTa",
    matches=lambda c: c.get("model_type") in ("roberta", "xlm-roberta", "camembert"),
    read=read,
    layouts=(bert.LAYOUT,),
    prefixes=("roberta.", "camembert."),
    unused=bert.UNUSED,
    heads=lambda _: Head("classifier.out_proj", dense="classifier.dense"),
)
