"""Write a model of a real one's size with random weights: right shape, right speed, no meaning.

    python scripts/bench/random_model.py KIND DIR

KIND: bge-small, bge-base, nomic, modernbert-base, granite-small, embeddinggemma-300m, qwen3-0.6b, potion-code.

Written by transformers and sentence-transformers themselves (the dev extra), in the layout of the real model: its
modules, its pooling, its windows. The sizes are those of the published config.json files. The tokenizer is a byte-level
BPE of 30,000 tokens trained on the standard library, whatever the model's vocabulary: looking up costs nothing, and the
table has its full size. Hundreds of megabytes: a temporary folder, never the repository. Measured by

    embedserve bench --model DIR --precision bf16 --against st:bf16 --st-python .venv-st/bin/python
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from random_jina import SPECIAL, tokenizer

import embedserve  # noqa: F401  # first: libraries that report their users to their makers cannot after it

IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
MODERN = {**IDS, "cls_token_id": 0, "sep_token_id": 2}


def config(kind: str) -> tuple[Any, str, int]:
    """(transformers config, pooling, tokens of a text)."""
    import transformers as t

    if kind == "bge-base":
        return t.BertConfig(), "cls", 512
    if kind == "granite-small":
        small = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 12}
        return t.ModernBertConfig(**small, **MODERN), "cls", 8192
    if kind == "bge-small":
        return (
            t.BertConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536),
            "cls",
            512,
        )
    if kind == "nomic":
        return t.NomicBertConfig(vocab_size=30528, max_position_embeddings=8192), "mean", 8192
    if kind == "modernbert-base":
        return t.ModernBertConfig(**MODERN), "cls", 8192
    if kind == "embeddinggemma-300m":
        full = [(i + 1) % 6 == 0 for i in range(24)]
        return (
            t.Gemma3TextConfig(
                vocab_size=262144,
                num_hidden_layers=24,
                hidden_size=768,
                intermediate_size=1152,
                num_attention_heads=3,
                num_key_value_heads=1,
                head_dim=256,
                query_pre_attn_scalar=256,
                max_position_embeddings=2048,
                sliding_window=512,
                layer_types=["full_attention" if one else "sliding_attention" for one in full],
                use_bidirectional_attention=True,
                **IDS,
            ),
            "mean",
            2048,
        )
    return (
        t.Qwen3Config(
            vocab_size=151669,
            hidden_size=1024,
            intermediate_size=3072,
            num_hidden_layers=28,
            num_attention_heads=16,
            num_key_value_heads=8,
            head_dim=128,
            max_position_embeddings=32768,
            tie_word_embeddings=True,
            **IDS,
        ),
        "lasttoken",
        32768,
    )


def write(kind: str, folder: Path) -> Path:
    import torch
    import transformers as t
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    if kind == "potion-code":
        return write_table(folder / kind)
    made, pooling, limit = config(kind)
    torch.manual_seed(0)
    bare = folder / "bare"
    t.AutoModel.from_config(made).eval().save_pretrained(bare)
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    t.PreTrainedTokenizerFast(tokenizer_object=tokenizer(30_000), **names).save_pretrained(bare)
    first = Transformer(str(bare), max_seq_length=limit)
    width = first.get_embedding_dimension()
    modules: list[Any] = [first, Pooling(width, pooling)]
    if kind == "embeddinggemma-300m":
        identity = torch.nn.Identity()
        modules += [Dense(a, b, bias=False, activation_function=identity) for a, b in ((768, 3072), (3072, 768))]
    SentenceTransformer(modules=[*modules, Normalize()], device="cpu").save(str(folder / kind), create_model_card=False)
    return folder / kind


def write_table(folder: Path) -> Path:
    """A static model: 256 numbers for each token."""
    import numpy as np
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

    words = tokenizer(30_000)
    table = np.random.default_rng(0).standard_normal((words.get_vocab_size(), 256), dtype=np.float32)
    made = SentenceTransformer(modules=[StaticEmbedding(words, table), Normalize()], device="cpu")
    made.save(str(folder), create_model_card=False)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    berts = ("bge-small", "bge-base", "nomic", "modernbert-base", "granite-small")
    parser.add_argument("kind", choices=(*berts, "embeddinggemma-300m", "qwen3-0.6b", "potion-code"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    print(write(args.kind, args.folder))


if __name__ == "__main__":
    main()
