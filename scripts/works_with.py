#!/usr/bin/env python3
"""Runs the real clients of tests/clients against our real servers and records what works, with versions.

    python scripts/works_with.py [--only TEXT] [--server NAME] [--list] [--dry] [--cache FOLDER]
    python scripts/works_with.py --table          # the recorded results as the READMEs' table, a row a client

One file a client in tests/clients: a script (Python or .mjs) that uses the client as its users do and ends with 0 if
all went well. The first line of its docstring (of its first comment) says what is run. Its head is a PEP 723 block:

    # /// script
    # dependencies = ["langchain-qdrant=={version}", "numpy"]
    # [tool.works-with]
    # client = "langchain-qdrant"          # as people call it
    # package = "langchain-qdrant"         # whose installed version is recorded
    # servers = ["qdrant"]                 # which of ours it needs: "qdrant", "embeddings"
    # versions = ["1.1.0", "0.2.1"]        # optional: `{version}` above, one run for each
    # ///

Each client has an environment of its own (a venv, or a folder of npm) in the cache folder, made once per set of
dependencies. It gets QDRANT_URL, QDRANT_GRPC_PORT, EMBEDDING_URL (without /v1), EMBEDDING_MODEL and RERANK_MODEL (a
tiny random one: that its order is right is tests/api/test_rerank_end_to_end.py's business). The results go to
memory-bank/works-with.json and, as a table, to memory-bank/works-with.md; clients that are not run keep their last
result. It knows no client: adding one is adding a file.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
CLIENTS = ROOT / "tests" / "clients"
RESULTS = ROOT / "memory-bank" / "works-with.json"
TABLE = ROOT / "memory-bank" / "works-with.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "embedserve-works-with"
SECONDS = 300
sys.path.insert(0, str(ROOT / "tests"))


@dataclass(frozen=True)
class Run:
    """One client in one version."""

    script: Path
    client: str
    package: str
    servers: tuple[str, ...]
    dependencies: tuple[str, ...]
    what: str

    @property
    def language(self) -> str:
        return "JavaScript" if self.script.suffix == ".mjs" else "Python"


def runs_of(script: Path) -> list[Run]:
    """The runs that a file of tests/clients declares. ValueError: its head is not as it should be."""
    text = script.read_text()
    block = re.search(r"^(?:#|//) /// script\n(.*?)^(?:#|//) ///$", text, re.DOTALL | re.MULTILINE)
    if block is None:
        raise ValueError(f"{script.name}: no PEP 723 block")
    head = tomllib.loads(re.sub(r"^(?:#|//) ?", "", block[1], flags=re.MULTILINE))
    own = head["tool"]["works-with"]
    what = re.search(r'"""(.+?)(?:\n|""")' if script.suffix == ".py" else r"/\*\* ?(.+?) ?(?:\n|\*/)", text)
    if what is None:
        raise ValueError(f"{script.name}: no docstring that says what is run")
    return [
        Run(
            script,
            own["client"],
            own["package"],
            tuple(own["servers"]),
            tuple(item.replace("{version}", version) for item in head["dependencies"]),
            what[1].strip().rstrip("."),
        )
        for version in own.get("versions", [""])
    ]


def all_runs() -> list[Run]:
    scripts = sorted([*CLIENTS.glob("*.py"), *CLIENTS.glob("*.mjs")])
    return [run for path in scripts if not path.name.startswith(("test_", "_", "conftest")) for run in runs_of(path)]


def prepare(run: Run, cache: Path) -> Path:
    """The folder with the client's environment, made if it is not there. CalledProcessError: it cannot be installed."""
    digest = hashlib.sha256(repr((run.dependencies, sys.version_info[:2])).encode()).hexdigest()[:12]
    folder = cache / f"{run.script.stem}-{digest}"
    if (folder / "ready").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if run.language == "JavaScript":
        (folder / "package.json").write_text('{"type": "module", "private": true}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", *run.dependencies]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=SECONDS)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, text=True)
        command = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *run.dependencies]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=4 * SECONDS)
    (folder / "ready").touch()
    return folder


def installed_version(run: Run, folder: Path) -> str:
    if run.language == "JavaScript":
        return str(json.loads((folder / "node_modules" / run.package / "package.json").read_text())["version"])
    code = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    command = [str(folder / "bin" / "python"), "-c", code, run.package]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def execute(run: Run, folder: Path, environment: dict[str, str]) -> str:
    """ "" if it worked, else the last words."""
    if run.language == "JavaScript":
        copy = folder / run.script.name  # node looks for packages beside the script
        shutil.copy(run.script, copy)
        command = ["node", str(copy)]
    else:
        command = [str(folder / "bin" / "python"), str(run.script)]
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "QDRANT_", "EMBEDDING_"))}
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=keep | environment, cwd=folder
        )
    except subprocess.TimeoutExpired:
        return f"no end within {SECONDS} s"
    if ran.returncode == 0:
        return ""
    sys.stderr.write(ran.stderr[-4000:])
    return (ran.stderr.strip() or ran.stdout.strip() or f"exit status {ran.returncode}").splitlines()[-1][:300]


@contextlib.contextmanager
def servers(needed: set[str], cache: Path):
    """Our servers on free ports, and the variables that tell a client where they are."""
    from support.processes import embedded_qdrant, free_port, minilm_service

    environment: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        if "qdrant" in needed:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            port = str(free_port())
            process = stack.enter_context(embedded_qdrant(folder / "storage", QDRANT_GRPC_PORT=port))
            environment |= {"QDRANT_URL": process.url, "QDRANT_GRPC_PORT": port}
        if needed & {"embeddings", "rerank"}:
            settings = {}
            if "rerank" in needed:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                settings["EMBEDDING_RERANK_MODEL"] = str(tiny_reranker(folder))
                environment["RERANK_MODEL"] = "tiny-reranker"
            process = stack.enter_context(minilm_service(**settings))
            environment |= {"EMBEDDING_URL": process.url, "EMBEDDING_MODEL": "all-MiniLM-L6-v2"}
        yield environment


def tiny_reranker(folder: Path) -> Path:
    """A random cross-encoder as sentence-transformers saves one."""
    from support.tiny_models import cross_encoder

    cross_encoder("bert", folder, typed=True)
    return (folder / "ce").rename(folder / "tiny-reranker")


def record(results: list[dict[str, str]]) -> None:
    """Merge into the file by (client, version, servers) and write the table anew."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    by_key = {(row["client"], row["version"], row["servers"]): row for row in known}
    by_key |= {(row["client"], row["version"], row["servers"]): row for row in results}
    rows = [by_key[key] for key in sorted(by_key)]
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    lines = [
        "# Works with",
        "",
        "Made by `python scripts/works_with.py`: the real clients of `tests/clients`, each in its own environment,",
        "against our own servers. A client that is not run keeps its last result.",
        "",
        "| client | version | server | what was run | result | on |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row[name].replace("|", "\\|") for name in ("client", "version", "servers", "what", "result", "date"))
        lines.append("| " + " | ".join(cells) + " |")
    TABLE.write_text("\n".join(lines) + "\n")


def short_table() -> str:
    """The recorded results, a row a client, in Markdown."""
    rows: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in json.loads(RESULTS.read_text()):
        rows.setdefault((row["client"], row["servers"]), []).append(row)
    lines = ["| Client | Versions | What was run | Result |", "|---|---|---|---|"]
    for (client, _), found in sorted(rows.items(), key=lambda item: item[0][0].casefold()):
        found.sort(key=lambda row: [int(part) for part in re.findall(r"\d+", row["version"])], reverse=True)
        versions = ", ".join(row["version"] for row in found)
        failed = [f"{row['version']}: {row['result']}" for row in found if row["result"] != "works"]
        cells = (client, versions, found[0]["what"], "; ".join(failed) or "works")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="only clients whose file or name contains this")
    parser.add_argument("--server", action="append", default=[], help="only clients of this server of ours")
    parser.add_argument("--list", action="store_true", help="list the clients and stop")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the clients' environments")
    parser.add_argument("--table", action="store_true", help="print the READMEs' table and stop")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    args = parser.parse_args()
    if args.table:
        print(short_table())
        return 0
    chosen = [run for run in all_runs() if args.only in run.script.name or args.only in run.client]
    if args.server:
        chosen = [run for run in chosen if set(run.servers) & set(args.server)]
    if args.list:
        for run in chosen:
            print(f"{run.client:32} {run.language:10} {', '.join(run.servers):20} {' '.join(run.dependencies)}")
        return 0
    results = []
    with servers({name for run in chosen for name in run.servers}, args.cache) as environment:
        for run in chosen:
            started = time.monotonic()
            try:
                folder = prepare(run, args.cache)
                version, failure = installed_version(run, folder), None
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
                version, failure = " ".join(run.dependencies), f"not installed: {words[-1][:200]}"
            if failure is None:
                failure = execute(run, folder, environment)
            result = failure or "works"
            print(f"{run.client} {version}: {result} ({time.monotonic() - started:.1f} s)", flush=True)
            today = datetime.datetime.now(datetime.UTC).date().isoformat()
            row = {"client": run.client, "version": version, "servers": ", ".join(run.servers)}
            results.append(row | {"what": run.what, "result": result, "date": today})
    if not args.dry:
        record(results)
    return 0 if all(row["result"] == "works" for row in results) else 1


if __name__ == "__main__":
    sys.exit(main())
