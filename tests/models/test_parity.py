"""Each architecture, on checkpoints that the real libraries wrote, equals sentence-transformers (support/parity.py)."""

import numpy as np
import pytest

from embedserve.backends.select import load_backend
from embedserve.models.sources import resolve
from embedserve.models.tokenizer import load_tokenizer
from support.parity import BF16, CASES, FP32, INT8, OTHERS, cell, columns, reference, unit
from support.tiny_models import CLASSES, TEXTS, cross_encoder, sentence_transformer

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("converted_here")]


# One of each family of graphs; the rest is `slow`.
FIRST = {("bert", "mean"), ("modernbert", "cls"), ("gemma3_text", "mean"), ("qwen3", "lasttoken")}


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [pytest.param(*case, marks=[] if case in FIRST else pytest.mark.slow) for case in CASES],
    ids=lambda v: v if isinstance(v, str) else "+".join(v),
)
def test_every_architecture_and_pooling_equals_the_library_alone_and_in_a_mixed_batch(kind, pooling, tmp_path):
    wanted = reference(kind, pooling, tmp_path)
    assert (wanted @ wanted.T).min() < 0.99  # or any model would pass
    for backend, precision in columns():
        found = cell(wanted, tmp_path, tmp_path, backend, precision)
        assert found.distance < (FP32 if precision == "fp32" else BF16), (backend, precision, found)
        assert found.batch < (1e-5 if precision == "fp32" else 2e-2), (backend, precision, found)


@pytest.mark.parametrize(("kind", "pooling"), OTHERS)
def test_jinas_formulas_and_a_static_table_have_a_row_of_the_matrix_too(kind, pooling, tmp_path):
    wanted = reference(kind, pooling, tmp_path)
    names = columns() if kind == "jina_bert" else [("auto", "fp32")]
    for backend, precision in names:
        found = cell(wanted, tmp_path, tmp_path, backend, precision)
        assert found.distance < (FP32 if precision == "fp32" else BF16), (backend, precision, found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CLASSES, "nomic_bert", "gemma3_text", "qwen3", "jina_bert"])
def test_optimize_quantises_every_architectures_graph_and_a_text_does_not_depend_on_its_batch(kind, tmp_path):
    """int8 of random weights: the graph is quantised rightly; what it loses is judged on trained weights alone."""
    pytest.importorskip("nncf")
    pooling = "lasttoken" if kind == "qwen3" else "mean"
    found = cell(reference(kind, pooling, tmp_path), tmp_path, tmp_path, "openvino", "int8")
    assert 1e-7 < found.distance < INT8, found  # not fp32 under another name
    assert found.batch < 1e-5, found


def test_dense_and_normalize_modules_in_the_order_of_embeddinggemma(tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize
    from torch import nn

    extra = (
        Dense(48, 96, bias=False, activation_function=nn.Identity()),
        Dense(96, 48, bias=True, activation_function=nn.Tanh()),
        Normalize(),
    )
    wanted = reference("gemma3_text", "mean", tmp_path, extra=extra)
    for backend, precision in (("openvino", "fp32"), ("torch", "fp32"), ("onnx", "fp32")):
        assert cell(wanted, tmp_path, tmp_path, backend, precision).distance < FP32


def test_a_normalize_before_a_dense_is_not_skipped(tmp_path):
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize

    wanted = reference("bert", "mean", tmp_path, extra=(Normalize(), Dense(48, 24)))
    assert cell(wanted, tmp_path, tmp_path, "openvino", "fp32").distance < FP32


def test_lower_case_and_a_shorter_limit_come_from_the_models_files(tmp_path):
    model = sentence_transformer("roberta", tmp_path, max_seq_length=24, do_lower_case=True)
    texts = [text.upper() for text in TEXTS]
    source = resolve(str(tmp_path / "st"), home=tmp_path)
    ids = [e.ids for e in load_tokenizer(source).encode(texts)]
    assert max(map(len, ids)) == 24
    backend = load_backend(source, backend="openvino", precision="fp32", home=tmp_path)
    assert (unit(backend.embed(ids)) * unit(model.encode(texts))).sum(1).min() > 1 - FP32


@pytest.mark.parametrize(
    "pooling", ["mean", *(pytest.param(p, marks=pytest.mark.slow) for p in ("cls", "weightedmean"))]
)
def test_a_prompt_that_is_not_pooled_is_seen_and_not_counted(tmp_path, pooling):
    model = sentence_transformer("bert", tmp_path, pooling, include_prompt=False, prompts={"query": "select name: "})
    wanted = unit(model.encode(TEXTS[:6], prompt_name="query"))
    source = resolve(str(tmp_path / "st"), home=tmp_path)
    tokenizer, prompt = load_tokenizer(source), source.spec.prompts["query"]
    ids = [tokenizer.mark_prompt(e.ids, prompt) for e in tokenizer.encode([prompt + text for text in TEXTS[:6]])]
    for name in ("openvino", "torch", "onnx"):
        backend = load_backend(source, backend=name, precision="fp32", home=tmp_path)
        assert (unit(backend.embed(ids)) * wanted).sum(1).min() > 1 - FP32, name


def test_a_bare_transformers_folder_is_mean_pooling_and_says_so(tmp_path):
    wanted = reference("bert", "mean", tmp_path)
    source = resolve(str(tmp_path / "bare"), home=tmp_path)
    assert "no modules.json" in source.spec.notice
    backend = load_backend(source, backend="openvino", precision="fp32", home=tmp_path)
    ids = [e.ids for e in load_tokenizer(source).encode(TEXTS)]
    assert (unit(backend.embed(ids)) * wanted).sum(1).min() > 1 - FP32


@pytest.mark.parametrize(
    ("kind", "typed"),
    [("bert", True), *(pytest.param(kind, False, marks=pytest.mark.slow) for kind in CLASSES)],
)
def test_a_cross_encoder_scores_as_the_library_does(kind, typed, tmp_path):
    model = cross_encoder(kind, tmp_path, typed=typed)
    pairs = [(TEXTS[0], text) for text in TEXTS[:6]]
    wanted = model.predict(pairs)
    source = resolve(str(tmp_path / "ce"), home=tmp_path)
    assert source.spec.task == "score"
    ids = [e.ids for e in load_tokenizer(source).pair(TEXTS[0], TEXTS[:6])]
    for name in ("openvino", "torch", "onnx"):
        backend = load_backend(source, backend=name, precision="fp32", home=tmp_path)
        assert np.abs(backend.embed(ids)[:, 0] - wanted).max() < 1e-4, name


def test_float16_is_refused_for_gemma_with_the_reason(tmp_path):
    from embedserve.errors import SettingsError

    sentence_transformer("gemma3_text", tmp_path)
    source = resolve(str(tmp_path / "st"), home=tmp_path)
    for backend in ("openvino", "torch"):
        with pytest.raises(SettingsError, match="overflow float16"):
            load_backend(source, backend=backend, precision="fp16", home=tmp_path)
