"""README.md's own commands where the services are containers, on ports that were moved."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from docker.stack import compose, remove_ours, users_own
from support.processes import clean_environment, free_port
from support.readme import run_readme

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


def test_every_command_of_the_readme_works_in_containers_on_moved_ports(qdrant_image: str) -> None:
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
    output = run_readme(environment)
    assert "(docker, jina-openai)" in output
    assert "api/admission.py" in output, output
