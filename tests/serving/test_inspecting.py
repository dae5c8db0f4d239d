"""`embedserve models --check`: what is understood of a model before it is served; exit code 1 where it cannot be."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.numpy import load_file, save_file

from embedserve.errors import SetupError
from embedserve.serving.inspecting import inspect
from embedserve.settings import Settings
from support.checkpoints import tiny_jina
from support.tiny_models import sentence_transformer

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A BERT with a Dense module and a prompt, as sentence-transformers saves it."""
    from sentence_transformers.sentence_transformer.modules import Dense

    folder = tmp_path_factory.mktemp("bert")
    sentence_transformer("bert", folder, "cls", extra=(Dense(48, 24),), prompts={"query": "find: "})
    return folder / "st"


def found(name, home, **settings):
    return {fact.what: fact.text for fact in inspect(str(name), Settings(home=home, **settings))}


def why_not(name, home, **settings):
    """(what was understood first, the reason)."""
    facts = {}
    try:
        for fact in inspect(str(name), Settings(home=home, **settings)):
            facts[fact.what] = fact.text
    except SetupError as error:
        return facts, error.message
    raise AssertionError("it can be served")


def check(name, home, *options):
    command = [sys.executable, "-m", "embedserve.cli", "models", "--check", str(name), *options]
    environment = {**os.environ, "EMBEDDING_HOME": str(home), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def test_the_real_minilm_is_understood_and_nothing_is_loaded_for_it(tmp_path):
    done = check("all-MiniLM-L6-v2", tmp_path, "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0
    assert facts["servable"]
    assert facts["architecture"] == "BERT: 6 layers, width 384, 12 heads, 30,522 tokens known"
    assert facts["modules"] == "pooling mean → normalise"
    assert facts["dimensions"] == "384; not trained to be cut"
    assert facts["limit"].startswith("256 tokens")
    assert facts["backend"].startswith("openvino ")
    assert not (tmp_path / "artefacts").exists()


def test_modules_prompts_and_dtypes_are_those_of_the_files(bert, tmp_path):
    facts = found(bert, tmp_path)
    assert facts["modules"] == "pooling cls → dense 48 → 24, tanh → normalise"
    assert facts["dimensions"].startswith("24;")
    assert facts["prompts"] == "query 'find: '; none unless asked for"
    assert facts["dtypes"] == "fp32, bf16, fp16, int8"
    assert "parameters, all there" in facts["tensors"]


def test_windows_shared_heads_and_a_forbidden_dtype_are_said(tmp_path):
    sentence_transformer("gemma3_text", tmp_path)
    facts = found(tmp_path / "st", tmp_path)
    assert "3 of them see 8 tokens on either side" in facts["architecture"]
    assert "3 heads, 1 for keys and values" in facts["architecture"]
    assert "not fp16: its activations overflow" in facts["dtypes"]


def test_a_tensor_that_is_missing_is_named_after_what_was_understood(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "torn")
    tensors = load_file(folder / "model.safetensors")
    lost = "encoder.layer.1.attention.self.query.weight"
    save_file({name: value for name, value in tensors.items() if name != lost}, folder / "model.safetensors")
    facts, reason = why_not(folder, tmp_path)
    assert facts["architecture"].startswith("BERT")
    assert f"missing tensors: {lost}" in reason


@pytest.mark.parametrize(
    ("file", "change", "reason"),
    [
        ("config.json", {"model_type": "mamba"}, "It would need a file in embedserve/models/architectures"),
        ("1_Pooling/config.json", {"pooling_mode": "attention"}, "pooling 'attention' is not known; known are cls"),
    ],
)
def test_what_is_not_understood_is_named_with_what_would_be_needed(bert, tmp_path, file, change, reason):
    folder = shutil.copytree(bert, tmp_path / "other")
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, **change}))
    done = check(folder, tmp_path)
    assert done.returncode == 1
    assert "cannot be served: " in done.stdout
    assert reason in done.stdout


def test_a_precision_that_cannot_be_had_is_a_reason_not_to_serve(tmp_path):
    folder = tiny_jina(tmp_path / "jina")
    facts, reason = why_not(folder, tmp_path, precision="int8")
    assert "tensors" in facts
    assert "embedserve optimize" in reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jina-code-v2", "jina-code-v2 is not on this machine. To get it: `embedserve pull jina-code-v2`"),
        ("acme/model", "acme/model is not on this machine: `embedserve pull acme/model` brings it"),
        ("jina-code", "did you mean jina-code-v2?"),
        ("./nowhere", "nor a folder"),
    ],
)
def test_a_model_that_is_not_here_says_how_to_get_it(tmp_path, name, reason):
    done = check(name, tmp_path)
    assert done.returncode == 1
    assert reason in done.stdout
