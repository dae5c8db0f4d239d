"""Law: what is ignored costs no watch, and no change of what is not ignored goes unnoticed, whatever folders do."""

import glob
import os
import random
import shutil
import subprocess
import sys
import threading
import time

import pytest

from embedserve.indexing.events import Events
from embedserve.indexing.folders import folders
from embedserve.indexing.ignore import Chosen
from embedserve.indexing.walk import walk, wanted

linux = pytest.mark.skipif(sys.platform != "linux", reason="one watch a folder is Linux's way")


def git(folder, *arguments):
    options = ("-c", "user.email=a@b", "-c", "user.name=a", "-c", "protocol.file.allow=always")
    subprocess.run(["git", "-C", str(folder), *options, *arguments], check=True, capture_output=True)


def write(path, text="x = 1\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(params=["git", "rules"])
def tree(tmp_path, request):
    top = tmp_path / "w"
    for name in ("src/deep/er/a.py", "docs/b.md", "build/x/y/z.py", "node_modules/p/q/r.js", "logs/today/l.py"):
        write(top / name)
    write(top / ".gitignore", "build/\nlogs/\n")
    if request.param == "git":
        git(top, "init", "-q")
    return top


KEPT = {"", "src", "src/deep", "src/deep/er", "docs"}


def watches():
    """Inotify's watches of this process, as the kernel counts them: file descriptor -> how many."""
    found = {}
    for info in glob.glob("/proc/self/fdinfo/*"):
        try:
            with open(info) as file:
                found[info] = sum(line.startswith("inotify wd:") for line in file)
        except FileNotFoundError:
            pass
    return {info: count for info, count in found.items() if count}


def become(expected, before):
    """Whether there come to be as many watches on other descriptors than those of `before`, which other tests may have
    left. A watch that is closed ends in a thread of its own, soon."""
    until = time.monotonic() + 10
    while (found := sum(count for info, count in watches().items() if info not in before)) != expected:
        if time.monotonic() > until:
            raise AssertionError(f"{found} watches, not {expected}")
        time.sleep(0.02)
    return True


class Watching:
    def __init__(self, top, chosen=None):
        self.top = str(top)
        self.events = Events(self.top, lambda: folders(self.top, chosen), lambda path: path.endswith(".gitignore"))
        self.events.open()

    def until(self, *expected):
        """Everything that changed, until what is expected is among it or below it."""
        seen = set()
        for _ in range(20):
            seen |= self.events.wait()
            if all(any(name == one or name.startswith(one + "/") for one in seen) for name in expected):
                return seen
        raise AssertionError(f"{expected} not seen, but {seen}")


@pytest.fixture
def watching(tree):
    made = Watching(tree)
    yield made
    made.events.close()


def test_the_folders_are_those_that_a_walk_finds_files_in(tree):
    assert folders(str(tree)) == KEPT
    assert {os.path.dirname(file.relative) for file in walk(str(tree)).files} <= KEPT


@linux
def test_the_kernel_watches_the_folders_that_are_not_ignored_and_no_other(tree):
    before = watches()
    made = Watching(tree)
    assert become(len(KEPT), before)
    for number in range(50):
        (tree / "node_modules" / f"n{number}").mkdir()
    write(tree / "src" / "new" / "c.py")
    made.until("src/new/c.py")
    assert become(len(KEPT) + 1, before)
    made.events.close()
    assert become(0, before)


def test_what_options_leave_out_is_not_watched(tree):
    assert folders(str(tree), Chosen(exclude=["docs/"])) == KEPT - {"docs"}
    assert folders(str(tree), Chosen(include=["*.md"])) == KEPT  # any folder may hold one


def test_folders_that_come_are_watched_with_all_that_is_in_them(tree, watching):
    write(tree / "pkg" / "one" / "two" / "a.py")
    watching.until("pkg/one/two/a.py")
    write(tree / "pkg" / "one" / "two" / "b.py")
    assert "pkg/one/two/b.py" in watching.until("pkg/one/two/b.py")


def test_a_folder_that_is_swapped_by_rename_is_watched_in_its_new_life(tree, tmp_path, watching):
    write(tmp_path / "other" / "deep" / "n.py")
    (tree / "src").rename(tmp_path / "old")
    (tmp_path / "other").rename(tree / "src")
    watching.until("src")
    write(tree / "src" / "deep" / "later.py")
    watching.until("src/deep/later.py")


def test_a_folder_that_is_no_longer_ignored_is_watched(tree, watching):
    write(tree / ".gitignore", "logs/\n")
    watching.until(".gitignore")
    write(tree / "build" / "x" / "new.py")
    watching.until("build/x/new.py")


def test_files_that_come_while_watches_are_renewed_are_all_noticed(tree, watching):
    pick, names = random.Random(3), []

    def work():
        for number in range(120):
            folder = "/".join(pick.choice("abc") for _ in range(pick.randrange(1, 5)))
            names.append(f"{folder}/f{number}.py")
            write(tree / names[-1])
            if number % 40 == 20:
                shutil.rmtree(tree / "a", ignore_errors=True)

    thread = threading.Thread(target=work)
    thread.start()
    seen = watching.until("a")
    thread.join()
    there = [name for name in names if (tree / name).exists()]
    missing = [n for n in there if not any(n == one or n.startswith(one + "/") for one in seen)]
    if missing:
        watching.until(*missing)


@pytest.fixture
def with_submodule(tmp_path):
    inner, top = tmp_path / "inner", tmp_path / "w"
    write(inner / "lib" / "a.py")
    write(inner / "out" / "o.py")
    write(inner / ".gitignore", "out/\n*.log\n")
    git(inner, "init", "-q")
    git(inner, "add", ".")
    git(inner, "commit", "-qm", "x")
    write(top / "m.py")
    write(top / ".gitignore", "*.log\n")
    git(top, "init", "-q")
    git(top, "submodule", "add", "-q", str(inner), "sub")
    write(top / "sub" / "out" / "p.py")
    write(top / "nested" / "src" / "n.py")
    git(top / "nested", "init", "-q")
    return top


def test_submodules_are_watched_by_their_own_rules_and_nested_repositories_are_not(with_submodule):
    assert folders(str(with_submodule)) == {"", "sub", "sub/lib"}


def test_a_change_in_a_submodule_spoils_no_question_about_others(with_submodule):
    """Regression: git dies of a path in a submodule, and what was asked after it counted as not ignored."""
    asked = {"a.log", "sub/lib/a.py", "sub/x.log", "sub/out/p.py", "z.log", "z.py", "nested/src/n.py"}
    assert wanted(str(with_submodule), asked) == {"sub/lib/a.py", "z.py"}


def test_vendored_folders_cost_no_run_even_where_git_lists_them(tree):
    asked = {"node_modules/p/q/r.js", "node_modules/new.js", "src/a.py"}
    assert wanted(str(tree), asked) == {"src/a.py"}


def test_a_folder_that_is_gone_is_looked_at_whatever_is_included(tree):
    assert wanted(str(tree), {"gone", "docs/b.md"}, Chosen(include=["*.py"])) == {"gone"}
