"""Which files are indexed, and what is said of the others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from embedserve.errors import SetupError
from embedserve.indexing.ignore import Chosen
from embedserve.indexing.report import Report
from embedserve.indexing.walk import Walk, walk, wanted


@pytest.fixture(params=["git", "our own rules"])
def judge(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test that asks for it runs with git's list, and as on a machine without git."""
    if request.param != "git":
        monkeypatch.setattr("embedserve.indexing.walk.listing", lambda *_: None)
    return str(request.param)


def git(folder: Path, *arguments: str) -> list[str]:
    """The lines that git answers."""
    options = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().splitlines()


def write(root: Path, *names: str, text: str = "x = 1\n") -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(found: Walk) -> list[str]:
    return [file.relative for file in found.files]


def test_hidden_and_built_folders_are_left_out_as_the_clients_do(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "src/b.ts", "node_modules/x.js", "src/vendor/y.go", "dist/z.js", ".git/c.py", ".hid.py")
    write(tmp_path, "target/dependency/d.java", "target/e.java", "notes.bin", "Dockerfile", "package-lock.json")
    assert names(walk(str(tmp_path))) == ["Dockerfile", "a.py", "src/b.ts", "target/e.java"]


def test_nested_gitignore_files_negation_and_the_exclude_file_agree_with_git(tmp_path: Path, judge: str) -> None:
    """Git itself is the judge: `git ls-files --others --exclude-standard`."""
    files = ["a.py", "b.py", "keep/b.py", "keep/deep/b.py", "gen/x.py", "gen/y.py", "sub/gen/x.py", "logs/l.py"]
    files += ["sub/only.py", "sub/not_this.py", "root_only.py", "sub/root_only.py", "ex.py", "sub/space name.py"]
    write(tmp_path, *files)
    (tmp_path / ".gitignore").write_text("b.py\n!keep/b.py\n/root_only.py\ngen/*\n!gen/y.py\nlogs/\n# no\n")
    (tmp_path / "keep" / "deep" / ".gitignore").write_text("!b.py\n")
    (tmp_path / "sub" / ".gitignore").write_text("*\n!only.py\n!space*\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".git" / "info" / "exclude").write_text("ex.py\n")
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "*.py"], cwd=tmp_path, check=True, capture_output=True
    )
    expected = sorted(line.strip('"') for line in listed.stdout.decode().splitlines())
    assert sorted(names(walk(str(tmp_path)))) == expected
    assert "keep/deep/b.py" in expected  # the test tests something
    inner = names(walk(str(tmp_path / "sub")))  # a workspace inside a repository: the rules above it count
    assert inner == [name[4:] for name in expected if name.startswith("sub/")]


def test_a_workspace_that_its_repository_ignores_is_indexed_all_the_same(tmp_path: Path) -> None:
    write(tmp_path, "versions/lib/a.py")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("/versions/*\n")
    assert names(walk(str(tmp_path))) == []
    assert names(walk(str(tmp_path / "versions" / "lib"))) == ["a.py"]


def test_rooignore_is_honoured(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "secret/b.py")
    (tmp_path / ".rooignore").write_text("secret/\n")
    found = walk(str(tmp_path))
    assert names(found) == ["a.py"]


def test_symbolic_link_loops_pipes_and_large_files_are_skipped_without_being_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "link.py").symlink_to(tmp_path / "a.py")
    os.mkfifo(tmp_path / "pipe.py")  # opening it would hang
    with open(tmp_path / "big.py", "wb") as file:
        file.truncate(200 * 2**20)
    found = walk(str(tmp_path))
    assert names(found) == ["a.py"]
    assert found.skipped == {"symbolic link": 1, "not a file": 1, "over 1 MiB": 1}
    assert found.warnings == ["big.py: 200.0 MiB, over 1 MiB; not indexed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to leave root's rights aside")
def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so scandir is made to refuse as it would for others."""
    write(tmp_path, "a.py", "closed/b.py")
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = walk(str(tmp_path))
    assert names(found) == ["a.py"]
    assert found.unreadable == ["closed"]
    assert "closed: Permission denied" in found.warnings[0]


def test_an_odd_line_of_an_ignore_file_spoils_no_other_one(tmp_path: Path, judge: str) -> None:
    """Git is the judge. Once `[z-a]` ended the index with a traceback, and a BOM disabled the first pattern."""
    write(tmp_path, "a.py", "first.py", "build/b.py", "num3.py", "numx.py", "pkg/c.py", "tail.py", "kept.py", "z.py")
    lines = "\ufefffirst.py\r\n[z-a].py\n!\n\\\nbuild/\nnum[[:digit:]].py\n*.log\x0cx\ntail.py\n"
    (tmp_path / ".gitignore").write_bytes(lines.encode())
    (tmp_path / ".kilocodeignore").write_text("kept.py\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "*.py"], cwd=tmp_path, check=True, capture_output=True
    )
    found = walk(str(tmp_path))
    assert set(names(found)) == set(listed.stdout.decode().split()) - {"kept.py"}
    assert set(names(found)) == {"a.py", "numx.py", "pkg/c.py"}
    said = len([warning for warning in found.warnings if "is no pattern; this line is not applied" in warning])
    assert said == (0 if judge == "git" else 2)  # `[z-a]` is a pattern: it matches z
    assert found.skipped[".gitignore"] == 4
    assert found.skipped[".kilocodeignore"] == 1


def test_in_a_work_tree_the_files_are_exactly_those_that_git_lists(tmp_path: Path, monkeypatch: Any) -> None:
    """Tracked though ignored, hidden, in a folder named `out`; not what core.excludesFile names."""
    root = tmp_path / "r"
    write(root, "a.py", "kept.py", "gone.py", ".github/ci.yml", "out/b.py", "gen/c.py", "mine.py", "sp ace/\u00e9.py")
    (tmp_path / "everywhere").write_text("mine.py\n")
    (tmp_path / "config").write_text(f"[core]\n\texcludesFile = {tmp_path / 'everywhere'}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text((tmp_path / "config").read_text())
    monkeypatch.setenv("GIT_DIR", "/nonexistent")  # as in a hook
    found = walk(str(root))  # not yet a repository
    assert "a.py" in names(found)
    monkeypatch.delenv("GIT_DIR")
    git(root, "init", "-q")
    (root / ".gitignore").write_text("kept.py\ngen/\n")
    git(root, "add", "-f", "kept.py", "gone.py")
    (root / "gone.py").unlink()
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    found = walk(str(root))
    assert names(found) == [".github/ci.yml", "a.py", "kept.py", "out/b.py", "sp ace/\u00e9.py"]
    assert (".gitignore", "gen/") in [(reason, path) for path, reason in found.left_out]
    assert found.skipped == {".gitignore": 1}  # mine.py


def test_submodules_are_part_of_a_work_tree_and_nested_work_trees_are_not(tmp_path: Path) -> None:
    other, root = tmp_path / "other", tmp_path / "r"
    write(other, "lib.py")
    write(root, "a.py")
    for folder in (other, root):
        git(folder, "init", "-q")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "x")
    git(root, "submodule", "--quiet", "add", str(other), "sub")
    git(root, "worktree", "add", "-q", str(root / "trees" / "one"))
    (root / "sub" / "new.py").write_text("y = 1\n")
    found = walk(str(root))
    assert names(found) == ["a.py", "sub/lib.py", "sub/new.py"]
    assert found.skipped == {"nested repository": 1}
    assert "trees/one/: a repository or work tree of its own" in found.warnings[0]
    assert names(walk(str(root), {"sub/new.py"})) == ["sub/new.py"]
    assert names(walk(str(root / "trees" / "one"))) == ["a.py"]
    assert wanted(str(root), {"trees/one/a.py", "sub/new.py", ".git/index"}) == {"sub/new.py"}
    assert names(walk(str(tmp_path))) == ["other/lib.py", "r/a.py", "r/sub/lib.py", "r/sub/new.py"]
    assert names(walk(str(tmp_path), {"r/a.py"})) == ["r/a.py"]


def test_info_exclude_counts_where_git_keeps_it_for_a_linked_work_tree_and_for_a_submodule(tmp_path: Path) -> None:
    """The common one of all work trees; a submodule's lies under the outer repository's .git/modules."""
    other, root, linked = tmp_path / "other", tmp_path / "r", tmp_path / "linked"
    for folder in (other, root):
        write(folder, "a.py")
        git(folder, "init", "-q")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", "x")
    git(root, "submodule", "--quiet", "add", str(other), "sub")
    git(root, "worktree", "add", "-q", str(linked))
    (root / ".git/info/exclude").write_text("private.py\n")
    (root / ".git/modules/sub/info/exclude").write_text("own.py\n")
    write(linked, "private.py", "own.py")
    write(root / "sub", "private.py", "own.py")
    assert names(walk(str(linked))) == ["a.py", "own.py"]
    assert names(walk(str(root))) == ["a.py", "sub/a.py", "sub/private.py"]
    assert wanted(str(linked), {"private.py", "own.py"}) == {"own.py"}


def test_a_file_is_taken_back_from_under_a_pattern_that_ends_in_two_stars(tmp_path: Path, judge: str) -> None:
    """`q/**` ignores what is in q, and not q itself, so `!q/keep.py` counts; under `q/` nothing can be taken back."""
    write(tmp_path, "q/keep.py", "q/gone.py", "q/deep/gone.py", "p/keep.py")
    (tmp_path / ".gitignore").write_text("q/**\n!q/keep.py\np/\n!p/keep.py\n")
    if judge == "git":
        git(tmp_path, "init", "-q")
    assert names(walk(str(tmp_path))) == ["q/keep.py"]


def test_what_others_wrote_is_left_out_and_counted_even_where_git_lists_it(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "node_modules/p/i.js", "vendor/q/q.go")
    git(tmp_path, "init", "-q")
    found = walk(str(tmp_path))
    assert names(found) == ["a.py"]
    assert found.skipped == {"vendored": 2}


def test_events_of_ignored_paths_are_not_looked_at(tmp_path: Path, judge: str) -> None:
    """Once each line of an ignored log cost a walk of everything and a text embedded."""
    write(tmp_path, "a.py", "logs/x.json")
    (tmp_path / ".gitignore").write_text("logs/\n*.tmp.py\n")
    if judge == "git":
        git(tmp_path, "init", "-q")
    changed = {"a.py", "logs/x.json", "b.tmp.py", "removed.py", ".git/index"}
    assert wanted(str(tmp_path), changed) == {"a.py", "removed.py"}
    assert wanted(str(tmp_path), {"logs/x.json", "logs/gone.json"}) == set()


SHEBANGS = {
    "#!/bin/sh\n": "bash",
    "#!/usr/bin/env python3\n": "python",
    "#! /usr/bin/env -S PYTHONSAFEPATH=1 python3.12 -u\n": "python",
    "#!/opt/node/bin/node\r\n": "javascript",
    "#!/usr/bin/Rscript --vanilla\n": "r",
}


@pytest.mark.parametrize("first_line", SHEBANGS)
def test_a_script_without_a_suffix_is_known_by_its_first_line(tmp_path: Path, judge: str, first_line: str) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "run", text=first_line + "x = 1\n")
    write(tmp_path, "none", "LICENSE", text="#!\n")
    write(tmp_path, "odd", text="#!/usr/bin/env\n#!/usr/bin/unknown-thing\n")
    os.mkfifo(tmp_path / "pipe")  # opening it would hang
    found = walk(str(tmp_path))
    assert [(file.relative, file.language.name) for file in found.files] == [("run", SHEBANGS[first_line])]


def test_include_and_exclude_choose_files_as_gitignore_patterns_do(tmp_path: Path, judge: str) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py", "a.ts", "docs/b.py", "docs/deep/c.py", "src/d.py", "src/e.md", "ignored.py")
    (tmp_path / ".gitignore").write_text("ignored.py\n")
    found = walk(str(tmp_path), None, Chosen(["*.py"], ["docs/", "!docs/deep/"]))
    assert names(found) == ["a.py", "src/d.py"]
    assert found.skipped["not of --include"] == 2
    assert names(walk(str(tmp_path), None, Chosen(["/src/", "*.ts"]))) == ["a.ts", "src/d.py", "src/e.md"]
    assert names(walk(str(tmp_path), {"docs/deep", "src"}, Chosen([], ["deep/"]))) == ["src/d.py", "src/e.md"]
    with pytest.raises(SetupError, match=r"--exclude '\[ab' can match nothing"):
        Chosen([], ["[ab"])


def test_a_file_embedserveignore_is_the_lasting_choice(tmp_path: Path, judge: str) -> None:
    git(tmp_path, "init", "-q")
    write(tmp_path, "a.py", "big/b.py")
    (tmp_path / ".embedserveignore").write_text("big/\n")
    found = walk(str(tmp_path))
    assert names(found) == ["a.py"]
    assert wanted(str(tmp_path), {"a.py", "big/b.py"}) == {"a.py"}


# Names and patterns from a small alphabet, so that they meet often.
PART = st.text("ab*?", min_size=1, max_size=3)
PATTERN = st.builds(
    lambda negated, root, parts, tail: negated + root + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(
        st.one_of(PART, st.sampled_from(["**", "a.py", "[ab]", "[!a]*", "[[:alpha:]]b", "\\a", "b.py", "*.py"])),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["", "", "/", "/**", " ", "\\ "]),
)
FOLDER = st.text("ab", min_size=1, max_size=2)
FILE = st.builds(
    lambda folders, name: "/".join([*folders, name]),
    st.lists(FOLDER, max_size=3),
    st.sampled_from(["a.py", "b.py", "ab.py"]),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(["a**/*"], [], {"a.py", "ab/b.py", "b.py"})
@example(["a**/b.py", "b/a**/*"], [], {"a/a/b.py", "ab/b.py", "b/ab/a.py", "b.py"})
@given(st.lists(PATTERN, min_size=1, max_size=5), st.lists(PATTERN, max_size=3), st.sets(FILE, min_size=1, max_size=12))
def test_our_own_rules_leave_out_what_git_leaves_out(
    tmp_path_factory: pytest.TempPathFactory, top: list[str], inner: list[str], files: set[str]
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    for name in files:
        write(root, name)
    (root / ".gitignore").write_text("\n".join(top) + "\n")
    if (root / "a").is_dir():
        (root / "a" / ".gitignore").write_text("\n".join(inner) + "\n")
    ours = names(walk(str(root)))
    git(root, "init", "-q")
    listed = [name for name in git(root, "ls-files", "-o", "--exclude-standard") if name.endswith(".py")]
    assert sorted(ours) == sorted(listed), (top, inner)


def test_what_people_search_beside_source_files_is_indexed_and_the_rest_is_counted_by_its_suffix(
    tmp_path: Path,
) -> None:
    texts = "a.vue b.svelte c.xml d.ini e.properties f.proto g.graphql h.tf Dockerfile Makefile Jenkinsfile pkg/i.go"
    write(tmp_path, *texts.split(), "x.zzz", "y.zzz", "z.bin2")
    found = walk(str(tmp_path))
    assert names(found) == sorted(texts.split())
    assert found.unknown == {".zzz": 2, ".bin2": 1}
    report = Report(str(tmp_path), "c", unknown=dict(found.unknown), complete=True)
    assert "3 of unknown type (.zzz 2, .bin2 1)" in report.line()
