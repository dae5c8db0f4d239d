"""Tiny random checkpoints of every architecture, written by transformers and sentence-transformers themselves.

Two or more layers, width 32 to 64, a few hundred tokens; weights drawn wide enough that every part of the model
moves the vector (with the libraries' usual 0.02 a wrong mask would not show).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

TEXTS = [
    "def add(a, b):\n    return a + b",
    "x",
    "select name from users where age > 30 order by name",
    "class Node:\n    def __init__(self, value, left=None, right=None):\n        self.value = value\n" * 3,
    "for (let i = 0; i < items.length; i++) { total += items[i].price * items[i].count; }",
    "import os",
    "the quick brown fox jumps over the lazy dog " * 30,  # beyond every window and limit here
]

BASE = {"num_hidden_layers": 3, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 80}
LIMIT = 160  # position table of the models that have one


def config(kind: str, vocab: int) -> Any:
    """A transformers config of this architecture."""
    import transformers as t

    alike = {**BASE, "vocab_size": vocab, "max_position_embeddings": LIMIT}
    if kind == "bert":
        return t.BertConfig(**alike)
    if kind in ("roberta", "xlm-roberta"):
        cls = t.RobertaConfig if kind == "roberta" else t.XLMRobertaConfig
        return cls(**{**alike, "max_position_embeddings": LIMIT + 2}, type_vocab_size=1, pad_token_id=1)
    if kind == "distilbert":
        return t.DistilBertConfig(
            vocab_size=vocab, max_position_embeddings=LIMIT, n_layers=3, dim=48, n_heads=4, hidden_dim=80
        )
    if kind == "mpnet":
        return t.MPNetConfig(**{**alike, "max_position_embeddings": LIMIT + 2})
    if kind == "modernbert":
        return t.ModernBertConfig(
            **{**alike, "num_hidden_layers": 4, "max_position_embeddings": 512},
            local_attention=16,
            pad_token_id=1,
            bos_token_id=0,
            cls_token_id=0,
            eos_token_id=2,
            sep_token_id=2,
        )
    if kind == "nomic_bert":
        return t.NomicBertConfig(**{**alike, "max_position_embeddings": 512})
    if kind == "gte":
        return t.GteConfig(**{**alike, "max_position_embeddings": 512}, type_vocab_size=1)
    if kind == "gemma3_text":
        return t.Gemma3TextConfig(
            vocab_size=vocab,
            num_hidden_layers=4,
            hidden_size=48,
            intermediate_size=64,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=16,
            max_position_embeddings=512,
            sliding_window=16,
            layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            use_bidirectional_attention=True,
        )
    if kind == "qwen3":
        return t.Qwen3Config(
            **{**alike, "max_position_embeddings": 512}, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True
        )
    raise ValueError(kind)


def fast_tokenizer(kind: str) -> Any:
    """WordPiece for the BERTs, byte-level BPE for the others, of one and two letters of TEXTS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if kind in ("bert", "distilbert", "mpnet", "nomic_bert"):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        # Not trained: the trainer learns other pieces at each run, so the same weights would be another model.
        normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
        words = {word for text in TEXTS for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
        learnt = {word[at : at + size] for word in words for size in (1, 2) for at in range(len(word))}
        pieces = [*special, *sorted(learnt | {f"##{piece}" for piece in learnt})]
        raw = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
        raw.normalizer, raw.pre_tokenizer = normalizer, splitter
        raw.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        raw = Tokenizer(models.BPE(unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, show_progress=False, initial_alphabet=alphabet
        )
        raw.train_from_iterator(TEXTS, trainer)
        single, pair = "<s> $A </s>", "<s> $A </s> </s> $B </s>"
        if kind == "qwen3":
            single, pair = "$A </s>", "$A $B </s>"
        raw.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[("<s>", 0), ("</s>", 2)]
        )
        names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    left = {"padding_side": "left"} if kind == "qwen3" else {}
    return PreTrainedTokenizerFast(tokenizer_object=raw, **names, **left)


def widen(model: Any, seed: int) -> None:
    """Random weights of a trained model's size: matrices so that activations keep their scale, norms around 1."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.dim() == 2:
                p.copy_(noise * (0.6 if "embed" in name else 1.3 / p.shape[1] ** 0.5))
            else:
                centre = 0.0 if name.endswith("bias") or "Gemma" in type(model).__name__ else 1.0
                p.copy_(centre + 0.1 * noise)


def transformer(kind: str, folder: Path, seed: int = 0) -> Path:
    """A bare transformers folder: config.json, model.safetensors, tokenizer.json."""
    import transformers as t

    tokenizer = fast_tokenizer(kind)
    made = config(kind, len(tokenizer))
    model = t.AutoModel.from_config(made)
    widen(model, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence_transformer(
    kind: str, folder: Path, pooling: Any = "mean", *, extra: tuple[Any, ...] = (), **options: Any
) -> Any:
    """A sentence-transformers model of this architecture, saved to `folder` and loaded again by the library."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    bare = transformer(kind, folder / "bare")
    limit = options.pop("max_seq_length", LIMIT)  # below the positions of some, so that every kind cuts a text
    include_prompt = options.pop("include_prompt", True)
    lower = options.pop("do_lower_case", False)
    first = Transformer(str(bare), max_seq_length=limit, do_lower_case=lower)
    width = first.get_embedding_dimension()
    modules = [first, Pooling(width, pooling, include_prompt=include_prompt), *extra]
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    with contextlib.suppress(OSError):
        model.save(str(folder / "st"), create_model_card=False)
    return SentenceTransformer(str(folder / "st"), device="cpu")


CLASSES = {
    "bert": "BertForSequenceClassification",
    "roberta": "RobertaForSequenceClassification",
    "xlm-roberta": "XLMRobertaForSequenceClassification",
    "distilbert": "DistilBertForSequenceClassification",
    "mpnet": "MPNetForSequenceClassification",
    "modernbert": "ModernBertForSequenceClassification",
    "gte": "GteForSequenceClassification",
}


def cross_encoder(kind: str, folder: Path, labels: int = 1, activation: str = "", typed: bool = False) -> Any:
    """A CrossEncoder of this architecture, saved to `folder` and loaded again by the library. activation: a class of
    torch.nn; the library's own choice where it is empty."""
    import torch
    import transformers as t
    from sentence_transformers import CrossEncoder

    tokenizer = fast_tokenizer(kind)
    if typed:  # a BertTokenizer gives token types, the generic class does not
        tokenizer = t.BertTokenizerFast(tokenizer_object=tokenizer._tokenizer)
    made = config(kind, len(tokenizer))
    made.num_labels = labels
    model = getattr(t, CLASSES[kind])(made)
    widen(model, 1)
    model.eval().save_pretrained(folder / "bare")
    tokenizer.save_pretrained(folder / "bare")
    chosen = getattr(torch.nn, activation)() if activation else None
    made_encoder = CrossEncoder(str(folder / "bare"), device="cpu", activation_fn=chosen)
    made_encoder.save(str(folder / "ce"), create_model_card=False)
    return CrossEncoder(str(folder / "ce"), device="cpu")
