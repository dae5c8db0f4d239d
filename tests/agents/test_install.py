"""`embedserve agent`: the real files of each agent in a home folder of their own."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from embedserve.agents.known import AGENTS, BY_NAME, Machine
from support.processes import EMBEDSERVE, clean_environment

CONFIG = Path(".config")
FILES = {
    "claude": ".claude.json",
    "codex": ".codex/config.toml",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "opencode": ".config/opencode/opencode.json",
    "zoo": ".config/Code/User/globalStorage/zoocodeorganization.zoo-code/settings/mcp_settings.json",
    "kilo": ".config/kilo/kilo.jsonc",
}


def agent(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in clean_environment().items() if k not in ("XDG_CONFIG_HOME", "CODEX_HOME")}
    kept.pop("CLAUDE_CONFIG_DIR", None)
    environment = {**kept, "HOME": str(home), "USERPROFILE": str(home)}
    command = [*EMBEDSERVE, "agent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def files(home: Path) -> dict[str, bytes]:
    return {str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file()}


def test_each_agent_gets_its_entry_where_it_reads_it_and_loses_it_again(tmp_path: Path) -> None:
    assert FILES.keys() == BY_NAME.keys()
    done = agent(tmp_path, "install", *FILES)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path).keys() == set(FILES.values())
    loaded = {name: (tmp_path / path).read_text() for name, path in FILES.items()}
    plain = {"command": sys.executable, "args": ["-m", "embedserve.cli", "mcp"]}
    script = os.path.join(os.path.dirname(sys.executable), "embedserve")
    if os.path.isfile(script):
        plain = {"command": script, "args": ["mcp"]}
    opened = {**plain, "type": "stdio", "args": [*plain["args"], "--workspace", "${workspaceFolder}"]}
    local = {"type": "local", "command": [plain["command"], *plain["args"]], "enabled": True}
    assert json.loads(loaded["claude"]) == {"mcpServers": {"embedserve": {"type": "stdio", **plain}}}
    assert tomllib.loads(loaded["codex"]) == {"mcp_servers": {"embedserve": plain}}
    assert json.loads(loaded["cursor"]) == {"mcpServers": {"embedserve": opened}}
    assert json.loads(loaded["vscode"]) == {"servers": {"embedserve": opened}}
    assert json.loads(loaded["opencode"]) == {"mcp": {"embedserve": local}}
    assert json.loads(loaded["zoo"]) == {"mcpServers": {"embedserve": plain}}
    assert json.loads(loaded["kilo"]) == {"mcp": {"embedserve": local}}
    before = files(tmp_path)
    again = agent(tmp_path, "install", "--all")
    assert again.stdout.count("nothing to do") == len(FILES)
    assert files(tmp_path) == before
    gone = agent(tmp_path, "uninstall", "--all")
    assert gone.returncode == 0, gone.stderr
    assert files(tmp_path) == {}


def test_other_entries_modes_and_links_survive(tmp_path: Path) -> None:
    text = '{"numStartups": 7, "oauthAccount": {"token": "hunter2"}, "mcpServers": {"a": {"command": "b"}}}'
    real = tmp_path / "dotfiles" / "claude.json"
    real.parent.mkdir()
    real.write_text(text)
    real.chmod(0o640)
    (tmp_path / ".claude.json").symlink_to(real)
    done = agent(tmp_path, "install", "claude")
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert (tmp_path / ".claude.json").is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert json.loads(real.read_text())["numStartups"] == 7
    assert agent(tmp_path, "uninstall", "claude").returncode == 0
    assert real.read_text() == text


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    done = agent(tmp_path, "install", "codex", "--dry-run", "--qdrant-url", "http://box:6333")
    assert "config.toml: to be made, mcp_servers.embedserve = " in done.stdout
    assert '"--qdrant-url", "http://box:6333"]' in done.stdout
    assert files(tmp_path) == {}


def test_one_broken_file_leaves_all_others_alone(tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    (tmp_path / ".cursor" / "mcp.json").write_text("{broken")
    done = agent(tmp_path, "install", "claude", "cursor")
    assert done.returncode == 2
    assert "Cursor: " in done.stderr
    assert "is not valid JSON (line 1, column 2: a key in double quotes was expected); nothing was" in done.stderr
    assert files(tmp_path) == {".cursor/mcp.json": b"{broken"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["install"], "name an agent (claude, codex, cursor, vscode, opencode, zoo, kilo), or --all; on this machine"),
        (["install", "emacs"], "unknown agent emacs; known are claude"),
        (["uninstall", "--all"], "none of Claude Code, Codex"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = agent(tmp_path, *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr


def test_the_status_names_every_file(tmp_path: Path) -> None:
    agent(tmp_path, "install", "kilo")
    rows = agent(tmp_path, "status").stdout.splitlines()
    assert len(rows) == len(AGENTS)
    assert f"kilo      installed      {tmp_path / FILES['kilo']}" in rows
    assert sum("not on this machine" in row for row in rows) == len(AGENTS) - 1


def test_places_on_other_systems(tmp_path: Path) -> None:
    mac = Machine(tmp_path, {}, "darwin")
    windows = Machine(tmp_path, {"APPDATA": str(tmp_path / "Roaming")}, "win32")
    assert BY_NAME["vscode"].files(mac) == [tmp_path / "Library/Application Support/Code/User/mcp.json"]
    assert BY_NAME["vscode"].files(windows) == [tmp_path / "Roaming" / "Code" / "User" / "mcp.json"]
    assert BY_NAME["opencode"].files(mac) == [tmp_path / ".config" / "opencode" / "opencode.json"]
    moved = Machine(tmp_path, {"CODEX_HOME": "/c", "CLAUDE_CONFIG_DIR": "/d", "XDG_CONFIG_HOME": "/x"}, "linux")
    assert [BY_NAME[name].files(moved)[0] for name in ("codex", "claude", "kilo")] == [
        Path("/c/config.toml"),
        Path("/d/.claude.json"),
        Path("/x/kilo/kilo.jsonc"),
    ]


def test_the_file_that_is_there_is_taken(tmp_path: Path) -> None:
    (tmp_path / CONFIG / "opencode").mkdir(parents=True)
    (tmp_path / CONFIG / "opencode" / "opencode.jsonc").write_text("{ // mine\n}\n")
    assert agent(tmp_path, "install", "opencode").returncode == 0
    assert list(files(tmp_path)) == [".config/opencode/opencode.jsonc"]
    assert "// mine" in (tmp_path / CONFIG / "opencode" / "opencode.jsonc").read_text()
