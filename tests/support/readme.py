"""The commands of README.md, run word for word in this checkout, on any port and in either runtime."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- not run by [^\n]*-->\n)?```(\w*)\n(.*?)```", re.DOTALL)


def blocks(text: str) -> list[tuple[str, str, bool]]:
    """(language, code, whether it is to be run)."""
    return [(language, code, not skipped) for skipped, language, code in BLOCK.findall(text)]


def run_readme(environment: dict[str, str]) -> str:
    """What the shell blocks printed. While the server is up, the Python and curl blocks run too; on moved ports with
    the address that a reader would write."""
    english = blocks((ROOT / "README.md").read_text())
    port = environment.get("EMBEDDING_PORT", "4000")

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def moved(code: str) -> str:
        return code.replace("localhost:4000", f"localhost:{port}")

    output = ""
    try:
        for language, code, ours in english:
            if language == "sh" and ours:
                output += run("bash", "-euc", code)
                if "manage.sh start" in code:  # the server is up: the other blocks that need it
                    python = next(code for language, code, _ in english if language == "python")
                    assert run(sys.executable, "-c", moved(python)).split()[0] == "384"
                    curl = next(code for language, code, _ in english if code.startswith("curl"))
                    usage = json.loads(run("bash", "-euc", moved(curl)))["usage"]
                    assert usage == {"prompt_tokens": 4, "total_tokens": 4, "truncated": 0}
    finally:
        run("bash", "scripts/manage.sh", "stop")
    return output
