"""Merges our tasks and hotkeys into the user's own VS Code files, and takes them out again.

    python3 scripts/vscode_merge.py install|uninstall|show|list [--dry-run] [--yes] [--keys alt] [--editor NAME | --all]

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

REPO = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.append(os.path.join(REPO, "embeddings", "embedserve", "agents"))  # one file of it, which imports nothing

import jsonc  # noqa: E402
import vscode_editors  # noqa: E402
import vscode_keys  # noqa: E402
from vscode_editors import Editor  # noqa: E402
from vscode_user import Failed, Plan, diff, read, this_platform, user_dir, write  # noqa: E402

RUN_TASK = "workbench.action.tasks.runTask"
RENAMED = " (before embedserve)"
FILES = ("tasks.json", "keybindings.json")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="manage.sh vscode", description="Put our tasks and hotkeys into VS Code, or take them out."
    )
    parser.add_argument("action", choices=["install", "uninstall", "show", "list"], help="list: where ours are")
    parser.add_argument("--dry-run", action="store_true", help="print the changes and make none")
    parser.add_argument("--yes", action="store_true", help="ours win where they clash with yours, without asking")
    parser.add_argument(
        "--keys",
        choices=["default", "alt"],
        default="default",
        help="alt: Ctrl+K, then the same last key; takes nothing",
    )
    parser.add_argument(
        "--editor", metavar="NAME", help="of several, this one: 'VS Code', VSCodium, Cursor, Windsurf, .."
    )
    parser.add_argument("--all", action="store_true", help="all editors that are here")
    parser.add_argument("--user-dir", help="an editor's User folder (a profile, a portable one)")
    parser.add_argument("--remove-backups", action="store_true", help="with uninstall: also the copies that were kept")
    parser.add_argument("--platform", choices=["macos", "linux", "wsl", "windows"], help="default: this one")
    args = parser.parse_args(argv)
    try:
        platform = args.platform or this_platform()
        if args.action == "list":
            return list_ours(platform)
        if args.action == "show":
            return show(platform, editors(args, platform, asking=False))
        for editor in editors(args, platform, asking=args.action == "install"):
            os.makedirs(editor.folder, exist_ok=True)
            change(args.action, editor, platform, args)
            if args.action == "uninstall" and args.remove_backups:
                for path in vscode_editors.backups(editor.folder):
                    os.remove(path)
                    print(f"removed {path}")
        return 0
    except Failed as error:
        print(f"manage.sh vscode: {error}", file=sys.stderr)
        return 1


def editors(args: argparse.Namespace, platform: str, asking: bool) -> list[Editor]:
    """Install asks which; uninstall and show take all that are here."""
    if args.user_dir:
        return [Editor("the editor", user_dir(args.user_dir))]
    return vscode_editors.choose(platform, args.editor, args.all or not asking)


def change(action: str, editor: Editor, platform: str, args: argparse.Namespace) -> None:
    """Plans both files first, so that a mistake in one leaves the other alone too."""
    plans = []
    for name in FILES:
        path = os.path.realpath(os.path.join(editor.folder, name))  # a linked dotfile stays a link
        text = read(path)
        try:
            if action == "install":
                plan = install(name, text, platform, args.keys)
            else:
                plan = Plan(text, uninstall(name, text), [])
        except jsonc.JsoncError as error:
            raise Failed(f"{path} is not valid JSON with comments ({error}). Nothing was changed.") from None
        plans.append((path, plan))
    if not any(plan.before != plan.after for _, plan in plans):
        done = "is already installed" if action == "install" else "is not installed"
        print(f"nothing to do: embedserve {done} in {editor.folder}")
        return
    clashes = [(path, clash) for path, plan in plans for clash in plan.clashes]
    for path, clash in clashes:
        print(f"{path}: {clash}")
    if args.dry_run:
        for path, plan in plans:
            sys.stdout.write(diff(path, plan))
        return
    if clashes and not args.yes:
        ask()
    for path, plan in plans:
        if plan.before != plan.after:
            write(path, plan)
    if action == "install":
        print(f"\n{table(args.keys)}\n")
        print("\n".join(vscode_keys.takes(platform, args.keys)))
        print(f"{editor.name} reads them at once; no restart is needed. Out again: manage.sh vscode uninstall")


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


def wanted(name: str, platform: str, keys: str = "default") -> list[dict[str, Any]]:
    entries = copy.deepcopy(template(name))
    if name == "keybindings.json":
        return vscode_keys.bindings(entries, keys)
    for entry in entries:
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


def is_ours(name: str, value: Any) -> bool:
    """By what it does, so that one whose details were changed, or of an older install, is known too."""
    if not isinstance(value, dict):
        return False
    if name == "tasks.json":
        return value.get("label") in labels() and "manage.sh" in json.dumps([value.get("command"), value.get("args")])
    both = [binding for keys in ("default", "alt") for binding in vscode_keys.bindings(template(name), keys)]
    keys = {(vscode_keys.strokes(binding["key"]), binding["args"]) for binding in both}
    return value.get("command") == RUN_TASK and (vscode_keys.strokes(value.get("key")), value.get("args")) in keys


# --- install and uninstall, on texts


def install(name: str, text: str | None, platform: str, keys: str = "default") -> Plan:
    entries = wanted(name, platform, keys)
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
    clashes, body = settle(name, body, root, had, keys)
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


def settle(name: str, body: str, root: jsonc.Node, had: Any, keyset: str) -> tuple[list[str], str]:
    """The user's entries that clash with ours (those accepted at an earlier install are not asked about again), and
    the text with clashing tasks renamed."""
    clashes, edits = [], []
    target = root if name == "keybindings.json" else array_of_tasks(root)
    ours = vscode_keys.bindings(template("keybindings.json"), keyset)
    for item in (target.items or []) if target is not None else []:
        value = item.node.value
        if not isinstance(value, dict):
            continue
        if name == "keybindings.json":
            does = str(value.get("command", ""))
            hit = [b for b in ours if vscode_keys.clash(b["key"], value.get("key"))]
            same = does == RUN_TASK and any(value.get("args") == b["args"] for b in hit)
            if hit and vscode_keys.strokes(hit[0]["key"]) not in had and not same and not does.startswith("-"):
                clashes.append("your {} ({}) is ours for '{}'".format(value["key"], does, hit[0]["args"]))
        elif value.get("label") in labels():
            if value["label"] + RENAMED not in had:
                clashes.append("you have a task '{0}' too; it would become '{0}{1}'".format(value["label"], RENAMED))
            end = [i for i in item.node.items or [] if i.key == "label"][-1].node.end - 1
            edits.append((end, end, RENAMED))
    return clashes, jsonc.edit(body, edits)


def known(name: str, values: list[Any]) -> Any:
    return {vscode_keys.strokes(value["key"]) if name == "keybindings.json" else value["label"] for value in values}


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


def table(keys: str = "default") -> str:
    """The hotkeys, as the help task shows them."""
    tasks = {task["label"]: task["detail"] for task in template("tasks.json")}
    rows: dict[str, dict[str, str]] = {}
    for binding in vscode_keys.bindings(template("keybindings.json"), keys):
        platform = "macos" if binding["key"].startswith("cmd") else "linux"
        rows.setdefault(binding["args"], {}).setdefault(platform, vscode_keys.shown(binding["key"], platform))
    lines = ["macOS   Windows, Linux   task"]
    for label, shown in rows.items():
        lines.append("{:<8}{:<17}{:<28}{}".format(shown["macos"], shown["linux"], label, tasks[label]))
    return "\n".join(lines)


def show(platform: str, here: list[Editor]) -> int:
    keys = "default"
    states = []
    for editor in here:
        for name in FILES:
            path = os.path.join(editor.folder, name)
            try:
                text = read(path)
                values = installed_values(name, text) if text else []
            except (Failed, jsonc.JsoncError) as error:
                states.append(f"{path}: {error}")
                continue
            states.append(f"{path}: {'installed' if values else 'not installed'}")
            if name == "keybindings.json" and values and " " in values[0]["key"]:
                keys = "alt"
    print(table(keys))
    print("\n".join([*states, *vscode_keys.takes(platform, keys)]))
    return 0


def list_ours(platform: str) -> int:
    """The folders that hold anything of ours, for manage.sh uninstall; nothing is printed where there is none."""
    for editor in vscode_editors.found(platform):
        texts = [(name, read(os.path.join(editor.folder, name))) for name in FILES]
        if vscode_editors.backups(editor.folder) or any(text and jsonc.BEGIN_START in text for _, text in texts):
            print(editor.folder)
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # Windows' console would refuse ⌘
    sys.exit(main())
