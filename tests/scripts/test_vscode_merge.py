"""manage.sh vscode: our tasks and hotkeys in the user's own files, and out of them again."""

import ast
import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

import vscode_merge  # noqa: E402  (it makes jsonc importable)
from vscode_merge import jsonc  # noqa: E402

LABELS = ["startall + warmup", "stopall", "restartall", "qdrant restart", "jina start + warmup", "jina stop",
          "help: embeddings shortcuts"]  # fmt: skip
KEYBINDINGS = """\
// Place your key bindings in this file to override the defaults
[
    // mine
    {
        "key": "cmd+k cmd+t", // two strokes
        "command": "workbench.action.terminal.new",
    },
    { "key": "ctrl+shift+-", "command": "-workbench.action.zoomOut" }, /* not this one */
    {"key":"f5","command":"x","args":{"text":"// no comment, \\"quoted\\" }]"}} // the last
    /* and a word
       at the end */
]
"""
TASKS = """\
{
\t// See https://go.microsoft.com/fwlink/?LinkId=733558
\t"version": "2.0.0",
\t"tasks": [
\t\t{
\t\t\t"label": "build", "type": "shell", "command": "make",
\t\t},
\t],
\t"inputs": []
}
"""


def run(folder, *words, **process):
    """The command; a process of its own, whose start takes longer than its work, only where it is asked for."""
    if folder is not None:
        words += ("--user-dir", str(folder))
    if process:
        return run_process(*words, **process)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = vscode_merge.main(list(words))
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def run_process(*words, env=None, stdin=subprocess.DEVNULL, python=sys.executable):
    command = [python, str(SCRIPTS / "vscode_merge.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, stdin=stdin, env={**os.environ, **(env or {})})


def files(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir() if not p.name.endswith(".bak")}


def fill(folder, tasks=None, keybindings=None):
    for name, text in (("tasks.json", tasks), ("keybindings.json", keybindings)):
        if text is not None:
            (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return files(folder)


def parsed(path):
    return jsonc.parse(Path(path).read_bytes().decode()).root.value


REALISTIC = {
    "comments, trailing commas, other bindings": (TASKS, KEYBINDINGS),
    "CRLF": (TASKS.replace("\n", "\r\n"), KEYBINDINGS.replace("\n", "\r\n")),
    "BOM": ("\ufeff" + TASKS, "\ufeff" + KEYBINDINGS),
    "no files": (None, None),
    "empty files": ("", ""),
    "white space alone": ("\r\n  ", "\n"),
    "a comment alone, no line break": ("// tasks", "/* keys */"),
    "empty brackets": ("{}", "[]"),
    "brackets with a comment": ("{ /* none */ }", "[\n    // none yet\n]\n"),
    "one line": ('{"version":"2.0.0","tasks":[{"label":"a"}]}', '[{"key":"a","command":"b"}]'),
    "no tasks yet": ('{\n  "version": "2.0.0"\n}\n', "[\n]\n"),
    "tasks is empty": ('{\n  "version": "2.0.0",\n  "tasks": []\n}\n', "[ ]"),
    "inputs alone": ('{"inputs": [],}', '[{"key":"a","command":"b"},]'),
    "two spaces": ('{\n  "tasks": [\n    {"label": "x"}\n  ]\n}', '[\n  {"key": "a", "command": "b"}\n]'),
}


@pytest.mark.parametrize("case", REALISTIC)
def test_uninstall_gives_the_original_bytes_back(tmp_path, case):
    before = fill(tmp_path, *REALISTIC[case])
    assert run(tmp_path, "install").returncode == 0
    labels = [t["label"] for t in parsed(tmp_path / "tasks.json")["tasks"]]
    assert labels[-7:] == LABELS
    bindings = parsed(tmp_path / "keybindings.json")
    assert [b["args"] for b in bindings[-14:]] == LABELS * 2
    assert run(tmp_path, "uninstall").returncode == 0
    assert files(tmp_path) == before


@pytest.mark.parametrize("case", REALISTIC)
def test_a_second_install_changes_nothing_and_so_does_a_second_uninstall(tmp_path, case):
    fill(tmp_path, *REALISTIC[case])
    run(tmp_path, "install")
    before = files(tmp_path)
    again = run(tmp_path, "install")
    assert again.returncode == 0
    assert "nothing to do: embedserve is already installed" in again.stdout
    assert files(tmp_path) == before
    run(tmp_path, "uninstall")
    assert "nothing to do: embedserve is not installed" in run(tmp_path, "uninstall").stdout


def test_all_that_was_there_stays_as_it_was_and_ours_come_after(tmp_path):
    fill(tmp_path, TASKS, KEYBINDINGS)
    run(tmp_path, "install")
    text = (tmp_path / "keybindings.json").read_text()
    ours = text.index("// >>> embedserve")
    for line in KEYBINDINGS.splitlines()[:-1]:
        assert line in text[:ours].replace(' }]"}}, //', ' }]"}} //'), line
    assert (tmp_path / "tasks.json").read_text().startswith(TASKS.split("\t],")[0])


def test_line_endings_and_indentation_are_the_files_own(tmp_path):
    fill(tmp_path, TASKS.replace("\n", "\r\n"), KEYBINDINGS.replace("\n", "\r\n"))
    run(tmp_path, "install")
    for name in ("tasks.json", "keybindings.json"):
        data = (tmp_path / name).read_bytes()
        assert data.count(b"\n") == data.count(b"\r\n"), name
    assert b"\r\n\t\t// >>> embedserve" in (tmp_path / "tasks.json").read_bytes()


def test_the_tasks_run_this_checkouts_manage_sh(tmp_path):
    run(tmp_path, "install", "--platform", "linux")
    tasks = {t["label"]: [t["command"], *t["args"]] for t in parsed(tmp_path / "tasks.json")["tasks"]}
    manage = str(SCRIPTS / "manage.sh")
    assert tasks == {
        "startall + warmup": [manage, "start", "all"],
        "stopall": [manage, "stop", "all"],
        "restartall": [manage, "restart", "all"],
        "qdrant restart": [manage, "restart", "qdrant"],
        "jina start + warmup": [manage, "start", "jina"],
        "jina stop": [manage, "stop", "jina"],
        "help: embeddings shortcuts": [manage, "vscode", "show"],
    }


def test_the_keys_are_the_documented_ones_and_each_platform_has_its_own():
    bindings = vscode_merge.template("keybindings.json")
    for modifier, platform in (("cmd", "isMac"), ("ctrl", "isLinux"), ("ctrl", "isWindows")):
        mine = {b["args"]: b["key"] for b in bindings if platform in b["when"]}
        assert list(mine) == LABELS
        assert list(mine.values()) == [f"{modifier}+shift+{k}" for k in "9-=8760"]
    assert all(set(b) == {"key", "command", "args", "when"} for b in bindings)


# --- what changes after the install stays


def test_edits_made_since_stay_when_ours_are_taken_out(tmp_path):
    fill(tmp_path, TASKS, KEYBINDINGS)
    run(tmp_path, "install")
    path = tmp_path / "keybindings.json"
    path.write_text(path.read_text().replace('"key":"f5"', '"key":"f6"'))
    run(tmp_path, "uninstall")
    assert path.read_text() == KEYBINDINGS.replace('"key":"f5"', '"key":"f6"')


@pytest.mark.parametrize("start", ["[]", "[\n]\n", KEYBINDINGS, '[{"key":"a","command":"b"},]'])
def test_a_binding_that_vs_code_itself_added_inside_our_markers_stays(tmp_path, start):
    """VS Code appends right after the last element, that is before our closing comment."""
    fill(tmp_path, None, start)
    had = jsonc.parse(start).root.value
    run(tmp_path, "install")
    path = tmp_path / "keybindings.json"
    text = path.read_text()
    last = text.rindex("}")
    mine = {"key": "f9", "command": "mine"}
    path.write_text(text[: last + 1] + ",\n    " + json.dumps(mine) + text[last + 1 :])
    run(tmp_path, "install")  # an update in between
    assert mine in parsed(path)
    run(tmp_path, "uninstall")
    assert parsed(path) == [*had, mine]
    assert "embedserve" not in path.read_text()


def test_a_binding_written_after_our_block_stays(tmp_path):
    fill(tmp_path, None, KEYBINDINGS)
    run(tmp_path, "install")
    path = tmp_path / "keybindings.json"
    text = path.read_text()
    last, end = text.rindex("}"), text.index("[c]") + 3
    mine = {"key": "f9", "command": "mine"}
    path.write_text(f"{text[: last + 1]},{text[last + 1 : end]}\n    {json.dumps(mine)}{text[end:]}")
    assert "nothing to do" in run(tmp_path, "install").stdout
    run(tmp_path, "uninstall")
    assert parsed(path) == [*jsonc.parse(KEYBINDINGS).root.value, mine]
    assert "// the last" in path.read_text()


def test_a_task_added_to_a_list_that_was_ours_stays(tmp_path):
    fill(tmp_path, "{}")
    run(tmp_path, "install")
    path = tmp_path / "tasks.json"
    path.write_text(path.read_text().replace('"tasks": [', '"tasks": [ { "label": "mine" },'))
    run(tmp_path, "uninstall")
    assert parsed(path) == {"version": "2.0.0", "tasks": [{"label": "mine"}]}


def test_an_entry_of_ours_that_was_edited_is_still_taken_out(tmp_path):
    fill(tmp_path, TASKS)
    run(tmp_path, "install")
    path = tmp_path / "tasks.json"
    path.write_text(path.read_text().replace('"reveal": "always"', '"reveal": "silent"', 1))
    run(tmp_path, "uninstall")
    assert path.read_text() == TASKS


def test_an_older_install_of_ours_is_replaced(tmp_path):
    fill(tmp_path, TASKS, KEYBINDINGS)
    run(tmp_path, "install")
    for name in ("tasks.json", "keybindings.json"):
        path = tmp_path / name
        old = path.read_text().replace(str(ROOT), "/elsewhere/old").replace(', "when": "isMac"', "")
        path.write_text(old)
    result = run(tmp_path, "install")
    assert result.returncode == 0, result.stderr  # nothing to ask about
    assert "/elsewhere/old" not in (tmp_path / "tasks.json").read_text()
    assert [b["args"] for b in parsed(tmp_path / "keybindings.json") if "args" in b][-14:] == LABELS * 2
    run(tmp_path, "uninstall")
    assert files(tmp_path) == {"tasks.json": TASKS.encode(), "keybindings.json": KEYBINDINGS.encode()}


# --- clashes

CLASHING_KEYS = '[ { "key": "shift+CTRL+9", "command": "mine" } ]'
CLASHING_TASKS = '{ "tasks": [ { "label": "stopall", "command": "docker stop x" } ] }'


def test_a_clash_is_shown_and_without_an_answer_nothing_is_changed(tmp_path):
    before = fill(tmp_path, CLASHING_TASKS, CLASHING_KEYS)
    result = run(tmp_path, "install")
    assert result.returncode == 1
    assert "your shift+CTRL+9 (mine) is ours for 'startall + warmup'" in result.stdout
    assert "you have a task 'stopall' too; it would become 'stopall (before embedserve)'" in result.stdout
    assert "Nothing was changed; with --yes ours win" in result.stderr
    assert files(tmp_path) == before


def test_with_yes_ours_win_and_uninstall_gives_yours_back(tmp_path):
    before = fill(tmp_path, CLASHING_TASKS, CLASHING_KEYS)
    assert run(tmp_path, "install", "--yes").returncode == 0
    tasks = [t["label"] for t in parsed(tmp_path / "tasks.json")["tasks"]]
    assert tasks[0] == "stopall (before embedserve)"
    assert tasks.count("stopall") == 1
    assert parsed(tmp_path / "keybindings.json")[0]["command"] == "mine"  # still there; the later one wins
    assert "nothing to do" in run(tmp_path, "install").stdout  # and is not asked about again
    run(tmp_path, "uninstall")
    assert files(tmp_path) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_asks(tmp_path, answer, code):
    before = fill(tmp_path, None, CLASHING_KEYS)
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode() + b"\n")
    result = run(tmp_path, "install", stdin=theirs)
    os.close(ours)
    os.close(theirs)
    assert "Let ours win over yours there?" in result.stdout
    assert result.returncode == code
    assert (files(tmp_path) == before) == bool(code)


def test_a_binding_that_only_removes_a_default_is_no_clash(tmp_path):
    fill(tmp_path, None, '[{"key": "ctrl+shift+=", "command": "-workbench.action.zoomIn"}]')
    assert run(tmp_path, "install").returncode == 0


# --- what is never touched


@pytest.mark.parametrize(
    ("tasks", "keys", "words"),
    [
        ("{", "[]", "tasks.json is not valid JSON with comments (line 1, column 2"),
        ("{}", '[\n  {"key": 1}\n  {"key": 2}\n]', "keybindings.json is not valid JSON with comments (line 3, col"),
        ("{}", "[1] x", "nothing may follow the outermost value"),
        ("{}", "[ /* no end", "this comment has no end"),
        ("{'a': 1}", "[]", "a key in double quotes was expected"),
        ("[]", "[]", "tasks.json is not an object"),
        ("{}", "{}", "keybindings.json is not a list"),
        ('{"tasks": {}}', "[]", '"tasks" in tasks.json is not one list'),
        ('{"version": "0.1.0"}', "[]", "tasks.json has version '0.1.0'"),
        ("{}", b"\xff\xfe[\x00]\x00", "keybindings.json is not UTF-8"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_named_and_neither_file_is_changed(tmp_path, tasks, keys, words):
    before = fill(tmp_path, tasks, keys)
    result = run(tmp_path, "install")
    assert result.returncode == 1
    assert words in result.stderr
    assert "othing was changed" in result.stderr
    assert files(tmp_path) == before
    assert not list(tmp_path.glob("*.bak"))


def test_dry_run_prints_the_diff_and_changes_nothing(tmp_path):
    before = fill(tmp_path, TASKS, KEYBINDINGS)
    result = run(tmp_path, "install", "--dry-run")
    assert result.returncode == 0
    assert "+++ " in result.stdout
    assert '+    { "key": "cmd+shift+9"' in result.stdout
    assert files(tmp_path) == before
    assert not list(tmp_path.glob("*.bak"))


def test_a_backup_is_made_and_a_linked_file_stays_a_link(tmp_path):
    real, user = tmp_path / "dotfiles", tmp_path / "User"
    real.mkdir()
    user.mkdir()
    (real / "keys.json").write_text(KEYBINDINGS)
    (real / "keys.json").chmod(0o600)
    (user / "keybindings.json").symlink_to(real / "keys.json")
    result = run(user, "install")
    assert (user / "keybindings.json").is_symlink()
    assert "embedserve" in (real / "keys.json").read_text()
    assert (real / "keys.json").stat().st_mode & 0o777 == 0o600
    (backup,) = real.glob("*.bak")
    assert backup.read_text() == KEYBINDINGS
    assert str(backup) in result.stdout


# --- the three platforms' folders


def test_macos_linux_and_windows_folders_are_found(tmp_path):
    places = {
        "macos": ("Library/Application Support/Code", {"HOME": str(tmp_path)}),
        "linux": (".config/Code", {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}),
        "windows": ("AppData/Roaming/Code", {"APPDATA": str(tmp_path / "AppData/Roaming")}),
    }
    for platform, (place, env) in places.items():
        missing = run(None, "install", "--platform", platform, env=env)
        assert missing.returncode == 1
        assert f"VS Code has no folder {tmp_path / place / 'User'}" in missing.stderr
        (tmp_path / place).mkdir(parents=True)
        assert run(None, "install", "--platform", platform, env=env).returncode == 0
        assert len(parsed(tmp_path / place / "User/tasks.json")["tasks"]) == 7


@pytest.mark.parametrize("interop", [True, False])
def test_wsl_writes_to_the_windows_side_and_the_tasks_come_back_through_wsl_exe(tmp_path, interop):
    users = tmp_path / "mnt/c/Users"
    roaming = users / "Me Myself/AppData/Roaming"
    (roaming / "Code/User").mkdir(parents=True)
    tools = tmp_path / "tools"
    tools.mkdir()
    if interop:
        script(tools / "cmd.exe", r"printf 'C:\\Users\\Me Myself\\AppData\\Roaming\r\n'")
        script(tools / "wslpath", f'[ "$2" = "C:\\Users\\Me Myself\\AppData\\Roaming" ] && echo "{roaming}"')
    env = {"PATH": str(tools), "WSL_DISTRO_NAME": "Ubuntu-24.04", "WSL_USERS": str(users)}
    assert run(None, "install", env={**env, "PATH": f"{tools}:/bin:/usr/bin"}).returncode == 0
    task = parsed(roaming / "Code/User/tasks.json")["tasks"][0]
    assert task["command"] == "wsl.exe"
    assert task["args"] == ["-d", "Ubuntu-24.04", "--exec", str(SCRIPTS / "manage.sh"), "start", "all"]


def test_on_windows_the_tasks_go_through_gits_bash(tmp_path):
    run(tmp_path, "install", "--platform", "windows", env={"MANAGE_BASH": r"D:\Git\bin\bash.exe"})
    task = parsed(tmp_path / "tasks.json")["tasks"][0]
    assert task["command"] == r"D:\Git\bin\bash.exe"
    assert task["args"] == ["--login", str(SCRIPTS / "manage.sh"), "start", "all"]


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_show_prints_the_key_table_and_what_is_installed(tmp_path):
    before = run(tmp_path, "show").stdout
    assert re.search(r"⌘⇧9 +Ctrl\+Shift\+9 +startall \+ warmup", before)
    assert all(label in before for label in LABELS)
    assert before.count(": not installed") == 2
    assert "Ctrl+Shift+- is Go Forward: kept" in run(tmp_path, "show", "--platform", "linux").stdout
    run(tmp_path, "install")
    assert run(tmp_path, "show").stdout.count(": installed") == 2


# --- what the keys are to the editor, other keys, other editors


def test_go_forward_and_the_terminals_own_key_survive():
    whens = {
        (b["key"], b["args"]): b["when"] for b in vscode_merge.template("keybindings.json") if "Linux" in b["when"]
    }
    assert whens["ctrl+shift+-", "stopall"] == "isLinux && !canNavigateForward || isWindows"
    assert "!terminalFocus" in whens["ctrl+shift+6", "jina stop"]


@pytest.mark.parametrize(
    ("platform", "words"),
    [("linux", "Go Forward"), ("windows", "input language"), ("wsl", "Zoom Out"), ("macos", "⌘⇧- is Zoom Out")],
)
def test_an_install_lists_what_each_key_takes_on_this_platform_and_offers_another_set(tmp_path, platform, words):
    out = run(tmp_path, "install", "--platform", platform).stdout
    assert words in out
    assert "--keys alt" in out


def test_the_other_set_of_keys_is_installed_shown_and_taken_out(tmp_path):
    fill(tmp_path, TASKS, KEYBINDINGS)
    before = files(tmp_path)
    out = run(tmp_path, "install", "--keys", "alt").stdout
    ours = [b for b in parsed(tmp_path / "keybindings.json") if b["command"] == vscode_merge.RUN_TASK]
    linux = {b["args"]: b["key"] for b in ours if "isLinux" in b["when"]}
    assert linux["stopall"] == "ctrl+k -"
    assert {b["args"] for b in ours if "isWindows" in b["when"]} == set(LABELS)
    assert "Ctrl+K -" in out
    assert "Ctrl+K 9" in run(tmp_path, "show").stdout
    run(tmp_path, "install")  # back to the first set: nothing of the other stays
    assert "ctrl+k 9" not in (tmp_path / "keybindings.json").read_text()
    run(tmp_path, "uninstall")
    assert files(tmp_path) == before


@pytest.mark.parametrize("key", ["ctrl+shift+[Minus]", "Shift+Ctrl+[Digit9]", "ctrl+shift+9"])
def test_a_scan_code_for_one_of_our_keys_is_a_clash(tmp_path, key):
    fill(tmp_path, TASKS, json.dumps([{"key": key, "command": "mine"}]))
    result = run(tmp_path, "install")
    assert result.returncode == 1
    assert f"your {key} (mine) is ours for" in result.stdout


def test_every_editor_of_the_family_is_found_listed_and_asked_about(tmp_path):
    names = ["Code", "Code - Insiders", "VSCodium", "Cursor", "Windsurf", "Code - OSS"]
    for name in names:
        (tmp_path / ".config" / name).mkdir(parents=True)
    flatpak = tmp_path / ".var/app/com.vscodium.codium/config/VSCodium"
    flatpak.mkdir(parents=True)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    asked = run(None, "install", "--platform", "linux", env=env)
    assert asked.returncode == 1
    assert "several editors are here" in asked.stderr
    for name in ("VS Code", "VS Code Insiders", "VSCodium", "Cursor", "Windsurf", "Code - OSS", "VSCodium (Flatpak)"):
        assert f"  {name} " in asked.stdout
    assert run(None, "install", "--platform", "linux", "--editor", "cursor", env=env).returncode == 0
    assert run(None, "list", "--platform", "linux", env=env).stdout == f"{tmp_path}/.config/Cursor/User\n"
    assert run(None, "install", "--platform", "linux", "--all", env=env).returncode == 0
    assert (flatpak / "User/tasks.json").exists()
    assert len(run(None, "list", "--platform", "linux", env=env).stdout.splitlines()) == 7
    removed = run(None, "uninstall", "--platform", "linux", "--remove-backups", env=env)
    assert removed.returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert run(None, "list", "--platform", "linux", env=env).stdout == ""


# --- any file at all

space = st.text(st.sampled_from(" \t\n"), max_size=3)
comment = st.one_of(
    st.just(""),
    st.text(st.sampled_from('ab /*,]}"'), max_size=6).filter(lambda t: "*/" not in t).map(lambda t: f"/*{t} */"),
    st.text(st.sampled_from('ab /*,]}" '), max_size=6).map(lambda t: f"//{t}\n"),
)
gap = st.tuples(space, comment, space).map("".join)
scalar = st.one_of(
    st.integers().map(str), st.booleans().map(json.dumps), st.text(max_size=8).map(json.dumps), st.just('"// x"')
)


def container(open_, close, member):
    def build(parts):
        members, inner, trailing = parts
        text = ",".join(f"{a}{m}{b}" for a, m, b in members)
        return open_ + text + ("," if trailing and members else "") + inner + close

    return st.tuples(st.lists(st.tuples(gap, member, gap), max_size=4), gap, st.booleans()).map(build)


entry = container("{", "}", st.tuples(st.sampled_from(['"x"', '"label"', '"key"']), gap, scalar).map(
    lambda p: f"{p[0]}{p[1]}:{p[2]}"))  # fmt: skip
array = container("[", "]", st.one_of(entry, scalar))
tasks_root = container("{", "}", st.tuples(st.just('"inputs"'), gap, scalar).map(lambda p: f"{p[0]}:{p[1]}{p[2]}"))
tasks_root |= st.tuples(gap, array, gap, gap).map(
    lambda p: f'{{"version":{p[0]}"2.0.0","tasks":{p[1]}{p[2]},"a":1{p[3]}}}'
)


def whole(root):
    def build(parts):
        bom, before, body, after, newline = parts
        return (bom + before + body + after).replace("\n", newline)

    return st.tuples(st.sampled_from(["", "\ufeff"]), gap, st.one_of(root, st.just("")), gap,
                     st.sampled_from(["\n", "\r\n", "\r"])).map(build)  # fmt: skip


def there_and_back(name, text):
    plan = vscode_merge.install(name, text, "linux")
    assert vscode_merge.installed_values(name, plan.after) == vscode_merge.wanted(name, "linux")
    assert vscode_merge.uninstall(name, plan.after) == text
    again = vscode_merge.install(name, plan.after, "linux")
    assert again.after == plan.after
    assert not again.clashes


@settings(max_examples=150, deadline=None)
@given(whole(array))
def test_any_keybindings_file_survives_install_and_uninstall(text):
    there_and_back("keybindings.json", text)


@settings(max_examples=150, deadline=None)
@given(whole(tasks_root))
def test_any_tasks_file_survives_install_and_uninstall(text):
    there_and_back("tasks.json", text)


@given(st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
                              st.text()), lambda c: st.lists(c) | st.dictionaries(st.text(), c)))  # fmt: skip
def test_the_parser_reads_what_json_writes(value):
    assert jsonc.parse(json.dumps(value, indent=1)).root.value == value


# --- it needs no environment


def test_it_runs_on_python_3_8_with_the_standard_library_alone(tmp_path):
    for path in (SCRIPTS / "vscode_merge.py", SCRIPTS / "vscode_user.py", Path(jsonc.__file__)):
        ast.parse(path.read_text(), feature_version=(3, 8))
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = [p for p in versions.glob("3.8.*/bin/python") if p.exists()]
    for python in old or [sys.executable]:
        assert subprocess.run([python, "-I", "-S", "-c", "pass"]).returncode == 0
        assert run(tmp_path, "install", python=str(python)).returncode == 0
