"""Which backend and precision: auto explains itself, what is pinned wins or is refused with the reason."""

import dataclasses

import pytest

from embedserve.backends import artefacts, convert, select
from embedserve.backends.openvino_backend import OpenVinoBackend
from embedserve.backends.select import load_backend
from embedserve.errors import ArtefactError, MissingExtra, SettingsError
from embedserve.machine import cpu

WITH = cpu.CpuFeatures("Zen 4", True, True, ("avx512_bf16", "avx512_vnni"))
WITHOUT = cpu.CpuFeatures("Old Xeon", False, False, ())


@pytest.fixture
def chosen(monkeypatch):
    """What the OpenVINO backend would be made of; nothing is converted or loaded."""
    monkeypatch.setattr(convert, "artefact", lambda source, precision, home: artefacts.Artefact(home, precision, {}))
    monkeypatch.setattr(
        "embedserve.backends.openvino_backend.OpenVinoBackend",
        lambda artefact, spec, **options: (artefact.precision, options["why"]),
    )


def on(monkeypatch, features):
    monkeypatch.setattr(cpu, "features", lambda: features)


def install_int8(source, home, **notes):
    def write(folder):
        for name in artefacts.files("int8"):
            (folder / name).write_text("x")
        return {"guard": "passed", **notes}

    return artefacts.build(source, "int8", home, write)


@pytest.mark.parametrize(
    ("features", "int8", "expected", "reason"),
    [
        (WITH, False, "bf16", "native on this CPU (avx512_bf16)"),
        (WITHOUT, False, "fp32", "no native bf16"),
        (WITH, True, "int8", "artefact is installed"),
        (WITHOUT, True, "int8", "artefact is installed"),
    ],
)
def test_auto_takes_int8_if_installed_then_native_bf16_then_fp32(
    tiny_jina, tmp_path, monkeypatch, chosen, features, int8, expected, reason
):
    on(monkeypatch, features)
    if int8:
        install_int8(tiny_jina, tmp_path)
    precision, why = load_backend(tiny_jina, home=tmp_path)
    assert precision == expected
    assert reason in why


def test_on_arm_openvino_takes_fp32_whatever_the_cpu_has_and_says_so(tiny_jina, tmp_path, monkeypatch, chosen):
    on(monkeypatch, cpu.CpuFeatures("Neoverse-V2", True, True, ("bf16", "asimddp", "i8mm")))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    precision, why = load_backend(tiny_jina, home=tmp_path)
    assert precision == "fp32"
    assert "no native bf16 by OpenVINO on aarch64" in why
    with pytest.raises(SettingsError, match="x86-64 only, not on aarch64"):
        load_backend(tiny_jina, precision="bf16", home=tmp_path)


def test_what_openvino_computes_is_asked_of_the_backend_and_not_of_who_makes_it(tiny_jina, tmp_path, monkeypatch):
    """Choosing, judging int8 and estimating memory had each its own answer; on ARM one of them asked for bf16."""
    on(monkeypatch, cpu.CpuFeatures("Neoverse-V2", True, True, ("bf16", "asimddp", "i8mm")))
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    artefact = convert.artefact(tiny_jina, "bf16", tmp_path)
    backend = OpenVinoBackend(artefact, tiny_jina.spec, threads=1, why="as `optimize` judges")
    assert backend._model.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    backend.close()


@pytest.mark.parametrize("pinned", ["fp32", "bf16"])
def test_a_pinned_precision_wins_over_an_installed_artefact(tiny_jina, tmp_path, monkeypatch, chosen, pinned):
    on(monkeypatch, WITH)
    install_int8(tiny_jina, tmp_path)
    precision, why = load_backend(tiny_jina, precision=pinned, home=tmp_path)
    assert precision == pinned
    assert "EMBEDDING_PRECISION" in why


def test_a_torn_int8_artefact_is_not_used_and_auto_says_so(tiny_jina, tmp_path, monkeypatch, chosen):
    on(monkeypatch, WITH)
    (install_int8(tiny_jina, tmp_path).folder / "model.bin").write_text("y")
    precision, why = load_backend(tiny_jina, home=tmp_path)
    assert precision == "bf16"
    assert "torn" in why
    with pytest.raises(ArtefactError, match="torn"):
        load_backend(tiny_jina, precision="int8", home=tmp_path)


def test_auto_names_an_int8_artefact_that_an_upgrade_left_behind(tiny_jina, tmp_path, monkeypatch, chosen):
    on(monkeypatch, WITH)
    install_int8(tiny_jina, tmp_path)
    monkeypatch.setattr(artefacts, "CONVERTER", artefacts.CONVERTER + 1)
    precision, why = load_backend(tiny_jina, home=tmp_path)
    assert precision == "bf16"
    assert "of another OpenVINO or embedserve version: run `embedserve optimize` again" in why


def test_pinned_int8_without_an_artefact_says_how_to_make_one(tiny_jina, tmp_path):
    with pytest.raises(ArtefactError, match="embedserve optimize"):
        load_backend(tiny_jina, precision="int8", home=tmp_path)


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_bf16_is_refused_where_the_cpu_would_emulate_it(tiny_jina, tmp_path, monkeypatch, backend):
    on(monkeypatch, WITHOUT)
    with pytest.raises(SettingsError, match="Old Xeon has no bf16"):
        load_backend(tiny_jina, backend=backend, precision="bf16", home=tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"precision": "fp16"}, "for GPUs"),
        ({"backend": "torch", "precision": "int8"}, "openvino"),
        ({"backend": "openvino", "device": "cuda"}, "needs EMBEDDING_BACKEND=torch"),
        ({"backend": "onnx", "precision": "bf16"}, "fp32 only"),
        ({"backend": "torch", "device": "mps"}, "no Apple GPU"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(tiny_jina, tmp_path, options, reason):
    with pytest.raises(SettingsError, match=reason):
        load_backend(tiny_jina, home=tmp_path, **options)


def test_a_precision_that_is_wrong_for_the_weights_is_refused(tiny_jina, tmp_path, monkeypatch):
    on(monkeypatch, WITH)
    gemma = dataclasses.replace(tiny_jina, spec=dataclasses.replace(tiny_jina.spec, dtypes=("fp32",)))
    with pytest.raises(SettingsError, match="allow fp32"):
        load_backend(gemma, precision="bf16", home=tmp_path)
    with pytest.raises(SettingsError, match="allow fp32"):
        select._gpu_precision(gemma, "fp16", "cuda")


@pytest.mark.parametrize(
    ("device", "card_has_bf16", "dtypes", "expected"),
    [
        ("cuda", True, ("fp32", "bf16"), "bf16"),  # EmbeddingGemma
        ("cuda", False, ("fp32", "bf16"), "fp32"),  # never float16, which its activations overflow
        ("cuda", False, ("fp32", "bf16", "fp16"), "fp16"),
        ("mps", False, ("fp32", "bf16"), "bf16"),
    ],
)
def test_a_gpu_computes_in_what_both_it_and_the_weights_allow(
    tiny_jina, monkeypatch, device, card_has_bf16, dtypes, expected
):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: card_has_bf16)
    model = dataclasses.replace(tiny_jina, spec=dataclasses.replace(tiny_jina.spec, dtypes=dtypes))
    assert select._gpu_precision(model, "auto", device)[0] == expected


def test_onnx_without_its_extra_says_what_to_install(tiny_jina, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"embedserve\[onnx\]"):
        load_backend(tiny_jina, backend="onnx", home=tmp_path)


def test_onnx_runs_a_packed_model_on_at_most_eight_threads(tiny_jina, home):
    import numpy as np

    backend = load_backend(tiny_jina, backend="onnx", threads=64, home=home)
    assert backend.info.threads == 8
    assert backend.info.packed
    assert backend.embed([np.arange(3, dtype=np.int32)]).shape == (1, 48)


@pytest.mark.parametrize(
    ("features", "notes", "expected", "reason"),
    [
        (WITH, {"cpu": WITH.int8_class, "times_fp32": 2.1}, "int8", "installed"),
        (WITHOUT, {"cpu": WITH.int8_class, "times_fp32": 2.1}, "fp32", "judged on"),
        (WITHOUT, {"cpu": WITHOUT.int8_class, "times_fp32": 1.3}, "int8", "installed"),
        (WITHOUT, {"cpu": WITHOUT.int8_class, "times_fp32": 0.8}, "fp32", "0.8 times the speed of fp32"),
    ],
)
def test_auto_takes_no_int8_that_was_judged_on_another_class_of_cpu_or_is_slower_here(
    tiny_jina, tmp_path, monkeypatch, chosen, features, notes, expected, reason
):
    on(monkeypatch, features)
    install_int8(tiny_jina, tmp_path, **notes)
    precision, why = load_backend(tiny_jina, home=tmp_path)
    assert precision == expected
    assert reason in why
    pinned, _ = load_backend(tiny_jina, precision="int8", home=tmp_path)
    assert pinned == "int8"
