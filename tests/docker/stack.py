"""Docker for tests: words to the engine, the service through its own compose file, a cgroup's own figures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from support.processes import clean_environment

ROOT = Path(__file__).resolve().parents[2]
OURS = {
    "container": ["jina-openai", "doctown-embedding", "qdrant"],
    "volume": ["embedserve-models", "embedserve-cache", "embedserve-qdrant"],
}


def docker(*words: str, check: bool = True, timeout: float = 120) -> str:
    result = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout)
    assert result.returncode == 0 or not check, f"docker {' '.join(words)}: {result.stderr}"
    return result.stdout.strip()


def compose(
    *words: str,
    file: str = "embeddings/docker-compose.yml",
    env_file: Path | None = None,
    timeout: float = 1200,
    **env: str,
) -> str:
    """From the repository's root, as the README says."""
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
    command = ["docker", "compose"] if v2 or not shutil.which("docker-compose") else ["docker-compose"]
    if env_file is not None:
        command += ["--env-file", str(env_file)]
    environment = {**clean_environment(DOCKER_BUILDKIT=os.environ.get("DOCKER_BUILDKIT", "0")), **env}
    result = subprocess.run(
        [*command, "-f", file, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout
    )
    assert result.returncode == 0, f"{' '.join(words)}:\n{result.stdout[-6000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def users_own() -> str:
    """What of the user's own these tests would disturb; empty on a CI machine."""
    for kind, names in OURS.items():
        listed = docker(*(["ps", "-a"] if kind == "container" else ["volume", "ls"]), "--format",
                        "{{.Names}}" if kind == "container" else "{{.Name}}").split()  # fmt: skip
        for name in names:
            if name in listed:
                return f"your own {kind} {name} is there, and these tests would disturb it"
    return ""


def remove_ours() -> None:
    for kind, names in OURS.items():
        for name in names:
            docker(*(["rm", "-f"] if kind == "container" else ["volume", "rm"]), name, check=False)


def inspect(name: str) -> dict:
    return json.loads(docker("inspect", name))[0]


def wait_healthy(name: str, seconds: float = 240) -> float:
    """Returns how long it took."""
    began = time.monotonic()
    while True:
        state = inspect(name)["State"]
        if state.get("Health", {}).get("Status") == "healthy":
            return time.monotonic() - began
        logs = docker("logs", "--tail", "30", name, check=False)
        assert state["Running"], f"{name} ended with {state['ExitCode']}:\n{logs}"
        assert time.monotonic() - began < seconds, f"{name} is {state.get('Health')}:\n{logs}"
        time.sleep(0.5)


def cgroup(name: str) -> dict[str, int]:
    """limit, peak and oom_kill of the container's memory cgroup, as its own files say (v1 or v2)."""
    read = (
        "cd /sys/fs/cgroup; if [ -f memory.max ]; then echo limit $(cat memory.max); echo peak $(cat memory.peak);"
        " grep oom_kill memory.events; else cd memory; echo limit $(cat memory.limit_in_bytes);"
        " echo peak $(cat memory.max_usage_in_bytes); grep 'oom_kill ' memory.oom_control; fi"
    )
    lines = docker("exec", name, "sh", "-c", read).splitlines()
    return {key: int(value) for key, value in (line.split() for line in lines) if key in ("limit", "peak", "oom_kill")}
