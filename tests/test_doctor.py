"""`embedserve doctor`: what is right passes, what is wrong is named with what to do."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from embedserve.doctor import check_disk, check_embedding, check_memory, check_models, check_service
from embedserve.indexing.connection import Connection
from embedserve.settings import Settings
from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant, free_port, minilm_service

NOBODY = Connection("http://127.0.0.1:1/v1", "http://127.0.0.1:1")


def doctor(*options: str, **environment: str) -> tuple[int, list[dict[str, str]]]:
    environment = clean_environment(EMBEDDING_MODEL="all-MiniLM-L6-v2", **environment)
    result = subprocess.run(
        [*EMBEDSERVE, "doctor", "--json", *options], capture_output=True, text=True, env=environment
    )
    assert "Traceback" not in result.stderr, result.stderr
    return result.returncode, json.loads(result.stdout)


def of(lines: list[dict[str, str]], check: str) -> list[dict[str, str]]:
    return [line for line in lines if line["check"] == check]


@pytest.mark.slow
def test_a_real_service_and_a_real_qdrant_pass_and_a_collection_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with embedded_qdrant(tmp_path) as qdrant, minilm_service() as service:
        client = QdrantClient(url=qdrant.url, check_compatibility=False)
        vectors = models.VectorParams(size=768, distance=models.Distance.COSINE)
        client.create_collection("embedserve-0123456789abcdef", vectors_config=vectors)
        code, lines = doctor("--embeddings-url", service.url + "/v1", "--qdrant-url", qdrant.url)
    assert code == 0
    assert {line["check"]: line["status"] for line in lines} == {
        "version": "pass", "model": "pass", "memory": "pass", "disk": "pass", "places": "pass",
        "service": "pass", "embedding": "pass", "qdrant": "pass", "collection": "warn",
    }  # fmt: skip
    assert "differ from the published ones by at most 0.0" in of(lines, "embedding")[0]["message"]
    [line] = of(lines, "collection")
    assert line["message"].startswith(
        "embedserve-0123456789abcdef: 0 points of 768 dimensions, but the service gives 384"
    )
    assert "index --recreate" in line["advice"]


def test_where_everything_lives_is_said() -> None:
    places = {"EMBEDDING_HOME": "/a/home", "QDRANT_STORAGE": "/a/storage", "HF_HOME": "/a/hub", "XDG_CONFIG_HOME": "/a"}
    _, lines = doctor("--embeddings-url", NOBODY.embeddings_url, "--qdrant-url", NOBODY.qdrant_url, **places)
    [line] = of(lines, "places")
    for folder in ("/a/home", "/a/storage", "/a/hub", "/a/embedserve/config.env"):
        assert folder in line["message"]


def test_what_does_not_run_is_a_warning_for_the_service_and_a_failure_for_qdrant() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    code, lines = doctor("--embeddings-url", nobody + "/v1", "--qdrant-url", nobody)
    assert code == 1
    assert of(lines, "service")[0]["status"] == "warn"
    assert "embedserve serve" in of(lines, "service")[0]["advice"]
    assert of(lines, "embedding")[0]["message"] == "not tested: the service is not running"
    assert of(lines, "qdrant")[0]["status"] == "fail"
    assert "does not answer" in of(lines, "qdrant")[0]["message"]


def test_vectors_of_another_model_under_a_known_name_fail() -> None:
    with EmbeddingStandIn(384, "all-MiniLM-L6-v2") as service:
        where = Connection(service.url, NOBODY.qdrant_url)
        [line] = check_embedding(where, [{"id": "all-MiniLM-L6-v2"}])
    assert line.status == "fail"
    assert "not all-MiniLM-L6-v2's weights" in line.advice


def test_a_port_taken_by_something_else_is_told_from_a_free_one() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        [line] = check_service(Connection(url, NOBODY.qdrant_url), [])
        assert line.status == "fail"
        assert "taken by something that speaks no HTTP" in line.message
        assert "EMBEDDING_PORT" in line.advice
        listener.close()


def test_a_model_that_is_not_there_says_how_to_get_it_and_a_changed_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    [line] = check_models(Settings(model="jina-code-v2", home=tmp_path))
    assert (line.status, line.message) == ("fail", "jina-code-v2 is not on this machine")
    assert "embedserve pull jina-code-v2" in line.advice
    [line] = check_models(Settings(model="all-MiniLM-L6-v2", home=tmp_path))
    assert (line.status, line.message[:55]) == ("pass", "all-MiniLM-L6-v2: files complete and checked, from pack")
    own = tmp_path / "models" / "all-MiniLM-L6-v2"
    shutil.copytree(Path(line.message.split("(")[1].rstrip(")")), own)
    with open(own / "model.safetensors", "r+b") as file:
        file.truncate(1_000_000)
    [line] = check_models(Settings(model="all-MiniLM-L6-v2", home=tmp_path))
    assert line.status == "fail", line


def test_too_little_memory_and_a_folder_without_rights_are_found(tmp_path: Path, monkeypatch: Any) -> None:
    [line] = check_memory(Settings(model="jina-code-v2", memory_limit=512 * 2**20))
    assert line.status == "fail"
    assert "EMBEDDING_MEMORY_LIMIT" in line.message
    [line] = check_memory(Settings(model="all-MiniLM-L6-v2", memory_limit=1024**3))
    assert line.status == "pass"
    monkeypatch.setattr("os.access", lambda *_: False)
    [line] = check_disk(Settings(home=tmp_path / "not" / "yet"))
    assert line.status == "fail"
    assert "EMBEDDING_HOME" in line.advice
