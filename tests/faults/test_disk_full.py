"""The disk is full (RLIMIT_FSIZE, a real refusal of the kernel's, in a process of its own): what is promised then.

The cache forgets and the answers go on; a conversion says so, leaves no torn artefact and works once there is room; the
embedded Qdrant answers an error that says so and keeps every acknowledged point.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest

from support.checkpoints import tiny_jina
from vectordb.conftest import Embedded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_FSIZE refuses writes on Linux")

LIMITED = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, ({bytes}, resource.RLIM_INFINITY))
"""


def run(code, limit, *arguments):
    source = textwrap.dedent(LIMITED.format(bytes=limit)) + textwrap.dedent(code)
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    return subprocess.run(
        [sys.executable, "-c", source, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_a_cache_on_a_full_disk_costs_no_answer(tmp_path):
    done = run(
        """
        import pathlib, sys
        from support.live import fake_server
        with fake_server(cache="disk", home=pathlib.Path(sys.argv[1])) as server:
            for n in range(40):
                body = {"input": [f"text {n} {i}" for i in range(500)]}
                assert server.post(body).status_code == 200
            held = sum(path.stat().st_size for path in pathlib.Path(sys.argv[1]).rglob("*cache*") if path.is_file())
        print("answered; on disk:", held)
        """,
        300_000,
        tmp_path,
    )
    assert "answered" in done.stdout, done.stderr[-3000:]


@pytest.mark.slow
def test_qdrant_on_a_full_disk_refuses_by_an_error_keeps_its_points_and_goes_on(tmp_path):
    """Started with room and points; then again with none."""
    with Embedded(tmp_path / "s") as server, httpx.Client(base_url=server.url, timeout=60) as http:
        assert http.put("/collections/a", json={"vectors": {"size": 4, "distance": "Dot"}}).status_code == 200
        put(http, 0, 50)
        server.stop()
    code = textwrap.dedent(LIMITED.format(bytes=4096)) + (
        "import sys; from embedserve.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    full = Embedded(tmp_path / "s", start=["-c", code])
    with full as server, httpx.Client(base_url=server.url, timeout=60) as http:
        refused = http.put("/collections/b", json={"vectors": {"size": 4, "distance": "Dot"}})
        assert refused.status_code >= 500
        assert http.get("/collections").status_code == 200
        assert http.post("/collections/a/points/count", json={"exact": True}).json()["result"]["count"] == 50
        server.kill()
    with Embedded(tmp_path / "s") as server, httpx.Client(base_url=server.url, timeout=60) as http:
        put(http, 50, 60)
        assert http.post("/collections/a/points/count", json={"exact": True}).json()["result"]["count"] == 60


def put(http, start, stop):
    points = [{"id": i, "vector": [i, 1, 2, 3], "payload": {"n": i}} for i in range(start, stop)]
    assert http.put("/collections/a/points?wait=true", json={"points": points}).status_code == 200


CONVERT = """
    import pathlib, sys
    from embedserve.backends import convert
    from embedserve.errors import EmbedServeError
    from embedserve.models.sources import resolve
    try:
        made = convert.artefact(resolve(sys.argv[1], home=pathlib.Path(sys.argv[2])), "fp32", pathlib.Path(sys.argv[2]))
        print("made", made.model.stat().st_size)
    except EmbedServeError as error:
        print("refused:", error.message)
"""


def test_a_conversion_on_a_full_disk_says_so_leaves_nothing_torn_and_works_when_there_is_room(tmp_path):
    model = tiny_jina(tmp_path / "model")
    home = tmp_path / "home"
    full = run(CONVERT, 50_000, model, home)
    assert full.stdout.startswith("refused:"), full.stdout + full.stderr[-2000:]
    assert "is the disk full?" in full.stdout
    assert [path for path in home.rglob("*") if path.is_file() and path.suffix in (".xml", ".bin")] == []
    assert run(CONVERT, 1 << 40, model, home).stdout.startswith("made")
