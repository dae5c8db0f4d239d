"""Models from a hub: the real huggingface_hub against a local stand-in, each pull in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedserve.models.catalog import JINA_CODE_V2
from support.checkpoints import tiny_jina
from support.hub import TOKEN, LocalHub

HUB_ID = "acme/tiny-jina"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_jina(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[LocalHub]:
    with LocalHub({HUB_ID: checkpoint}) as running:
        yield running


@pytest.fixture
def machine(hub: LocalHub, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine with an empty disk that knows this hub."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "EMBEDDING_"))}
    return {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "hf"),
        "EMBEDDING_HOME": str(tmp_path / "home"),
    }


def embedserve(machine: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "embedserve.cli", *arguments]
    return subprocess.run(command, env=machine, capture_output=True, text=True, timeout=60)


def pull(machine: dict[str, str], model: str = HUB_ID) -> subprocess.CompletedProcess[str]:
    return embedserve(machine, "pull", model)


def weights_of(done: subprocess.CompletedProcess[str]) -> bytes:
    assert done.returncode == 0, done.stderr
    return (Path(done.stdout.strip()) / "model.safetensors").read_bytes()


def weights_requests(hub: LocalHub) -> list[str | None]:
    """The Range header of each request for the weights' bytes."""
    return [
        span
        for method, path, span in hub.requests
        if method == "GET" and "/cdn/" in path and path.endswith("model.safetensors")
    ]


def test_a_pull_brings_exactly_the_files_that_are_needed(machine, hub, checkpoint):
    (checkpoint / "README.md").write_text("not needed")
    done = pull(machine)
    assert weights_of(done) == (checkpoint / "model.safetensors").read_bytes()
    assert not hub.asked("README.md")
    assert f"{HUB_ID}: " in done.stderr  # off a terminal how far it is stands in lines
    assert " MB\n" in done.stderr
    assert {p.name for p in Path(done.stdout.strip()).rglob("*.json")} >= {"config.json", "tokenizer.json"}


def test_after_a_pull_the_model_is_found_without_any_request(machine, hub):
    pull(machine)
    before = len(hub.requests)
    code = f"""
from pathlib import Path
from embedserve.models.sources import resolve
source = resolve({HUB_ID!r}, home=Path({machine["EMBEDDING_HOME"]!r}))
print(source.origin, source.revision, source.spec.architecture, source.spec.dimension, source.spec.max_tokens)
"""
    done = subprocess.run([sys.executable, "-c", code], env=machine, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["hub", hub.commit, "jina_bert", "32", "8192"]
    assert len(hub.requests) == before


@pytest.mark.slow
def test_a_pulled_model_is_listed_and_works_with_the_hub_switched_off(machine, hub):
    pull(machine)
    done = embedserve({**machine, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}, "models")
    assert f"{HUB_ID}  (32 dimensions, up to 8,192 tokens" in done.stdout
    assert f"hub {hub.commit[:12]}" in done.stdout


def test_a_torn_download_continues_where_it_stopped(machine, hub, checkpoint):
    hub.tears = [5_000, 5_000, 5_000]
    assert weights_of(pull(machine)) == (checkpoint / "model.safetensors").read_bytes()
    assert weights_requests(hub) == [None, "bytes=5000-", "bytes=10000-", "bytes=15000-"]


@pytest.mark.slow
def test_the_next_pull_continues_the_download_of_a_pull_that_failed(machine, hub, checkpoint):
    """huggingface_hub 2.x throws partial files away; a user on a bad line would never get 320 MB."""
    hub.tears = [5_000, 0, 0, 0, 0, 0]
    failed = pull(machine)
    assert failed.returncode == 2
    assert "run it again: it goes on from there" in failed.stderr
    hub.tears = []
    hub.requests.clear()
    assert weights_of(pull(machine)) == (checkpoint / "model.safetensors").read_bytes()
    assert weights_requests(hub) == ["bytes=5000-"]


@pytest.mark.slow
def test_a_server_without_ranges_is_read_from_the_start(machine, hub, checkpoint):
    hub.tears, hub.ranges = [5_000], False
    assert weights_of(pull(machine)) == (checkpoint / "model.safetensors").read_bytes()


def test_damaged_weights_are_refused_and_fetched_anew_next_time(machine, hub, checkpoint):
    hub.corrupt = True
    failed = pull(machine)
    assert failed.returncode == 2
    assert "arrived damaged" in failed.stderr
    hub.corrupt = False
    assert weights_of(pull(machine)) == (checkpoint / "model.safetensors").read_bytes()


def test_a_gated_model_says_how_to_get_access_and_a_token_opens_it(machine, hub):
    hub.gated.add(HUB_ID)
    refused = pull(machine)
    assert refused.returncode == 2
    assert f"{HUB_ID} is gated: accept its licence" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    assert f"embedserve pull {HUB_ID}" in refused.stderr
    assert "copy the folder" in refused.stderr
    assert pull({**machine, "HF_TOKEN": TOKEN}).returncode == 0


def test_an_unknown_model_is_said_to_be_unknown(machine):
    done = pull(machine, "acme/nothing")
    assert done.returncode == 2
    assert "has no model acme/nothing" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_pinned_revision_is_asked_for_and_no_other(machine, hub, tmp_path):
    """A catalog model never follows `main`: someone else could change it."""
    hub.models[JINA_CODE_V2.hub_id] = tiny_jina(tmp_path / "wide", hidden=768, heads=12, layers=1)
    moved = pull(machine, "jina-code-v2")
    assert moved.returncode == 2
    assert f"no revision {JINA_CODE_V2.revision}" in moved.stderr
    hub.commits[JINA_CODE_V2.hub_id] = JINA_CODE_V2.revision
    hub.requests.clear()
    assert pull(machine, "jina-code-v2").returncode == 0
    asked = {path for _, path, _ in hub.asked(JINA_CODE_V2.hub_id)}
    assert {path for path in asked if JINA_CODE_V2.revision not in path} == set()


def test_another_model_under_a_catalog_name_is_refused(machine, hub, checkpoint):
    hub.models[JINA_CODE_V2.hub_id] = checkpoint
    hub.commits[JINA_CODE_V2.hub_id] = JINA_CODE_V2.revision
    done = pull(machine, "jina-code-v2")
    assert done.returncode == 2
    assert "is not jina-code-v2" in done.stderr


AUTO = """
import sys
from pathlib import Path
from embedserve.models.sources import resolve_auto
source, notice = resolve_auto(Path(sys.argv[1]))
print(source.spec.id, "|", notice)
"""


def auto(machine: dict[str, str]) -> str:
    command = [sys.executable, "-c", AUTO, machine["EMBEDDING_HOME"]]
    return subprocess.run(command, env=machine, capture_output=True, text=True, check=True).stdout.strip()


def test_auto_takes_jina_when_the_hub_answers(machine, hub, tmp_path):
    hub.models[JINA_CODE_V2.hub_id] = tiny_jina(tmp_path / "wide", hidden=768, heads=12, layers=1)
    hub.commits[JINA_CODE_V2.hub_id] = JINA_CODE_V2.revision
    assert auto(machine) == "jina-code-v2 |"


def test_auto_falls_back_to_minilm_within_seconds_when_the_hub_is_slow_and_says_so(machine, hub):
    hub.delay = 20
    started = time.monotonic()
    said = auto(machine)
    assert said.startswith("all-MiniLM-L6-v2 | jina-code-v2 is not at hand")
    assert "did not answer within 3 s" in said
    assert "embedserve pull jina-code-v2" in said
    assert time.monotonic() - started < 15


def test_auto_falls_back_to_minilm_when_there_is_no_hub_and_says_so(machine):
    said = auto({**machine, "HF_ENDPOINT": "http://127.0.0.1:9"})
    assert said.startswith("all-MiniLM-L6-v2 | jina-code-v2 is not at hand (http://127.0.0.1:9 cannot be reached")


def test_a_dead_hub_is_named_with_its_reason(machine):
    done = pull({**machine, "HF_ENDPOINT": "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert "cannot be downloaded from http://127.0.0.1:9" in done.stderr


def test_a_full_disk_is_noticed_before_the_download(machine, hub, tmp_path):
    code = f"""
import shutil, collections
shutil.disk_usage = lambda place: collections.namedtuple("u", "total used free")(1, 1, 1000)
from embedserve.cli import main
raise SystemExit(main(["pull", {HUB_ID!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=machine, capture_output=True, text=True)
    assert done.returncode == 2
    assert "MB are free" in done.stderr
    assert weights_requests(hub) == []
