"""An export is believed only after it was compared with the reference; where it is another model, torch serves."""

from dataclasses import replace

import openvino
import pytest

from embedserve.backends import convert, openvino_ops
from embedserve.backends.select import load_backend
from embedserve.errors import ArtefactError
from embedserve.models.encoder import biases
from embedserve.models.sources import resolve
from support.tiny_models import sentence_transformer

pytestmark = pytest.mark.filterwarnings("ignore")
NOT_THE_MODEL = ArtefactError("the export of tiny is not the model: on 24 texts it is as close as 0.5")


@pytest.fixture(scope="module")
def modernbert(tmp_path_factory):
    """With windows as a real one has them: 64 tokens on either side."""
    folder = tmp_path_factory.mktemp("modernbert")
    sentence_transformer("modernbert", folder)
    source = resolve(str(folder / "st"), home=folder)
    windows = tuple(64 if window is not None else None for window in source.spec.encoder.windows)
    return replace(source, spec=replace(source.spec, encoder=replace(source.spec.encoder, windows=windows)))


def another(monkeypatch, **differences):
    """openvino_ops.build writes the graph of an encoder that differs in this, and the batches are made for it."""
    build = openvino_ops.build

    def built(spec, parameters, **options):
        return build(replace(spec, encoder=replace(spec.encoder, **differences)), parameters, **options)

    monkeypatch.setattr(openvino_ops, "build", built)
    monkeypatch.setattr(convert, "biases", lambda encoder: biases(replace(encoder, **differences)))


def test_an_export_says_on_how_many_texts_it_was_compared_and_how_close_it_was(modernbert, tmp_path):
    notes = convert.convert(modernbert, "fp32", tmp_path)
    assert notes["compared"] == "25 texts with NumPy's float32"
    assert notes["cosine_worst"] > 0.99999


@pytest.mark.parametrize(
    "differences",
    [{"activation": "relu"}, {"causal": True}, {"thetas": (10.0,) * 4}, {"windows": ()}],
    ids=lambda found: next(iter(found)),
)
def test_an_export_that_is_another_model_is_not_installed(modernbert, tmp_path, monkeypatch, differences):
    """`windows` shows only in a text that is longer than one."""
    another(monkeypatch, **differences)
    with pytest.raises(ArtefactError, match="is not the model: on 25 texts"):
        convert.convert(modernbert, "fp32", tmp_path)


def test_what_serves_says_with_what_it_was_compared(modernbert, tmp_path):
    info = load_backend(modernbert, backend="openvino", precision="fp32", home=tmp_path).info
    assert info.artefact.measured["compared"] == "25 texts with NumPy's float32"  # /v1/models shows it
    assert info.artefact.measured["cosine_worst"] > 0.99999


def test_a_model_without_windows_is_compared_on_short_texts_alone(tiny_jina):
    assert convert.beyond_windows(tiny_jina.spec.encoder) == []


def test_where_the_export_is_not_the_model_torch_serves_and_says_why(tiny_jina, tmp_path, monkeypatch):
    pytest.importorskip("torch")

    def fails(*_):
        raise NOT_THE_MODEL

    monkeypatch.setattr(convert, "artefact", fails)
    info = load_backend(tiny_jina, home=tmp_path).info
    assert info.name == "torch"
    assert "the export to OpenVINO failed (the export of tiny is not the model" in info.why  # /v1/models shows it
    with pytest.raises(ArtefactError, match="is not the model"):
        load_backend(tiny_jina, backend="openvino", home=tmp_path)


def test_weights_in_half_precision_are_marked_as_compressed(modernbert, tmp_path):
    """Without the library's mark its CPU plugin holds each of them in float32."""
    convert.convert(modernbert, "bf16", tmp_path)
    operations = openvino.Core().read_model(tmp_path / "model.xml").get_ops()
    halves = [
        op for op in operations if op.get_type_name() == "Constant" and op.get_element_type() == openvino.Type.f16
    ]
    assert len(halves) > 10
    readers = [reader.get_node() for half in halves for reader in half.output(0).get_target_inputs()]
    assert all("decompression_0" in reader.get_rt_info() for reader in readers)
