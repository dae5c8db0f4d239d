"""What goes wrong with a snapshot on its way costs neither the collection nor the disk, nor a thread of others."""

import gzip
import http.server
import os
import shutil
import threading
import time

import pytest
from starlette.testclient import TestClient

from embedserve.vectordb.app import create_app
from embedserve.vectordb.marks import MARK, META
from embedserve.vectordb.storage import Storage

POINTS = [{"id": i, "vector": [1.0, i, 0.0, 0.0], "payload": {"n": i}} for i in range(7)]


def serving(folder, **options):
    return TestClient(create_app(Storage(folder, quiet=3600.0, **options)), base_url="http://localhost")


def fill(client, name="a", points=POINTS):
    made = client.put(f"/collections/{name}", json={"vectors": {"size": 4, "distance": "Dot"}})
    assert made.status_code == 200, made.text
    assert client.put(f"/collections/{name}/points?wait=true", json={"points": points}).status_code == 200


def count(client, name="a"):
    return client.post(f"/collections/{name}/points/count", json={}).json()["result"]["count"]


@pytest.fixture
def client(tmp_path):
    with serving(tmp_path / "storage") as made:
        fill(made)
        yield made


@pytest.fixture
def snapshot(client):
    name = client.post("/collections/a/snapshots").json()["result"]["name"]
    return client.get(f"/collections/a/snapshots/{name}").content


def recover(client, location):
    return client.put("/collections/a/snapshots/recover", json={"location": location})


def test_a_compressed_snapshot_is_refused_since_a_small_file_could_fill_the_disk(client, snapshot, tmp_path):
    file = tmp_path / "s.snapshot"
    file.write_bytes(gzip.compress(snapshot))
    reply = recover(client, file.as_uri())
    assert reply.status_code == 400, reply.text
    assert count(client) == 7


class Web(http.server.BaseHTTPRequestHandler):
    """/cut: less than was said; /slow: a byte now and then."""

    def do_GET(self):
        content = self.server.content
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path == "/slow":
            while not self.server.stopped.wait(0.1):
                self.wfile.write(b"x")
                self.wfile.flush()
        else:
            self.wfile.write(content[: len(content) // 2] if self.path == "/cut" else content)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(snapshot):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        server.content, server.stopped = snapshot, threading.Event()
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.stopped.set()
        server.shutdown()


def test_a_snapshot_is_fetched_whole_or_not_at_all(client, web, tmp_path):
    assert recover(client, f"{web}/whole").json()["result"] is True
    client.put("/collections/a/points?wait=true", json={"points": [{"id": 99, "vector": [1, 1, 1, 1]}]})
    for path in ("/cut", "/gone"):
        reply = recover(client, web + path)
        assert reply.status_code == 400, reply.text
        assert "cannot fetch the snapshot" in reply.json()["status"]["error"]
    assert count(client) == 8
    assert [one.name for one in (tmp_path / "storage").iterdir() if one.name.startswith(".fetched")] == []


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/x",
        "http://a b/x",
        "http://[::1/x",
        "http://x:99999/",
        "http://\ud800/",
        "file:///a%00b",
        "x",
    ],
)
def test_a_location_that_leads_nowhere_is_a_400_that_says_why(client, location):
    body = b'{"location": "%b"}' % location.encode("utf-8", "backslashreplace")
    reply = client.put("/collections/a/snapshots/recover", content=body, headers={"content-type": "application/json"})
    assert reply.status_code == 400, reply.text
    assert count(client) == 7


def test_a_slow_source_holds_no_thread_that_others_need(client, web):
    """Regression: two slow fetches held both threads for flushes, copies and removals."""
    for _ in range(3):
        threading.Thread(target=lambda: recover(client, f"{web}/slow"), daemon=True).start()
    time.sleep(0.5)
    done = []
    other = threading.Thread(
        target=lambda: done.append(client.post("/collections/a/snapshots").status_code), daemon=True
    )
    other.start()
    other.join(30)
    assert done == [200]


@pytest.mark.parametrize("name", [b"X-Long", b"Content-Disposition"])
def test_a_parts_header_without_end_is_refused_and_not_gathered(client, name):
    """python-multipart's bound, without which it would be gathered in memory."""

    def body():
        yield b"--x\r\n" + name + b": "
        for _ in range(400):
            yield b"y" * 65536

    headers = {"content-type": "multipart/form-data; boundary=x"}
    reply = client.post("/collections/a/snapshots/upload", headers=headers, content=body())
    assert reply.status_code == 400, reply.text
    assert "no multipart/form-data" in reply.text


def test_what_a_killed_process_left_unfinished_is_cleared_away_and_nothing_else(tmp_path):
    folder = tmp_path / "storage"
    with serving(folder) as client:
        fill(client)
        assert client.post("/collections/a/snapshots").status_code == 200
    snapshots = next((folder / "snapshots").iterdir())
    kept = set(snapshots.rglob("*"))
    (folder / ".uploaded-abc").write_bytes(b"x")
    (folder / ".fetched-abc").write_bytes(b"x")
    (snapshots / ".making-abc").mkdir()
    (snapshots / ".making-abc" / "snapshot.part").write_bytes(b"x")
    with serving(folder) as client:
        assert count(client) == 7
        names = {path.name for path in folder.rglob(".*-abc")}
        assert names == set()
    assert kept == set(snapshots.rglob("*"))


def test_a_snapshot_that_cannot_be_made_leaves_nothing(client, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("embedserve.vectordb.snapshot_handlers.tarfile.TarFile.add", full)
    assert client.post("/collections/a/snapshots").status_code >= 500
    assert [one.name for one in (tmp_path / "storage" / "snapshots").rglob("*") if one.is_file()] == []


@pytest.mark.parametrize("later", ["first", "second"])
def test_of_two_folders_of_one_name_the_later_one_is_the_collection_and_the_other_goes(tmp_path, later):
    """Regression: killed while a snapshot took a collection's place, both were there; which one was opened was a matter
    of their random names, and deleting the collection brought the other one back."""
    folder = tmp_path / "storage"
    with serving(folder) as client:
        fill(client, points=POINTS[:3])
    first = next((folder / "collections").iterdir())
    with serving(folder) as client:
        client.put("/collections/a/points?wait=true", json={"points": POINTS[3:]})
        copy = tmp_path / "copy"
    shutil.copytree(first, copy)
    with serving(folder) as client:
        client.post("/collections/a/points/delete?wait=true", json={"points": [0, 1]})
    second = folder / "collections" / ("f" * 32 if first.name < "8" else "0" * 32)
    shutil.move(copy, second)
    os.utime((first if later == "first" else second) / META, (time.time() + 5, time.time() + 5))
    with serving(folder) as client:
        assert count(client) == (5 if later == "first" else 7)
        assert len([one for one in (folder / "collections").iterdir() if (one / MARK).exists()]) == 1
        client.delete("/collections/a")
    with serving(folder) as client:
        assert client.get("/collections").json()["result"]["collections"] == []
