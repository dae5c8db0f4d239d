"""Git URLs and package archives become folders: real git, real archives, a real HTTP server."""

from __future__ import annotations

import functools
import io
import json
import os
import random
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from embedserve.errors import IndexingFailed
from embedserve.indexing.obtain import folder_of, is_elsewhere, obtain, shown
from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "library"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "a.py").write_text("def apple():\n    return 1\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "one")
    git(root, "branch", "old")
    (root / "b.py").write_text("def banana():\n    return 2\n")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "two")
    return root


def names(folder: str) -> list[str]:
    found = (Path(d, f) for d, _, files in os.walk(folder) for f in files)
    return sorted(str(path.relative_to(folder)) for path in found if ".git" not in path.parts)


def test_a_repository_is_cloned_and_brought_up_to_date(repository: Path, tmp_path: Path) -> None:
    home, url = str(tmp_path / "home"), f"file://{repository}"
    folder = obtain(url, home)
    assert folder == folder_of(url, home)
    assert os.path.basename(folder).startswith("library-")
    assert names(folder) == ["a.py", "b.py"]
    (repository / "c.py").write_text("c = 1\n")
    git(repository, "rm", "-q", "a.py")
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "three")
    assert obtain(url, home) == folder
    assert names(folder) == ["b.py", "c.py"]
    assert names(obtain(f"{url}#old", home)) == ["a.py"]
    assert names(folder) == ["b.py", "c.py"]


def test_a_repository_that_cannot_be_had_is_an_error_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(IndexingFailed) as caught:
        obtain("https://me:hunter2@127.0.0.1:9/x.git", str(tmp_path / "home"))
    assert "https://127.0.0.1:9/x.git cannot be cloned: " in caught.value.message
    assert "hunter2" not in caught.value.message
    assert names(str(tmp_path / "home")) == []
    assert shown("git@host:owner/name.git") == "git@host:owner/name.git"


def archive(path: Path, files: dict[str, str]) -> Path:
    if path.suffix in (".zip", ".whl"):
        with zipfile.ZipFile(path, "w") as made:
            for name, text in files.items():
                made.writestr(name, text)
    else:
        with tarfile.open(path, "w:*" if path.suffix == ".tar" else f"w:{path.suffix[1:].replace('tgz', 'gz')}") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize("name", ["pkg-1.0.tar.gz", "pkg-1.0.tgz", "pkg-1.0.tar.xz", "pkg-1.0.zip", "pkg-1.0.whl"])
def test_an_archive_is_unpacked_without_its_outer_folder_and_again_when_it_changes(tmp_path: Path, name: str) -> None:
    home = str(tmp_path / "home")
    path = archive(tmp_path / name, {"pkg-1.0/src/a.py": "a = 1\n", "pkg-1.0/b.py": "b = 1\n"})
    folder = obtain(str(path), home)
    assert os.path.basename(folder).startswith("pkg-1.0-")
    assert names(folder) == ["b.py", "src/a.py"]
    before = os.stat(folder).st_ino
    assert os.stat(obtain(str(path), home)).st_ino == before
    archive(path, {"pkg-1.0/c.py": "c = 1\n", "top.py": "d = 1\n"})
    assert names(obtain(str(path), home)) == ["pkg-1.0/c.py", "top.py"]


def test_members_that_lead_out_links_and_gits_own_files_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name in ("../out.py", "/abs.py", "good/a.py", ".git/hooks/post-checkout", "x/../../y.py"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"a\n"))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            member = tarfile.TarInfo("good/link.py")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    folder = obtain(str(path), str(tmp_path / "home"))
    assert names(folder) == ["abs.py", "good/a.py"]
    assert not (tmp_path / "home" / "sources" / "out.py").exists()


@pytest.mark.parametrize("name", ["broken.zip", "broken.tar.gz"])
def test_what_is_no_archive_is_said_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not an archive")
    with pytest.raises(IndexingFailed, match="is no archive that can be read"):
        obtain(str(tmp_path / name), str(tmp_path / "home"))
    assert os.listdir(tmp_path / "home" / "sources") == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar.xz", "a.tar.bz2"])
def test_an_archive_with_damage_anywhere_is_a_clear_error_and_the_old_folder_stays(tmp_path: Path, name: str) -> None:
    """Regression: a flipped byte in a member was a traceback of zlib's or lzma's own exceptions."""
    home, source, inside = str(tmp_path / "home"), tmp_path / name, tmp_path / "in"
    inside.mkdir()
    for number in range(3):
        (inside / f"f{number}.py").write_text("".join(f"value_{number}_{i} = {i * 7919}\n" for i in range(400)))
    kind = "zip" if name.endswith("zip") else name.rpartition(".")[2].replace("gz", "gztar").replace("xz", "xztar")
    made = shutil.make_archive(str(tmp_path / "made"), kind.replace("bz2", "bztar"), inside)
    shutil.copy(made, source)
    folder = obtain(str(source), home)
    before = names(folder)
    whole, pick = source.read_bytes(), random.Random(4)
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(pick.randrange(1, 4)):
            damaged[pick.randrange(len(damaged))] ^= 1 << pick.randrange(8)
        source.write_bytes(damaged[: pick.choice([len(damaged), len(damaged) // 2])])
        try:
            obtain(str(source), home)
        except IndexingFailed:
            assert names(folder) == before
        else:  # damage that shows nowhere
            before = names(folder)
    assert {entry for entry in os.listdir(tmp_path / "home" / "sources") if entry.startswith(".")} == set()


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "a.tar"
    with tarfile.open(source, "w") as tar:
        tar.add(__file__, "a/one.py")
    folder = obtain(str(source), str(tmp_path / "home"))
    with tarfile.open(source, "w") as tar:
        tar.add(__file__, "a/two.py")
    rename = os.rename

    def refused(old: str, new: str) -> None:
        if new == folder and ".unpack-" in old:
            raise PermissionError(13, "Permission denied")
        rename(old, new)

    monkeypatch.setattr("embedserve.indexing.obtain.os.rename", refused)
    with pytest.raises(IndexingFailed, match="Permission denied"):
        obtain(str(source), str(tmp_path / "home"))
    assert names(folder) == ["one.py"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    (tmp_path / "www").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


def test_an_archive_is_downloaded(tmp_path: Path, server: str) -> None:
    archive(tmp_path / "www" / "pkg.whl", {"pkg/a.py": "a = 1\n"})
    assert names(obtain(f"{server}/pkg.whl?x=1", str(tmp_path / "home"))) == ["a.py"]
    with pytest.raises(IndexingFailed, match="answered 404"):
        obtain(f"{server}/none.zip", str(tmp_path / "home"))


def test_what_is_elsewhere_and_what_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "odd.zip").mkdir()
    assert not is_elsewhere(str(tmp_path / "odd.zip"))
    assert not is_elsewhere("src")
    assert not is_elsewhere("C:\\code")
    assert is_elsewhere("git@host:owner/name.git")
    assert is_elsewhere("ssh://host/name")


def test_a_source_is_indexed_and_found_by_its_own_name(tmp_path: Path, repository: Path, qdrant_url: str) -> None:
    environment = clean_environment(EMBEDDING_HOME=str(tmp_path / "home"))
    url = f"file://{repository}"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*EMBEDSERVE, *arguments, "--embeddings-url", service.url, "--qdrant-url", qdrant_url]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)

    with EmbeddingStandIn() as service:
        early = run("search", "what banana gives", "--workspace", url)
        assert early.returncode == 2
        assert f"{url} is not here yet; get it and index it with: embedserve index {url}" in early.stderr
        done = run("index", url, str(repository))
        assert done.returncode == 0, done.stderr
        assert [row.partition(": ")[2][:17] for row in done.stdout.splitlines()] == ["2 files, 2 chunks"] * 2
        found = run("search", "what banana gives", "--workspace", url, "--limit", "1")
        assert found.stdout.startswith("b.py:1-2"), found.stderr
        both = run("search", "what banana gives", "--workspace", url, "--workspace", str(repository), "--json")
        paths = [hit["path"] for hit in json.loads(both.stdout)]
        assert {os.path.dirname(path) for path in paths} == {folder_of(url, str(tmp_path / "home")), str(repository)}
        assert os.path.basename(paths[0]) == os.path.basename(paths[1]) == "b.py"
        only = run("search", "banana", *[f"--workspace={w}" for w in (url, repository)], "--path-prefix",
                   str(repository), "--json")  # fmt: skip
        assert {os.path.dirname(hit["path"]) for hit in json.loads(only.stdout)} == {str(repository)}
        assert run("index", "--delete", url).returncode == 0
