"""README.md's own blocks: which of them is run, where, and which cannot be and why. `run_readme` is the reader's
journey: in this checkout, on any ports, in either runtime."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from support.processes import Process, embedded_qdrant

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of every block."""
    return BLOCK.findall(text)


def readme_block(marker: str) -> str:
    """The one block of README.md that holds these words."""
    (code,) = [code for _, code in blocks((ROOT / "README.md").read_text()) if marker in code]
    return code


@dataclass
class Reader:
    """Somebody who types what README.md says. `home`: a folder for what belongs to other programs. `chosen`: what of
    this checkout is indexed."""

    environment: dict[str, str]
    home: Path
    chosen: str = ""

    def run(self, *command: str, **env: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env={**self.environment, **env}, capture_output=True, text=True, timeout=900,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def sh(self, code: str, **env: str) -> str:
        return self.run("bash", "-euo", "pipefail", "-c", self.moved(code), **env)

    def moved(self, code: str) -> str:
        """With the addresses that a reader with other ports would write."""
        for name, port in (("EMBEDDING_PORT", "4000"), ("QDRANT_PORT", "6333")):
            code = code.replace(f"localhost:{port}", f"localhost:{self.environment.get(name, port)}")
        return code


def _as_written(reader: Reader, code: str) -> str:
    return reader.sh(code)


def _index(reader: Reader, code: str) -> str:
    indexing = "scripts/manage.sh index ."
    assert code.startswith(indexing + "\n")
    return reader.sh(code.replace(indexing, f"{indexing} --include '{reader.chosen}'") if reader.chosen else code)


def _curl(reader: Reader, code: str) -> str:
    answer = reader.sh(code)
    usage = json.dumps(json.loads(answer)["usage"], separators=(",", ":"))
    assert usage in readme_block('{"object":"list"'), usage
    return answer


def _openai(reader: Reader, code: str) -> str:
    out = reader.run(sys.executable, "-c", reader.moved(code))
    assert out.split()[0] == "384"
    return out


def _in_python(reader: Reader, code: str) -> str:
    return reader.run(sys.executable, "-c", code, PYTHONPATH=str(ROOT / "embeddings"))


def _mcp_entry(reader: Reader, code: str) -> str:
    """The words of the entry are understood by the command that it names."""
    (servers,) = json.loads(code).values()
    words = servers["embedserve"]["args"]
    return reader.run(
        sys.executable, "-m", "embedserve.cli", *words, "--show-settings", PYTHONPATH=str(ROOT / "embeddings")
    )


def _agent(reader: Reader, code: str) -> str:
    out = reader.sh(code, CLAUDE_CONFIG_DIR=str(reader.home))
    entry = json.loads((reader.home / ".claude.json").read_text())["mcpServers"]["embedserve"]
    assert Path(entry["command"]).is_file(), entry
    return out


def _vscode(reader: Reader, code: str) -> str:
    user = reader.home / "Code/User"
    user.mkdir(parents=True)
    out = reader.sh(code, XDG_CONFIG_HOME=str(reader.home))
    assert "startall + warmup" in (user / "tasks.json").read_text()
    return out


def _vscode_by_hand(reader: Reader, code: str) -> str:
    user = reader.home / "by hand/.config/Code/User"
    user.mkdir(parents=True)
    out = reader.sh(code, HOME=str(reader.home / "by hand"))
    tasks = (user / "tasks.json").read_text()
    assert f'"command": "{ROOT}/scripts/manage.sh"' in tasks
    assert tasks.count("${repo}") == 0
    assert (user / "keybindings.json").read_bytes() == (ROOT / "vscode/keybindings.json").read_bytes()
    return out


def _snapshots(reader: Reader, code: str) -> str:
    """Its three lines, with the names that a reader would put in."""
    make, fetch, upload = reader.moved(code).splitlines()
    url = f"http://localhost:{reader.environment.get('QDRANT_PORT', '6333')}"
    found = httpx.get(f"{url}/collections").json()["result"]["collections"]
    name = found[0]["name"]
    count = httpx.get(f"{url}/collections/{name}").json()["result"]["points_count"]
    made = json.loads(reader.sh(make.replace("NAME", name)))["result"]["name"]
    file = f"{reader.home}/backup.snapshot"
    named = [line.replace("/SNAPSHOT", f"/{made}").replace("NAME", name).replace("backup.snapshot", file)
             for line in (fetch, upload)]  # fmt: skip
    out = reader.sh("\n".join(named))
    assert httpx.get(f"{url}/collections/{name}").json()["result"]["points_count"] == count > 0
    return out


def _migrate(reader: Reader, code: str) -> str:
    """To a second server, which is the embedded one too: Qdrant's own image cannot be had on every machine."""
    with embedded_qdrant(reader.home / "second") as second:
        there = code.replace(".venv/bin/python", sys.executable).replace("localhost:7333", f"localhost:{second.port}")
        out = reader.sh(there)
        assert httpx.get(f"{second.url}/collections").json()["result"]["collections"]
    return out


def _team(reader: Reader, code: str) -> str:
    """In a small clone of the page's example, with a second server in the place of the team's."""
    clone = reader.home / "requests"
    clone.mkdir()
    (clone / "adapters.py").write_text("def send(request):\n    return retry_with_backoff(request)\n")
    program = reader.home / "bin/embedserve"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT}/embeddings exec {sys.executable} -m embedserve.cli "$@"\n')
    program.chmod(0o755)
    create, *others = code.replace("create team", "create team --yes").splitlines()
    with embedded_qdrant(reader.home / "team") as team:
        lines = [
            f"cd {clone}; git init -q; git remote add origin https://github.com/psf/requests.git; embedserve index .",
            create, f"QDRANT_URL={team.url} {create}", *others,
        ]  # fmt: skip
        out = reader.sh(
            "\n".join(lines).replace("http://qdrant.example:6333", team.url),
            PATH=f"{program.parent}:{reader.environment['PATH']}",
        )
        assert httpx.get(f"{team.url}/collections/team").json()["result"]["points_count"] > 0
    own = f"http://localhost:{reader.environment.get('QDRANT_PORT', '6333')}"
    httpx.delete(
        f"{own}/collections/team"
    ).raise_for_status()  # the checkout keeps it, and the next reader makes it anew
    assert "github.com/psf/requests//adapters.py" in out, out
    return out


def _doctown(reader: Reader, code: str) -> str:
    program, *words = code.split()
    assert (program, words[-2:]) == ("embedserve", ["--port", "8000"])
    with Process(words[:-2], "/ready", EMBEDDING_HOME=reader.environment["EMBEDDING_HOME"]) as worker:
        return ask_doctown(worker.url)


def ask_doctown(url: str) -> str:
    """One batch as Doctown's builder sends it; the vectors come back under their chunks' ids."""
    chunks = [
        {"chunk_id": "a", "content": "def add(a, b): return a + b"},
        {"chunk_id": "b", "content": "class Node: ..."},
    ]
    answer = (
        httpx.post(f"{url}/embed", json={"batch_id": "readme", "chunks": chunks}, timeout=60).raise_for_status().json()
    )
    assert answer["batch_id"] == "readme"
    assert [(vector["chunk_id"], len(vector["vector"])) for vector in answer["vectors"]] == [("a", 384), ("b", 384)]
    return json.dumps(answer)[:100]


Run = Callable[[Reader, str], str]

# Words of a block -> how it is run. On the journey, in the page's order, with both services up.
JOURNEY: dict[str, Run] = {
    "scripts/manage.sh start": _as_written,
    "scripts/manage.sh index .": _index,
    "scripts/manage.sh models": _as_written,
    '-d \'{"model": "all-MiniLM-L6-v2"': _curl,
    "OpenAI(base_url=": _openai,
    "import EmbeddingService": _in_python,
    'search "where are cookies signed"': _as_written,
    '{"mcpServers": {"embedserve"': _mcp_entry,
    '{"servers": {"embedserve"': _mcp_entry,
    "scripts/manage.sh vscode install": _vscode,
    "vscode/tasks.json >": _vscode_by_hand,
    "/snapshots/upload": _snapshots,
    "scripts/manage.sh status": _as_written,  # the last one: it stops them
}
# On the native journey alone: programs of this machine's Python.
NATIVELY: dict[str, Run] = {
    "embedserve serve --model": _doctown,
    "agent install claude": _agent,
    ".migrate(": _migrate,
    "embedserve collections create": _team,
}
# By hand with Compose: tests/docker/test_readme.py runs them by these words.
IN_DOCKER = ["docker-compose.yml up -d\n", "--profile doctown"]
# Not commands, or not to be run here.
NOT_RUN = {
    "scripts/manage.sh test": "it is what runs this",
    '{"object":"list"': "an answer, shortened; the request above it compares its usage",
    "claude mcp add": "Claude Code's own command; tests/agents reads the entry that it makes",
    "apiBase:": "Continue's settings; tests/test_docs.py parses them",
    "extension ──HTTP──►": "a drawing",
    "embeddings/embedserve/   the package": "a list of files",
}


def run_readme(environment: dict[str, str], home: Path, chosen: str = "") -> str:
    """What the blocks printed."""
    reader = Reader(environment, home, chosen)
    wanted = JOURNEY | (NATIVELY if environment["EMBEDSERVE_RUNTIME"] == "native" else {})
    page = [code for _, code in blocks((ROOT / "README.md").read_text())]
    order = sorted(wanted, key=lambda marker: next(i for i, code in enumerate(page) if marker in code))
    order.sort(key=lambda marker: marker == "scripts/manage.sh status")  # stable: the stop goes last
    output = ""
    try:
        for marker in order:
            output += wanted[marker](reader, readme_block(marker))
    finally:
        reader.run("bash", "scripts/manage.sh", "stop")
    return output
