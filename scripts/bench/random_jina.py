"""Write a jina-embeddings-v2-base-code checkpoint with random weights: right shape, right speed, no meaning.

    python scripts/bench/random_jina.py DIR [--layers 12 --hidden 768 --heads 12 --intermediate 3072]

For measuring and testing where the real weights cannot be had. The folder has the config.json fields and
tensor names of the original, fp16 safetensors, and a RoBERTa-style byte-level BPE tokenizer trained on the
Python standard library, padded with unused tokens to the vocabulary's size. Seeded: the same weights every
time. The tests make their tiny ones with `write_checkpoint`, too. Activations stay in a trained model's
range: attention is neither flat nor one-hot, and the LayerNorms' weights vary.
"""

from __future__ import annotations

import argparse
import json
import sysconfig
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def config(layers: int, hidden: int, heads: int, intermediate: int, vocab: int) -> dict[str, object]:
    """The original's config.json, with other sizes."""
    return {
        "_name_or_path": "jinaai/jina-bert-v2-qk-post-norm",
        "architectures": ["JinaBertForMaskedLM"],
        "attention_probs_dropout_prob": 0.0,
        "auto_map": {
            "AutoConfig": "jinaai/jina-bert-v2-qk-post-norm--configuration_bert.JinaBertConfig",
            "AutoModel": "jinaai/jina-bert-v2-qk-post-norm--modeling_bert.JinaBertModel",
        },
        "classifier_dropout": None,
        "emb_pooler": "mean",
        "feed_forward_type": "geglu",
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": hidden,
        "initializer_range": 0.02,
        "intermediate_size": intermediate,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 8192,
        "model_type": "bert",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "position_embedding_type": "alibi",
        "torch_dtype": "float16",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": vocab,
    }


def tensors(cfg: dict[str, object], seed: int = 0) -> dict[str, np.ndarray]:
    """Random float16 tensors with the original's names and shapes."""
    rng = np.random.default_rng(seed)
    d, inner, vocab = int(cfg["hidden_size"]), int(cfg["intermediate_size"]), int(cfg["vocab_size"])
    state: dict[str, np.ndarray] = {}

    def normal(name: str, *shape: int, std: float = 0.0) -> None:
        std = std or shape[-1] ** -0.5  # keeps the variance of a normalised input
        state[name] = (rng.standard_normal(shape, dtype=np.float32) * std).astype(np.float16)

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        normal(f"{name}.weight", out, into)
        if bias:
            normal(f"{name}.bias", out, std=0.05)

    def norm(name: str) -> None:
        state[f"{name}.weight"] = rng.uniform(0.7, 1.3, d).astype(np.float16)
        normal(f"{name}.bias", d, std=0.05)

    normal("embeddings.word_embeddings.weight", vocab, d, std=0.5)
    normal("embeddings.token_type_embeddings.weight", int(cfg["type_vocab_size"]), d, std=0.1)
    norm("embeddings.LayerNorm")
    for i in range(int(cfg["num_hidden_layers"])):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.self.{part}", d, d)
        norm(f"{layer}.attention.self.layer_norm_q")
        norm(f"{layer}.attention.self.layer_norm_k")
        linear(f"{layer}.attention.output.dense", d, d)
        norm(f"{layer}.attention.output.LayerNorm")
        norm(f"{layer}.layer_norm_1")
        linear(f"{layer}.mlp.up_gated_layer", 2 * inner, d, bias=False)
        linear(f"{layer}.mlp.down_layer", d, inner)
        norm(f"{layer}.layer_norm_2")
    return state


def tokenizer(vocab: int, files: int | None = None) -> Tokenizer:
    """A byte-level BPE with the original's special tokens, trained on the standard library's sources."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*/*.py" if files is None else "[a-z]*.py"))
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in sources[:files])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    data = json.loads(made.to_str())
    ids = data["model"]["vocab"]
    for i in range(len(ids), vocab):  # tokens that no text reaches, so that the embedding has its full size
        ids[f"<unused_{i}>"] = i
    made = Tokenizer.from_str(json.dumps(data))
    made.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    return made


def write_checkpoint(
    folder: Path,
    *,
    layers: int = 12,
    hidden: int = 768,
    heads: int = 12,
    intermediate: int = 3072,
    vocab: int = 61056,
    seed: int = 0,
    files: int | None = None,
) -> Path:
    """The whole folder. `files`: train the tokenizer on so many files only (tests)."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = config(layers, hidden, heads, intermediate, vocab)
    (folder / "config.json").write_text(json.dumps(cfg, indent=2) + "\n")
    tokenizer(vocab, files).save(str(folder / "tokenizer.json"))
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL, strict=True))
    more = {
        "tokenizer_config.json": {
            "tokenizer_class": "RobertaTokenizerFast",
            "model_max_length": 8192,
            **names,
        },
        "special_tokens_map.json": names,
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 8192, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": hidden,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
    }
    (folder / "1_Pooling").mkdir(exist_ok=True)
    for name, content in more.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    save_file(tensors(cfg, seed), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name, default in (
        ("layers", 12),
        ("hidden", 768),
        ("heads", 12),
        ("intermediate", 3072),
        ("vocab", 61056),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = vars(parser.parse_args())
    folder = write_checkpoint(args.pop("folder"), **args)
    print(f"{folder}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file()) / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
