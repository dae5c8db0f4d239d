"""What the compose files say, without an engine."""

import os
import re
import subprocess

import pytest
import yaml

from docker.stack import ROOT
from embedserve.settings import Settings

JINA = yaml.safe_load((ROOT / "embeddings/docker-compose.yml").read_text())
GPU = yaml.safe_load((ROOT / "embeddings/docker-compose.gpu.yml").read_text())
QDRANT = yaml.safe_load((ROOT / "qdrant/docker-compose.yml").read_text())


def test_the_container_gets_every_setting_but_those_that_are_its_own():
    given = {name for name in JINA["services"]["jina"]["environment"] if name.startswith("EMBEDDING_")}
    known = {"EMBEDDING_" + name.upper() for name in Settings.model_fields}
    given -= {"SEMAPHORE_VALUE"}
    assert known - given == {"EMBEDDING_HOST", "EMBEDDING_PORT", "EMBEDDING_HOME"}
    assert given <= known


def test_a_stop_has_more_time_than_the_server_takes_to_drain():
    grace = JINA["services"]["jina"]["stop_grace_period"]
    assert int(grace.rstrip("s")) > Settings().drain_timeout + 5


def test_the_service_is_locked_down_and_on_loopback():
    service = JINA["services"]["jina"]
    assert service["container_name"] == "jina-openai"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["ports"] == ["${EMBEDDING_HOST:-127.0.0.1}:${EMBEDDING_PORT:-4000}:4000"]
    assert service["mem_limit"] == "${EMBEDDING_MEMORY_LIMIT:-4g}"
    assert service["environment"]["SEMAPHORE_VALUE"] == "${SEMAPHORE_VALUE:-}"


def test_doctowns_worker_is_a_profile_with_the_same_settings_and_locks():
    worker, service = JINA["services"]["doctown"], JINA["services"]["jina"]
    assert worker["profiles"] == ["doctown"]  # so that `up` does not start it
    assert worker["ports"] == ["${EMBEDDING_HOST:-127.0.0.1}:${DOCTOWN_PORT:-8000}:4000"]
    assert "onnx" in worker["build"]["args"]["EXTRAS"]
    own = {
        "EMBEDDING_MODEL": "all-MiniLM-L6-v2",
        "EMBEDDING_BACKEND": "onnx",
        "EMBEDDING_MAX_BATCH_SIZE": "${EMBEDDING_MAX_BATCH_SIZE:-64}",
    }
    assert worker["environment"] == {**service["environment"], **own}
    for name in ("read_only", "cap_drop", "security_opt", "stop_grace_period", "restart"):
        assert worker[name] == service[name]


def test_qdrant_is_pinned_on_loopback_with_a_volume_and_room_for_files():
    service = QDRANT["services"]["qdrant"]
    assert re.fullmatch(r"\$\{QDRANT_IMAGE:-qdrant/qdrant:v\d+\.\d+\.\d+\}", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["volumes"] == ["storage:/qdrant/storage"]
    assert service["ulimits"]["nofile"]["soft"] == "${QDRANT_NOFILE:-65535}"
    assert service["environment"]["QDRANT_API_KEY"] == "${QDRANT_API_KEY:-}"
    assert "QDRANT__SERVICE__API_KEY" not in service["environment"]  # an empty key would be a key


@pytest.mark.parametrize(("given", "passed"), [("secret", "secret"), ("", None)])
def test_qdrants_own_name_for_its_key_is_set_only_when_there_is_a_key(tmp_path, given, passed):
    (tmp_path / "entrypoint.sh").write_text('#!/bin/sh\necho "${QDRANT__SERVICE__API_KEY-none}"\n')
    (tmp_path / "entrypoint.sh").chmod(0o755)
    command = [word.replace("$$", "$") for word in QDRANT["services"]["qdrant"]["command"]]
    env = {"PATH": os.environ["PATH"], "QDRANT_API_KEY": given}
    out = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert out.strip() == (passed or "none")


@pytest.mark.parametrize("file", [JINA, GPU, QDRANT])
def test_the_files_use_only_what_compose_1_29_and_v2_both_know(file):
    """v2 warns of `version`; 1.29 knows no `name`, no `!reset` and no nested `${A:-${B}}`."""
    assert set(file) <= {"services", "volumes"}
    assert not re.search(r"\$\{[^}]*\$\{", str(file))
