"""Plans what is to change in which file, shows it, and writes it: whole files, replaced in one step.

A file that cannot be read as its agent reads it is not touched. Nothing else of a file is shown: agents keep keys in
theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedserve.agents import edit_json, edit_toml
from embedserve.agents.edit_json import CannotEdit
from embedserve.agents.known import AGENTS, BY_NAME, Agent, Machine
from embedserve.errors import SetupError

NAME = "embedserve"


class InstallFailed(SetupError):
    """A file could not be changed; what was planned for the others was not done either."""


@dataclass(frozen=True)
class Change:
    """One file of one agent. `before` None: it is not there; `after` None: it is to go."""

    agent: Agent
    path: Path
    before: str | None
    after: str | None
    entry: dict[str, Any]

    @property
    def needed(self) -> bool:
        return self.before != self.after

    def line(self) -> str:
        """What is to be done, for a person."""
        where = f"{self.agent.title}: {self.path}"
        if not self.needed:
            return f"{where}: nothing to do"
        if self.after is None:
            return f"{where}: to be deleted, nothing else is in it"
        verb = "to be made" if self.before is None else "to be changed"
        return f"{where}: {verb}, {self.agent.container}.{NAME} = {json.dumps(self.entry, ensure_ascii=False)}"

    def removal_line(self) -> str:
        where = f"{self.agent.title}: {self.path}"
        if not self.needed:
            return f"{where}: ours is not in it"
        return f"{where}: {self.agent.container}.{NAME} to be taken out" + ("" if self.after else "; nothing is left")


def chosen(names: Sequence[str], everywhere: bool, machine: Machine) -> list[Agent]:
    """The agents by name, or all that are on this machine. Raises InstallFailed."""
    if names:
        unknown = [name for name in names if name not in BY_NAME]
        if unknown:
            raise InstallFailed(f"unknown agent {unknown[0]}; known are {', '.join(BY_NAME)}")
        return [BY_NAME[name] for name in dict.fromkeys(names)]
    here = [agent for agent in AGENTS if agent.is_here(machine)]
    if not everywhere:
        found = ", ".join(agent.name for agent in here) or "none"
        raise InstallFailed(f"name an agent ({', '.join(BY_NAME)}), or --all; on this machine: {found}")
    if not here:
        raise InstallFailed(f"none of {', '.join(agent.title for agent in AGENTS)} is on this machine; name one")
    return here


def plan_install(agents: Sequence[Agent], command: Sequence[str], machine: Machine) -> list[Change]:
    """Raises InstallFailed; then nothing is to be written."""
    changes = []
    for agent in agents:
        entry = agent.entry(command)
        for path in agent.files(machine):
            before = read(path)
            with _named(agent, path):
                after = _editor(path).with_entry(before, agent.container, NAME, entry, is_ours)
                if _editor(path).entry_in(after, agent.container, NAME) != entry:
                    raise CannotEdit("our entry would not be read as it was written")
            changes.append(Change(agent, path, before, after, entry))
    return changes


def plan_uninstall(agents: Sequence[Agent], machine: Machine) -> list[Change]:
    """Raises InstallFailed; then nothing is to be written."""
    changes = []
    for agent in agents:
        for path in agent.files(machine):
            before = read(path)
            with _named(agent, path):
                kept = None if before is None else _editor(path).without_entry(before, agent.container, NAME, is_ours)
            changes.append(Change(agent, path, before, kept, {}))
    return changes


def installed(agent: Agent, path: Path) -> bool:
    """Is our entry in the file? False where the file cannot be read."""
    try:
        return is_ours(_editor(path).entry_in(read(path) or "", agent.container, NAME))
    except (CannotEdit, InstallFailed):
        return False


def is_ours(entry: Any) -> bool:
    """By what it runs: `embedserve .. mcp` or `python -m embedserve.cli mcp`."""
    if not isinstance(entry, dict):
        return False
    command = entry.get("command")
    words = command if isinstance(command, list) else [command, *(entry.get("args") or [])]
    words = [str(word) for word in words]
    program = words[0].replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
    return "mcp" in words and (program == NAME or "embedserve.cli" in words)


def read(path: Path) -> str | None:
    """The file's text, line endings kept; None: there is no such file. Raises InstallFailed."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise InstallFailed(f"{path} is not UTF-8; nothing was changed") from None
    except OSError as error:
        raise InstallFailed(f"{path} cannot be read ({error.strerror or error}); nothing was changed") from None


def write(change: Change) -> None:
    """Do it: a new file beside the old one, put in its place in one step; links are followed. Raises InstallFailed."""
    path = Path(os.path.realpath(change.path))
    if read(path) != change.before:
        raise InstallFailed(f"{path} was changed meanwhile (is the agent running?); run the same command again")
    try:
        if change.after is None:
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(change.after.encode("utf-8"))
            os.chmod(temporary, path.stat().st_mode & 0o7777 if path.exists() else 0o600)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise InstallFailed(f"{path} cannot be written ({error.strerror or error})") from None


def _editor(path: Path) -> Any:
    return edit_toml if path.suffix == ".toml" else edit_json


@contextlib.contextmanager
def _named(agent: Agent, path: Path) -> Any:
    try:
        yield
    except CannotEdit as error:
        raise InstallFailed(f"{agent.title}: {path}: {error}; nothing was changed") from None
