"""Who may import whom, and which library lives where: read from the source with `ast`, nothing is imported."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "embeddings" / "embedserve"

# Ours: a room -> the rooms it may import from (its own always).
ROOMS = {
    "errors": set(),
    "interrupt": set(),
    "telemetry": set(),
    "observability": set(),
    "tracing": {""},
    "recent": {"observability"},
    "sources": {"errors"},
    "settings": {"sources", "errors"},
    "client_settings": {"sources", "errors"},
    "web": {"errors"},
    "models": {"errors"},
    "machine": set(),
    "backends": {"models", "machine", "errors"},
    "optimizing": {"backends", "models", "machine", "errors"},
    "engine": {"backends.base", "errors", "observability"},
    "serving": {"engine", "backends", "models", "machine", "settings", "errors", "observability", "recent"},
    "api": {
        "client_settings",
        "serving",
        "engine",
        "backends.base",
        "models.spec",
        "models.names",
        "models.prompts",
        "settings",
        "errors",
        "observability",
        "recent",
        "tracing",
        "web",
        "",
    },
    "vectordb": {"errors", "observability", "web", ""},
    "indexing": {"errors"},
    "bench": {"errors"},
    "mcp": {"indexing", "errors"},
    "agents": {"errors"},
    "doctor": {
        "serving",
        "indexing",
        "models",
        "backends",
        "machine",
        "engine",
        "settings",
        "client_settings",
        "sources",
        "errors",
        "",
    },
    "service": {"serving", "engine", "models", "machine", "settings", "errors"},
    "scaling": {"api", "serving", "engine", "indexing", "models", "settings", "errors", "observability", ""},
    "commands": None,  # parse, then call one function: anything
    "cli": None,
    "__init__": {"telemetry"},
}

# Libraries: only in these rooms.
CONFINED = {
    "torch": {"models", "backends"},
    "transformers": {"models", "backends"},
    "openvino": {"backends", "optimizing", "machine"},  # machine: what the CPU can do, on Windows
    "nncf": {"optimizing"},
    "onnxruntime": {"backends"},
    "fastapi": {"api", "vectordb"},
    "qdrant_client": {"indexing", "doctor"},
    "qdrant_edge": {"vectordb"},
    "grpc": {"vectordb"},
    "google": {"vectordb"},
    "prometheus_client": {"observability"},
    "ray": {"scaling"},
    "opentelemetry": {"tracing"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module.startswith("embedserve")}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_the_rooms_it_may(path):
    room = room_of(path)
    assert room in ROOMS, f"{room} is a new room: say in ROOMS what it may import"
    allowed = ROOMS[room]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "embedserve" and allowed is not None:
            inner = ".".join(parts[1:])
            top = parts[1] if len(parts) > 1 else ""
            ok = top in ("", room, "__version__") or any(
                a and (inner == a or inner.startswith(a + ".")) for a in allowed
            )
            # `from embedserve.backends import base` shows as backends and backends.base: the longer one decides
            ok = ok or any(a.startswith(inner + ".") for a in allowed)
            assert ok, f"{room} may not import {name}"
        elif parts[0] in CONFINED:
            assert room in CONFINED[parts[0]], f"{parts[0]} does not belong in {room}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{path.name} has no docstring"


def test_a_server_raises_no_exception_that_the_raising_function_keeps_a_name_for():
    """Exception, traceback, frame, name: a cycle, which keeps all that the function holds until a collection. The
    embedded Qdrant kept each refused body of 32 MB so."""
    kept = []
    for path in (path for path in FILES if room_of(path) in {"api", "engine", "serving", "vectordb", "web"}):
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        for function in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, functions)):
            inside = list(ast.walk(function))
            named = {
                target.id
                for node in inside
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            kept += [
                f"{path.relative_to(PACKAGE)}:{node.lineno} raise {node.exc.id}"
                for node in inside
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id in named
            ]
    assert kept == []


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from embedserve.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'numpy', 'httpx', 'fastapi', 'torch', 'rich', 'openvino'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
