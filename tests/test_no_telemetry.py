"""Nothing is sent anywhere and nothing is written outside our own folders: each command under an audit hook.

Once, importing OpenVINO posted to an analytics service under a lasting id that it kept in ~/intel.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import EMBEDSERVE, Process, clean_environment

HOOK = Path(__file__).parent / "support" / "audit"
LOOPBACK = {"127.0.0.1", "::1", "localhost", ""}
MODEL = "all-MiniLM-L6-v2"


class Audit:
    """A home folder for the commands to run in, and what the hook saw of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.log = folder, folder / "home", folder / "audit.jsonl"
        self.project, self.storage = folder / "project", folder / "storage"
        self.home.mkdir()
        self.project.mkdir()
        (self.project / "fruit.py").write_text("def banana(value):\n    return value * 3  # peeled and eaten\n" * 4)
        self.log.touch()
        path = os.pathsep.join([str(HOOK), os.environ.get("PYTHONPATH", "")])
        # A continuous-integration machine is spared by some telemetry: these processes must look like a user's.
        self.environment = {"PYTHONPATH": path, "AUDIT_LOG": str(self.log), "HOME": str(self.home)}
        self.without = ("CI", "PYTEST_CURRENT_TEST", "HF_HOME", "XDG_CACHE_HOME", "DO_NOT_TRACK", "GITHUB_ACTIONS")

    def user(self) -> dict[str, str]:
        """A user's environment: nothing says that tests run, and nothing measures which lines they reach."""
        given = clean_environment().items()
        kept = {name: value for name, value in given if name not in self.without and not name.startswith("COVERAGE_")}
        return {**kept, **self.environment}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [*EMBEDSERVE, *arguments]
        result = subprocess.run(command, capture_output=True, text=True, env=self.user(), cwd=self.project)
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    def events(self, kind: str) -> list[tuple[str, object, list[str]]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [(event, what, argv) for found, event, what, argv in lines if found == kind]

    def strangers(self) -> list[object]:
        """Whom it spoke to, or asked the name of, beyond this machine."""
        found = []
        for event, what, argv in self.events("network"):
            host = what[0] if isinstance(what, list) else what
            if host not in LOOPBACK and not str(host).startswith("/"):  # a path: a Unix socket
                found.append((event, what, argv))
        return found

    def foreign_files(self) -> list[object]:
        """Files written outside our folders, by Python or (under the home) by anything."""
        ours = (self.home / ".cache" / "embedserve", self.project, self.storage)
        scratch = (Path(tempfile.gettempdir()), Path("/dev"), Path("/proc/self"), Path("/dev/shm"))
        found: list[object] = []
        for event, what, argv in self.events("write"):
            path = Path(os.path.abspath(self.project / str(what)))
            inside_test = path.is_relative_to(self.folder)
            allowed = ours if inside_test else scratch
            bytecode = "__pycache__" in path.parts  # the interpreter's own, beside the source
            parents = path in {parent for folder in ours for parent in folder.parents}
            if str(what) != ":memory:" and not (bytecode or parents or any(path.is_relative_to(f) for f in allowed)):
                found.append((event, str(path), argv))
        present = [p for p in self.home.rglob("*") if p.is_file() and not any(p.is_relative_to(f) for f in ours)]
        return found + present


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path)


def assert_silent(audit: Audit) -> None:
    assert audit.events("write"), "the hook saw nothing at all"
    assert audit.strangers() == []
    assert audit.foreign_files() == []


@pytest.fixture
def services(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """serve and qdrant, as a user starts them; the options that name them."""
    for name in os.environ.keys() - audit.user().keys():
        monkeypatch.delenv(name)
    qdrant = Process(["qdrant", "--storage", str(audit.storage)], "/readyz", **audit.environment)
    with Process(["serve", "--model", MODEL], "/ready", **audit.environment) as serve, qdrant:
        yield ["--embeddings-url", serve.url + "/v1", "--qdrant-url", qdrant.url]


@pytest.mark.slow
def test_serving_indexing_searching_and_checking_speak_to_this_machine_only(audit: Audit, services: list[str]) -> None:
    audit.run("index", str(audit.project), *services)
    assert "banana" in audit.run("search", "what is peeled", *services).stdout
    audit.run("doctor", *services, check=False)
    quick = ("--parallel", "1", "--texts", "2", "--rounds", "1", "--seconds", "0", "--probe-seconds", "0")
    audit.run("bench", services[1], *quick)
    assert {event for event, _what, _argv in audit.events("network")} >= {"socket.connect"}
    assert_silent(audit)


@pytest.mark.slow
def test_optimising_speaks_to_nobody(audit: Audit) -> None:
    """NNCF and OpenVINO's converter, which report their use if they can."""
    audit.run("optimize", MODEL, "--texts", "2", "--no-guard")
    assert_silent(audit)


@pytest.mark.parametrize("library", ["openvino", "openvino.tools.ovc", pytest.param("nncf", marks=pytest.mark.slow)])
def test_a_library_that_reports_home_cannot_after_our_package_was_imported(audit: Audit, library: str) -> None:
    """By name, so that a new place that imports it is silent too."""
    if library == "nncf":
        pytest.importorskip("nncf")
    code = (
        "import sys, embedserve, importlib\n"
        f"importlib.import_module({library!r})\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    subprocess.run([sys.executable, "-c", code], env=audit.user(), check=True, cwd=audit.project)
    assert audit.strangers() == []
    assert audit.foreign_files() == []


REPORTING = {"openvino", "nncf", "optimum", "sentence_transformers"}
SCRIPTS = [p for p in (Path(__file__).parents[1] / "scripts").rglob("*.py") if "import" in p.read_text()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_our_package_before_a_library_that_reports_home(script: Path) -> None:
    lines: dict[str, int] = {}
    for node in ast.walk(ast.parse(script.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            top = name.split(".")[0]
            lines[top] = min(lines.get(top, node.lineno), node.lineno)
    ours = lines.get("embedserve", sys.maxsize)
    late = {name: line for name, line in lines.items() if name in REPORTING and line < ours}
    assert not late, f"imported before embedserve: {late}"


def test_children_inherit_the_wish_not_to_be_tracked() -> None:
    code = "import embedserve, os; print(os.environ['DO_NOT_TRACK'], os.environ['HF_HUB_DISABLE_TELEMETRY'])"
    environment = {n: v for n, v in os.environ.items() if n not in ("DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY")}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert shown.stdout.split() == ["1", "1"]
