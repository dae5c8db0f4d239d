"""The agents that we install into: where each keeps its user-wide MCP file, and the shape of an entry in it.

As each agent documents it (November 2026). Adding an agent is adding a line to AGENTS. Nothing is read or written
here but the question which folders there are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Entry = dict[str, Any]
OPEN_FOLDER = "${workspaceFolder}"  # VS Code and Cursor put the folder that is open in its place
EDITORS = ("Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf")
ZOO = "zoocodeorganization.zoo-code"


@dataclass(frozen=True)
class Machine:
    """Where a user's files are. `platform`: as sys.platform says it."""

    home: Path
    environ: Mapping[str, str]
    platform: str

    @classmethod
    def this(cls) -> Machine:
        return cls(Path.home(), os.environ, sys.platform)

    @property
    def xdg_config(self) -> Path:
        """`~/.config` on every platform, as opencode and Kilo have it."""
        return Path(self.environ.get("XDG_CONFIG_HOME") or self.home / ".config")

    @property
    def editors(self) -> Path:
        """The folder in which VS Code's family keeps its own: Code, VSCodium, Cursor."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environ.get("APPDATA") or self.home / "AppData" / "Roaming")
        return self.xdg_config


@dataclass(frozen=True)
class Agent:
    """`files`: the files to write (several for several editors), the default one where nothing is there yet.
    `signs`: paths that are there when the agent is. `container`: the object that holds its servers. `entry`: ours in
    it, made of the command line. `reload`: what its user does to see the change."""

    name: str
    title: str
    files: Callable[[Machine], Sequence[Path]]
    signs: Callable[[Machine], Sequence[Path]]
    container: str
    entry: Callable[[Sequence[str]], Entry]
    reload: str

    def is_here(self, machine: Machine) -> bool:
        return any(path.exists() for path in self.signs(machine))


def _stdio(command: Sequence[str]) -> Entry:
    return {"type": "stdio", "command": command[0], "args": list(command[1:])}


def _plain(command: Sequence[str]) -> Entry:
    return {"command": command[0], "args": list(command[1:])}


def _in_open_folder(command: Sequence[str]) -> Entry:
    return _stdio([*command, "--workspace", OPEN_FOLDER])


def _local(command: Sequence[str]) -> Entry:
    return {"type": "local", "command": list(command), "enabled": True}


def _claude(machine: Machine) -> list[Path]:
    return [Path(machine.environ.get("CLAUDE_CONFIG_DIR") or machine.home) / ".claude.json"]


def _codex(machine: Machine) -> list[Path]:
    return [Path(machine.environ.get("CODEX_HOME") or machine.home / ".codex") / "config.toml"]


def _vscode(machine: Machine) -> list[Path]:
    folders = [machine.editors / name / "User" for name in EDITORS[:3]]
    here = [folder for folder in folders if folder.is_dir()]
    return [folder / "mcp.json" for folder in here or folders[:1]]


def _first_there(folder: Path, names: Sequence[str]) -> list[Path]:
    """The one of these files that is there; the first where none is."""
    return [next((folder / name for name in names if (folder / name).exists()), folder / names[0])]


def _zoo_folders(machine: Machine) -> list[Path]:
    return [machine.editors / editor / "User" / "globalStorage" / ZOO for editor in EDITORS]


def _zoo(machine: Machine) -> list[Path]:
    folders = _zoo_folders(machine)
    here = [folder for folder in folders if folder.is_dir()]
    return [folder / "settings" / "mcp_settings.json" for folder in here or folders[:1]]


AGENTS: tuple[Agent, ...] = (
    Agent(
        "claude",
        "Claude Code",
        _claude,
        lambda machine: [*_claude(machine), machine.home / ".claude"],
        "mcpServers",
        _stdio,
        "start claude anew; /mcp shows it",
    ),
    Agent(
        "codex",
        "Codex",
        _codex,
        lambda machine: [_codex(machine)[0].parent],
        "mcp_servers",
        _plain,
        "start codex anew; /mcp shows it",
    ),
    Agent(
        "cursor",
        "Cursor",
        lambda machine: [machine.home / ".cursor" / "mcp.json"],
        lambda machine: [machine.home / ".cursor", machine.editors / "Cursor"],
        "mcpServers",
        _in_open_folder,
        "restart Cursor; it is under Customize, MCPs",
    ),
    Agent(
        "vscode",
        "VS Code",
        _vscode,
        lambda machine: [machine.editors / name / "User" for name in EDITORS[:3]],
        "servers",
        _in_open_folder,
        "the command MCP: List Servers shows it and starts it",
    ),
    Agent(
        "opencode",
        "opencode",
        lambda machine: _first_there(machine.xdg_config / "opencode", ("opencode.json", "opencode.jsonc")),
        lambda machine: [machine.xdg_config / "opencode"],
        "mcp",
        _local,
        "start opencode anew; opencode mcp list shows it",
    ),
    Agent(
        "zoo",
        "Zoo Code",
        _zoo,
        _zoo_folders,
        "mcpServers",
        _plain,
        "it is under MCP Servers in Zoo Code's settings",
    ),
    Agent(
        "kilo",
        "Kilo Code",
        lambda machine: _first_there(machine.xdg_config / "kilo", ("kilo.jsonc", "kilo.json")),
        lambda machine: [machine.xdg_config / "kilo"],
        "mcp",
        _local,
        "restart Kilo Code; it is under Settings, Agent Behaviour, MCP Servers",
    ),
)
BY_NAME = {agent.name: agent for agent in AGENTS}
