"""Which files are indexed, and what is said of the others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from embedserve.indexing.walk import Walk, walk


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


def test_nested_gitignore_files_negation_and_the_exclude_file_agree_with_git(tmp_path: Path) -> None:
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


def test_an_odd_line_of_an_ignore_file_spoils_no_other_one(tmp_path: Path) -> None:
    """Git is the judge. Once `[z-a]` ended the index with a traceback, and a BOM disabled the first pattern."""
    write(tmp_path, "a.py", "first.py", "build/b.py", "num3.py", "numx.py", "pkg/c.py", "tail.py", "kept.py")
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
    assert len([warning for warning in found.warnings if "is no pattern; this line is not applied" in warning]) == 3
    assert found.skipped[".gitignore"] == 3
    assert found.skipped[".kilocodeignore"] == 1
