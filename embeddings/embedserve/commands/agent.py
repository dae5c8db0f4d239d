"""`embedserve agent install|uninstall|status`: our MCP server in the configuration of coding agents."""

from __future__ import annotations

import argparse
import os
import sys

ACTIONS = ("install", "uninstall", "status")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="status: where it is installed")
    parser.add_argument(
        "agents", nargs="*", metavar="AGENT", help="claude, codex, cursor, vscode, opencode, zoo, kilo (several)"
    )
    parser.add_argument("--all", action="store_true", help="every one of them that is on this machine")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--embeddings-url", metavar="URL", help="write this option of `embedserve mcp` into the entry")
    parser.add_argument("--qdrant-url", metavar="URL", help="write this option of `embedserve mcp` into the entry")
    parser.add_argument("--model", help="write this option of `embedserve mcp` into the entry")


def run(args: argparse.Namespace) -> int:
    from embedserve.agents import install
    from embedserve.agents.known import AGENTS, Machine

    machine = Machine.this()
    if args.action == "status":
        agents = install.chosen(args.agents, False, machine) if args.agents else list(AGENTS)
        for agent in agents:
            for path in agent.files(machine):
                state = "installed" if install.installed(agent, path) else "not installed"
                here = "" if agent.is_here(machine) else " (not on this machine)"
                print(f"{agent.name:<9} {state:<14} {path}{here}")
        return 0
    agents = install.chosen(args.agents, args.all, machine)
    if args.action == "install":
        changes = install.plan_install(agents, _command(args), machine)
        lines = [change.line() for change in changes]
    else:
        changes = install.plan_uninstall(agents, machine)
        lines = [change.removal_line() for change in changes]
    print("\n".join(lines))
    if args.dry_run:
        return 0
    for change in changes:
        if change.needed:
            install.write(change)
            if args.action == "install":
                print(f"{change.agent.title}: done; {change.agent.reload}")
            else:
                print(f"{change.agent.title}: done")
    return 0


def _command(args: argparse.Namespace) -> list[str]:
    """The command line that an agent runs: absolute, since an editor started from a desktop knows no PATH of ours."""
    script = os.path.join(os.path.dirname(sys.executable), "embedserve" + (".exe" if sys.platform == "win32" else ""))
    command = [script] if os.path.isfile(script) else [sys.executable, "-m", "embedserve.cli"]
    command.append("mcp")
    for option in ("embeddings_url", "qdrant_url", "model"):
        if value := getattr(args, option):
            command += ["--" + option.replace("_", "-"), value]
    return command
