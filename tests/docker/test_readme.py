"""README.md's own commands where the services are containers, on ports that were moved."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from docker.stack import compose, inspect, remove_ours, users_own, wait_healthy
from support.processes import clean_environment, free_port
from support.readme import IN_DOCKER, ask_doctown, readme_block, run_readme

pytestmark = [pytest.mark.docker, pytest.mark.slow]

# Qdrant's own image cannot be had on every machine: the embedded one stands in its place, in the shape of that image.
STANDIN = """
FROM embedserve:local
USER root
RUN mkdir -p /qdrant/storage && printf '%s\\n' '#!/bin/sh' \\
 'exec embedserve qdrant --without-api-key --host 0.0.0.0 --storage /qdrant/storage/edge' > /qdrant/entrypoint.sh \\
 && chmod 755 /qdrant/entrypoint.sh
WORKDIR /qdrant
ENTRYPOINT []
CMD ["./entrypoint.sh"]
"""


@pytest.fixture
def qdrant_image() -> Iterator[str]:
    if problem := users_own():
        pytest.skip(problem)
    compose("build")
    build = ["docker", "build", "-q", "-t", "embedserve-test-edge", "-"]
    subprocess.run(build, input=STANDIN.encode(), check=True, capture_output=True)
    yield "embedserve-test-edge"
    remove_ours()


def test_every_command_of_the_readme_works_in_containers_on_moved_ports(qdrant_image: str, tmp_path: Path) -> None:
    environment = clean_environment(
        EMBEDSERVE_RUNTIME="docker",
        EMBEDDING_PORT=str(free_port()),
        QDRANT_PORT=str(free_port()),
        QDRANT_GRPC_PORT=str(free_port()),
        QDRANT_IMAGE=qdrant_image,
        QDRANT_NOFILE="4096",
        DOCKER_BUILDKIT="0",
        HF_HUB_OFFLINE="1",
    )
    output = run_readme(environment, tmp_path, chosen="embeddings/**")  # the whole checkout is indexed natively
    assert "(docker, jina-openai)" in output
    assert "api/admission.py" in output, output


def test_the_commands_for_compose_by_hand_work_from_the_readme_with_an_env_file(
    qdrant_image: str, tmp_path: Path
) -> None:
    ports = {name: str(free_port()) for name in ("EMBEDDING_PORT", "QDRANT_PORT", "QDRANT_GRPC_PORT", "DOCTOWN_PORT")}
    env = {**ports, "QDRANT_IMAGE": qdrant_image, "QDRANT_NOFILE": "4096", "HF_HUB_OFFLINE": "1"}
    env |= {"EMBEDDING_MEMORY_LIMIT": "1g", "QDRANT_API_KEY": "of-the-env-file"}
    env_file = tmp_path / ".env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in env.items()))
    for line in "".join(readme_block(marker) for marker in IN_DOCKER).splitlines():
        program, command, *words = line.split()
        assert (program, command, words[0]) == ("docker", "compose", "-f"), line
        compose(*words[2:], file=words[1], env_file=env_file)
    for name in ("jina-openai", "qdrant", "doctown-embedding"):
        wait_healthy(name)
    assert httpx.get(f"http://localhost:{ports['EMBEDDING_PORT']}/v1/models").status_code == 200
    assert httpx.get(f"http://localhost:{ports['QDRANT_PORT']}/readyz").status_code == 200
    assert inspect("jina-openai")["HostConfig"]["Memory"] == 1 << 30
    assert "QDRANT_API_KEY=of-the-env-file" in inspect("qdrant")["Config"]["Env"]
    ask_doctown(f"http://localhost:{ports['DOCTOWN_PORT']}")
    health = httpx.get(f"http://localhost:{ports['DOCTOWN_PORT']}/health").json()
    assert (health["model"], health["memory_limit_bytes"]) == ("all-MiniLM-L6-v2", 1 << 30)
