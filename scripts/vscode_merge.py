"""Merges our tasks and hotkeys into the user's own VS Code files, and takes them out again.

    python3 scripts/vscode_merge.py install|uninstall|show [--dry-run] [--yes] [--user-dir DIR]

The files are JSON with comments and are edited in place (jsonc.py): our entries come last, between two markers.
A file that cannot be read as such is never touched. What clashes with ours is shown and asked about: a hotkey of the
user's stays in the file and loses to ours (VS Code lets the later entry win); a task of the same label gets
`(before embedserve)` after its label. Uninstalling gives both back. Python 3.8, standard library only.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import sys
from typing import Any

import jsonc
from vscode_user import Failed, Plan, diff, read, this_platform, user_dir, write

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
RUN_TASK = "workbench.action.tasks.runTask"
RENAMED = " (before embedserve)"
ALIASES = {"win": "cmd", "meta": "cmd", "option": "alt"}
FILES = ("tasks.json", "keybindings.json")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="manage.sh vscode", description="Put our tasks and hotkeys into VS Code, or take them out."
    )
    parser.add_argument("action", choices=["install", "uninstall", "show"])
    parser.add_argument("--dry-run", action="store_true", help="print the changes and make none")
    parser.add_argument("--yes", action="store_true", help="ours win where they clash with yours, without asking")
    parser.add_argument("--user-dir", help="VS Code's User folder (Insiders, VSCodium, a profile, a portable one)")
    parser.add_argument("--platform", choices=["macos", "linux", "wsl", "windows"], help="default: this one")
    args = parser.parse_args(argv)
    try:
        platform = args.platform or this_platform()
        if args.action == "show":
            return show(platform, args.user_dir)
        folder = user_dir(platform, args.user_dir)
        return change(args.action, folder, platform, args.dry_run, args.yes)
    except Failed as error:
        print(f"manage.sh vscode: {error}", file=sys.stderr)
        return 1


def change(action: str, folder: str, platform: str, dry_run: bool, yes: bool) -> int:
    """Plans both files first, so that a mistake in one leaves the other alone too."""
    plans = []
    for name in FILES:
        path = os.path.realpath(os.path.join(folder, name))  # a linked dotfile stays a link
        text = read(path)
        try:
            plan = install(name, text, platform) if action == "install" else Plan(text, uninstall(name, text), [])
        except jsonc.JsoncError as error:
            raise Failed(f"{path} is not valid JSON with comments ({error}). Nothing was changed.") from None
        plans.append((path, plan))
    if not any(plan.before != plan.after for _, plan in plans):
        done = "is already installed" if action == "install" else "is not installed"
        print(f"nothing to do: embedserve {done} in {folder}")
        return 0
    clashes = [(path, clash) for path, plan in plans for clash in plan.clashes]
    for path, clash in clashes:
        print(f"{path}: {clash}")
    if dry_run:
        for path, plan in plans:
            sys.stdout.write(diff(path, plan))
        return 0
    if clashes and not yes:
        ask()
    for path, plan in plans:
        if plan.before != plan.after:
            write(path, plan)
    if action == "install":
        print(f"\n{table()}\nVS Code reads them at once; no restart is needed.")
    return 0


def ask() -> None:
    if not sys.stdin.isatty():
        raise Failed(
            "the above clashes with ours. Nothing was changed; with --yes ours win (uninstall gives yours back)."
        )
    answer = input("Let ours win over yours there? Uninstalling gives yours back. [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise Failed("nothing was changed.")


# --- what is to be in the files


@functools.lru_cache(maxsize=None)
def template(name: str) -> list[dict[str, Any]]:
    with open(os.path.join(REPO, "vscode", name), encoding="utf-8") as file:
        root = jsonc.parse(file.read()).root
    assert root is not None
    return list(root.value["tasks"] if name == "tasks.json" else root.value)


def wanted(name: str, platform: str) -> list[dict[str, Any]]:
    entries = copy.deepcopy(template(name))
    for entry in entries:
        if name == "tasks.json":
            entry["command"], entry["args"] = command_line(entry["command"], entry["args"], platform)
    return entries


def command_line(command: str, args: list[str], platform: str) -> tuple[str, list[str]]:
    """How VS Code on that platform runs manage.sh: directly, through wsl.exe, or through Git's bash."""
    script = command.replace("${repo}", REPO.replace("\\", "/"))
    if platform == "wsl":
        distribution = os.environ.get("WSL_DISTRO_NAME")
        return "wsl.exe", (["-d", distribution] if distribution else []) + ["--exec", script] + args
    if platform == "windows":
        return os.environ.get("MANAGE_BASH") or r"C:\Program Files\Git\bin\bash.exe", ["--login", script, *args]
    return script, args


def labels() -> list[str]:
    return [task["label"] for task in template("tasks.json")]


def normal(key: Any) -> str:
    """A hotkey in one spelling: `shift+meta+9` and `Cmd+Shift+9` are the same; of a chord, the first stroke."""
    stroke = str(key).lower().split(" ")[0]
    parts = ([*stroke[:-1].split("+")[:-1], "+"]) if stroke.endswith("++") else stroke.split("+")
    return "+".join(sorted(ALIASES.get(p, p) for p in parts[:-1]) + parts[-1:])


def is_ours(name: str, value: Any) -> bool:
    """By what it does, so that one whose details were changed, or of an older install, is known too."""
    if not isinstance(value, dict):
        return False
    if name == "tasks.json":
        return value.get("label") in labels() and "manage.sh" in json.dumps([value.get("command"), value.get("args")])
    keys = {(normal(binding["key"]), binding["args"]) for binding in template(name)}
    return value.get("command") == RUN_TASK and (normal(value.get("key")), value.get("args")) in keys


# --- install and uninstall, on texts


def install(name: str, text: str | None, platform: str) -> Plan:
    entries = wanted(name, platform)
    document = jsonc.parse(text or "")
    if text is not None and installed_values(name, text) == entries:
        return Plan(text, text, [])
    had = set() if document.root is None else known(name, installed_values(name, text or ""))
    had |= {label + RENAMED for label in labels() if text and json.dumps(label + RENAMED)[1:-1] in text}
    clean = uninstall(name, text)
    created = clean is None
    body = clean or ""
    flags = "f" if created else ""
    if jsonc.parse(body).root is None:
        body, flags = jsonc.wrap(body, "{}" if name == "tasks.json" else "[]"), flags + "r"
    root = jsonc.parse(body).root
    assert root is not None
    clashes, body = settle(name, body, root, had)
    root = jsonc.parse(body).root
    assert root is not None
    container, members = placed(name, root, entries)
    after = jsonc.insert_block(body, container, members, flags)
    if installed_values(name, after) != entries or uninstall(name, after) != clean:
        raise Failed(f"{name} could not be edited safely. Nothing was changed; please report this file's shape.")
    return Plan(text, after, clashes)


def placed(name: str, root: jsonc.Node, entries: list[dict[str, Any]]) -> tuple[jsonc.Node, list[str]]:
    """Where our members go, and their text."""
    if name == "keybindings.json":
        if not isinstance(root.value, list):
            raise Failed("keybindings.json is not a list. Nothing was changed.")
        return root, ["{ " + json.dumps(entry, ensure_ascii=False)[1:-1] + " }" for entry in entries]
    if not isinstance(root.value, dict):
        raise Failed("tasks.json is not an object. Nothing was changed.")
    if root.value.get("version", "2.0.0") != "2.0.0":
        raise Failed(
            "tasks.json has version {!r}; VS Code's is 2.0.0. Nothing was changed.".format(root.value["version"])
        )
    texts = [json.dumps(entry, indent=4, ensure_ascii=False) for entry in entries]
    tasks = array_of_tasks(root)
    if tasks is not None:
        return tasks, texts
    inner = ",\n".join(texts).replace("\n", "\n    ")
    version = [] if "version" in root.value else ['"version": "2.0.0"']
    return root, [*version, f'"tasks": [\n    {inner}\n]']


def array_of_tasks(root: jsonc.Node | None) -> jsonc.Node | None:
    found = [item for item in (root.items or [] if root else []) if item.key == "tasks"]
    if not found:
        return None
    if len(found) > 1 or found[0].node.items is None or not isinstance(found[0].node.value, list):
        raise Failed('"tasks" in tasks.json is not one list. Nothing was changed.')
    return found[0].node


def settle(name: str, body: str, root: jsonc.Node, had: Any) -> tuple[list[str], str]:
    """The user's entries that clash with ours (those accepted at an earlier install are not asked about again), and
    the text with clashing tasks renamed."""
    clashes, edits = [], []
    target = root if name == "keybindings.json" else array_of_tasks(root)
    keys = {normal(b["key"]): b["args"] for b in template("keybindings.json")}
    for item in (target.items or []) if target is not None else []:
        value = item.node.value
        if not isinstance(value, dict):
            continue
        if name == "keybindings.json":
            key, does = normal(value.get("key")), str(value.get("command", ""))
            same = does == RUN_TASK and value.get("args") == keys.get(key)
            if key in keys and key not in had and not same and not does.startswith("-"):
                clashes.append("your {} ({}) is ours for '{}'".format(value["key"], does, keys[key]))
        elif value.get("label") in labels():
            if value["label"] + RENAMED not in had:
                clashes.append("you have a task '{0}' too; it would become '{0}{1}'".format(value["label"], RENAMED))
            end = [i for i in item.node.items or [] if i.key == "label"][-1].node.end - 1
            edits.append((end, end, RENAMED))
    return clashes, jsonc.edit(body, edits)


def known(name: str, values: list[Any]) -> Any:
    return {normal(value["key"]) if name == "keybindings.json" else value["label"] for value in values}


def installed_values(name: str, text: str) -> list[Any]:
    """The entries of ours that are in the file, in our block."""
    document = jsonc.parse(text)
    block = jsonc.find_block(document)
    target = document.root if name == "keybindings.json" else array_of_tasks(document.root)
    return [
        item.node.value
        for item in (target.items or [] if target else [])
        if block and block.begin.start < item.start < block.end.start and is_ours(name, item.node.value)
    ]


def uninstall(name: str, text: str | None) -> str | None:
    """The text without ours; None when the file was ours alone."""
    document = jsonc.parse(text or "")
    if text is None or document.root is None:
        return text
    root = document.root
    tasks = array_of_tasks(root) if name == "tasks.json" else None
    block = jsonc.find_block(document)
    if not any(c.text.startswith((jsonc.BEGIN_START, jsonc.END_START)) for c in document.comments):
        return text
    if name == "keybindings.json" or (tasks is not None and block and tasks.start < block.begin.start):
        container = tasks or root
        result, exact = jsonc.remove_block(text, container, lambda item: is_ours(name, item.node.value))
    else:
        result, exact = jsonc.remove_block(text, root, is_our_member, tasks)
    flags = block.flags if block else ""
    if exact and "r" in flags:
        unwrapped = jsonc.unwrap(result, "{}" if name == "tasks.json" else "[]")
        if "f" in flags and unwrapped == "":
            return None
        result = unwrapped
    return given_back(result) if tasks is not None else result


def is_our_member(item: jsonc.Item) -> bool:
    if item.key == "tasks":
        return all(is_ours("tasks.json", value) for value in item.node.value)
    if item.key == "version":
        return item.node.value == "2.0.0"
    return item.key is None and is_ours("tasks.json", item.node.value)


def given_back(text: str) -> str:
    """Tasks that had to be renamed get their labels back."""
    tasks = array_of_tasks(jsonc.parse(text).root)
    edits = []
    for task in (tasks.items or []) if tasks is not None else []:
        for item in task.node.items or []:
            if item.key == "label" and item.node.value in [label + RENAMED for label in labels()]:
                edits.append((item.node.end - 1 - len(RENAMED), item.node.end - 1, ""))
    return jsonc.edit(text, edits)


# --- what is shown


def table() -> str:
    """The hotkeys, as the help task shows them."""
    tasks = {task["label"]: task["detail"] for task in template("tasks.json")}
    rows: dict[str, dict[str, str]] = {}
    for binding in template("keybindings.json"):
        modifier, rest = binding["key"].split("+", 1)
        rows.setdefault(binding["args"], {})[modifier] = rest.rsplit("+", 1)[-1]
    lines = ["macOS   Windows, Linux   task"]
    for label, keys in rows.items():
        lines.append("⌘⇧{:<6}Ctrl+Shift+{:<6}{:<28}{}".format(keys["cmd"], keys["ctrl"], label, tasks[label]))
    return "\n".join(lines)


def show(platform: str, given: str | None) -> int:
    print(table())
    try:
        folder = user_dir(platform, given)
        for name in FILES:
            text = read(os.path.join(folder, name))
            state = "installed" if text and installed_values(name, text) else "not installed"
            print(f"{os.path.join(folder, name)}: {state}")
    except (Failed, jsonc.JsoncError) as error:
        print(f"VS Code: {error}")
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # Windows' console would refuse ⌘
    sys.exit(main())
