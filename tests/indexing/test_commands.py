"""`embedserve index` and `embedserve search` as a person runs them: real processes, exit codes, messages."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from embedserve.indexing.stored import MARKER_ID
from embedserve.indexing.workspace import collection_name
from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant, free_port

FUNCTION = 'def {name}(value):\n    """Return what {name} makes of the value."""\n    return value * 3\n\n\n'


@pytest.fixture
def service() -> Iterator[EmbeddingStandIn]:
    with EmbeddingStandIn() as standin:
        yield standin


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "src" / "fruit.py").write_text("".join(FUNCTION.format(name=n) for n in ("apple", "banana", "cherry")))
    return root


class Cli:
    """Runs commands against one service and one Qdrant."""

    def __init__(self, service: str, qdrant: str, home: Path) -> None:
        self.home, self.qdrant = str(home), qdrant
        self.options = ["--embeddings-url", service, "--qdrant-url", qdrant]

    def start(self, *arguments: str, **kwargs: Any) -> subprocess.Popen[str]:
        command = [*EMBEDSERVE, *arguments, *self.options]
        environment = clean_environment(EMBEDDING_HOME=self.home)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
        return subprocess.Popen(command, **{**pipes, **kwargs})

    def __call__(self, *arguments: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **kwargs)
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def cli(service: EmbeddingStandIn, qdrant_url: str, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(service.url, qdrant_url, tmp_path_factory.mktemp("home"))


def many_files(root: Path, functions: int) -> None:
    for number in range(functions // 30):
        path = root / f"d{number % 5}" / f"f{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(FUNCTION.format(name=f"n{number}x{i}") for i in range(30)))


def points(url: str, workspace: Path) -> dict[str, Any]:
    client = QdrantClient(url=url, check_compatibility=False, timeout=60)
    try:
        found, _ = client.scroll(collection_name(str(workspace)), limit=100_000, with_vectors=True)
    except Exception:  # not made yet
        return {}
    return {str(p.id): (p.payload, [round(x, 5) for x in p.vector or []]) for p in found if p.id != MARKER_ID}


def test_index_then_search_in_plain_text_and_json(cli: Cli, workspace: Path) -> None:
    result = cli("index", str(workspace), "--json")
    report = json.loads(result.stdout)
    assert (result.returncode, report["complete"], report["embedded"]) == (0, True, 3)
    assert cli("index", str(workspace)).stdout.startswith("1 files, 3 chunks: 0 embedded, 3 unchanged, 0 deleted")
    result = cli("search", "what banana makes", "--workspace", str(workspace), "--limit", "1")
    assert result.returncode == 0
    assert result.stdout.startswith("src/fruit.py:6-8  0.")
    assert result.stdout.split("\n")[0].endswith("  banana")  # the definition that it is
    assert result.stderr == ""
    assert "    def banana(value):" in result.stdout
    result = cli("search", "what banana makes", "--json", "--limit", "2", cwd=str(workspace / "src"))
    hits = json.loads(result.stdout)  # the workspace was found from a folder inside it
    assert [hit["path"] for hit in hits] == ["src/fruit.py", "src/fruit.py"]
    assert hits[0].keys() == {"path", "start_line", "end_line", "score", "code", "scope", "why"}
    nothing = cli("search", "banana", "--workspace", str(workspace), "--min-score", "0.999")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert "nothing found" in nothing.stderr


def test_verbose_names_what_is_not_indexed_and_why(cli: Cli, workspace: Path) -> None:
    (workspace / "vendor").mkdir()
    (workspace / "big.py").write_text("x = 1\n" * 200_000)
    (workspace / "app.min.js").write_text("var a=1;" * 900)
    result = cli("index", str(workspace), "--verbose")
    assert result.returncode == 0
    for line in ("big.py: over 1 MiB", "app.min.js: minified", "vendor/: ignored folder"):
        assert f"{line}; not indexed" in result.stderr.splitlines()
    assert "1 minified" in result.stdout
    assert "app.min.js: minified" not in cli("index", str(workspace)).stderr


def test_search_colours_the_code_on_a_terminal(cli: Cli, workspace: Path) -> None:
    cli("index", str(workspace))
    main, other = pty.openpty()
    process = cli.start("search", "banana", "--workspace", str(workspace), "--limit", "1", stdout=other)
    process.wait(60)
    os.close(other)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the terminal's other end is closed
        while data := os.read(main, 65536):
            shown += data
    assert b"\x1b[" in shown
    assert b"banana" in shown


def test_ctrl_c_ends_with_130_and_one_line_that_says_how_to_go_on(
    cli: Cli, service: EmbeddingStandIn, tmp_path: Path
) -> None:
    many_files(tmp_path, 3000)
    service.delay = 0.2
    process = cli.start("index", str(tmp_path))
    wait_for(lambda: len(service.texts) > 120)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert "of 100 changed files are stored and safe; run the same command again to go on" in lines[0]


@pytest.mark.slow
def test_killed_ten_times_at_random_then_finished_gives_the_points_of_one_clean_run(
    cli: Cli, service: EmbeddingStandIn, qdrant_url: str, tmp_path: Path
) -> None:
    """SIGKILL, so that nothing of ours can tidy up."""
    files = 6000  # more than ten runs can get done: each at most 200 texts, and four requests of 60 in flight
    many_files(tmp_path, files)
    service.delay = 0.3
    rng, killed = random.Random(11), 0
    for _ in range(10):
        enough = len(service.texts) + rng.randint(1, 200)
        process = cli.start("index", str(tmp_path))
        wait_for(lambda p=process, e=enough: len(service.texts) >= e or p.poll() is not None)  # type: ignore[misc]
        killed += process.poll() is None
        process.kill()
        process.communicate()
    assert killed >= 8
    service.delay = 0
    report = json.loads(cli("index", str(tmp_path), "--json").stdout)
    assert report["complete"]
    assert 0 < report["embedded"] < files  # the killed runs were not for nothing
    interrupted = points(qdrant_url, tmp_path)
    assert cli("index", str(tmp_path), "--recreate").returncode == 0
    assert interrupted == points(qdrant_url, tmp_path)
    assert len(interrupted) == files


@pytest.mark.slow
def test_qdrant_killed_in_the_middle_loses_nothing(
    service: EmbeddingStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_files(tmp_path / "w", 1800)
    service.delay = 0.1
    with embedded_qdrant(tmp_path / "storage") as qdrant:
        cli = Cli(service.url, qdrant.url, tmp_path / "home")
        process = cli.start("index", str(tmp_path / "w"))
        wait_for(lambda: len(points(qdrant.url, tmp_path / "w")) > 100)
        qdrant.kill()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "are stored and safe" in err
        assert f"Qdrant at {qdrant.url} does not answer" in err
        assert "start it with `embedserve qdrant`" in err
        assert "Traceback" not in err
        qdrant.start()
        assert len(points(qdrant.url, tmp_path / "w")) > 100
        report = json.loads(cli("index", str(tmp_path / "w"), "--json").stdout)
        assert report["complete"]
        assert report["embedded"] < 1800
        assert len(points(qdrant.url, tmp_path / "w")) == 1800


def test_a_wrong_qdrant_key_says_which_option(service: EmbeddingStandIn, workspace: Path, tmp_path: Path) -> None:
    with embedded_qdrant(tmp_path / "storage", QDRANT_API_KEY="right") as qdrant:
        cli = Cli(service.url, qdrant.url, tmp_path / "home")
        for command in (["index", str(workspace)], ["search", "x", "--workspace", str(workspace), "--min-score", "0"]):
            for key in ([], ["--qdrant-api-key", "wrong"]):
                result = cli(*command, *key)
                assert result.returncode == 2
                assert "refuses the API key" in result.stderr
                assert "--qdrant-api-key or QDRANT_API_KEY" in result.stderr
        assert (
            cli(
                "index", str(workspace), env=clean_environment(QDRANT_API_KEY="right", EMBEDDING_HOME=cli.home)
            ).returncode
            == 0
        )


def test_what_is_not_running_or_not_there_is_named(cli: Cli, workspace: Path, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    result = cli("index", str(tmp_path / "none"))
    assert (result.returncode, result.stderr.strip()) == (
        2,
        f"embedserve index: {tmp_path / 'none'} does not exist; give the folder to index",
    )
    elsewhere = Cli(cli.options[1], nobody, tmp_path / "home")
    result = elsewhere("search", "banana", "--workspace", str(workspace), "--min-score", "0.1")
    assert result.returncode == 2
    assert f"Qdrant at {nobody} does not answer" in result.stderr


def test_the_first_search_answers_by_words_and_vectors_come_behind(cli: Cli, workspace: Path, qdrant_url: str) -> None:
    (workspace / ".git").mkdir()
    result = cli("search", "what banana makes", "--json", cwd=str(workspace / "src"))
    assert [hit["score"] for hit in json.loads(result.stdout)] == [None] * 3
    assert "the words of 1 files were indexed now (3 chunks" in result.stderr
    assert "vectors are being made in the background" in result.stderr
    wait_for(lambda: len(points(qdrant_url, workspace)) == 3)
    again = cli("search", "what banana makes", "--json", "--explain", cwd=str(workspace / "src"))
    assert json.loads(again.stdout)[0]["score"] > 0.1
    wait_for(lambda: not cli("search", "banana", cwd=str(workspace)).stderr)


def test_wait_makes_the_vectors_first(cli: Cli, workspace: Path) -> None:
    hits = json.loads(cli("search", "banana", "--wait", "--json", "--workspace", str(workspace)).stdout)
    assert hits[0]["score"] > 0.1


def test_a_search_by_words_needs_nothing_else(cli: Cli, workspace: Path, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    result = Cli(nobody, nobody, tmp_path / "home")("search", "banana", "--lexical", "--workspace", str(workspace))
    assert result.returncode == 0
    assert result.stdout.startswith("src/fruit.py:6-8  by words")


@pytest.mark.parametrize(
    "options",
    [
        ["--embeddings-url", "http://localhost:abc/v1"],
        ["--qdrant-url", "http://[x"],
        ["--qdrant-url", "localhost:6333"],
        ["--embeddings-url", "http://localhost:99999"],
    ],
)
def test_a_url_that_is_none_is_named_with_its_option(workspace: Path, options: list[str]) -> None:
    command = [*EMBEDSERVE, "search", "banana", "--workspace", str(workspace), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 2
    assert f"{options[0]}={options[1]} is not a URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_has_had_enough_and_a_query_of_another_encoding_are_no_faults(
    workspace: Path, tmp_path: Path
) -> None:
    command = [*EMBEDSERVE, "search", b"banana \xff", "--lexical", "--json", "--workspace", str(workspace)]
    environment = clean_environment(EMBEDDING_HOME=str(tmp_path / "home"))
    done = subprocess.run(command, capture_output=True, env=environment)
    assert (done.returncode, len(json.loads(done.stdout))) == (0, 1), done.stderr  # words find the one that has it
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert done.returncode == 1
    assert done.stderr == b"embedserve search: [Errno 28] No space left on device; make room and run it again\n"


def test_watch_indexes_what_changes_until_ctrl_c(
    cli: Cli, service: EmbeddingStandIn, qdrant_url: str, workspace: Path
) -> None:
    process = cli.start("index", str(workspace), "--watch")

    def names() -> set[str]:
        return {payload["path"] for payload, _ in points(qdrant_url, workspace).values()}

    try:
        wait_for(lambda: names() == {"src/fruit.py"})
        (workspace / "nuts.py").write_text(FUNCTION.format(name="hazel"))
        wait_for(lambda: names() == {"src/fruit.py", "nuts.py"})
        (workspace / "src" / "fruit.py").unlink()
        wait_for(lambda: names() == {"nuts.py"})
        (workspace / "src").rename(workspace / "lib")
        (workspace / "lib" / "seed.py").write_text(FUNCTION.format(name="sesame"))
        wait_for(lambda: names() == {"nuts.py", "lib/seed.py"})
        (workspace / ".gitignore").write_text("lib/\n")
        (workspace / ".git").mkdir()
        wait_for(lambda: names() == {"nuts.py"})
        port = service.port
        service.stop()  # away for a while
        (workspace / "late.py").write_text(FUNCTION.format(name="late"))
        time.sleep(1)
        service.start(port)
        wait_for(lambda: names() == {"nuts.py", "late.py"}, 40)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)


def test_deleting_an_index_that_is_not_there_fails_and_names_those_that_are(cli: Cli, workspace: Path) -> None:
    assert cli("index", str(workspace)).returncode == 0
    wrong = cli("index", "--delete", str(workspace / "src"))
    assert wrong.returncode == 2
    assert "has no index in Qdrant at" in wrong.stderr
    assert str(workspace) in wrong.stderr
    assert points(cli.qdrant, workspace)
