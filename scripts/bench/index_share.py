"""How much of the server's own speed does `embedserve index` reach, with everything that it does beside embedding?

    python scripts/bench/index_share.py [TREE] [--model M] [--precision P] [--rounds 2]

Real service (cache off), embedded Qdrant, real tree (the standard library). First the tree is indexed against a
stand-in that remembers the texts. Then, in turns: the same texts in requests of 60, 10 at a time, and nothing else;
and the index from nothing. Texts a second of both by the clock, and the share; reading, cutting, storing and the
processes of the index and of Qdrant share the machine's cores with the server in the second, so CPU seconds of all
three are printed, too: where all cores are busy, they are the share.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))

from embedserve.bench.client import request_body, served_model
from embedserve.bench.servers import StartedServer, end_on_sigterm, own_command
from support.embedding_standin import EmbeddingStandIn
from support.processes import EMBEDSERVE, clean_environment, embedded_qdrant

AT_ONCE, A_REQUEST = 10, 60


def cpu_seconds(pid: int) -> float:
    """Of one process, its children not counted."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def index(tree: str, embeddings: str) -> dict[str, float]:
    """Everything anew: the report of one run against a store of its own, with seconds of CPU time of the indexer and
    its children (`own_cpu`) and of the store (`store_cpu`)."""
    with tempfile.TemporaryDirectory() as folder, embedded_qdrant(Path(folder) / "storage") as qdrant:
        command = [*EMBEDSERVE, "index", tree, "--json", "--embeddings-url", embeddings, "--qdrant-url", qdrant.url]
        environment = clean_environment(EMBEDDING_HOME=f"{folder}/home")
        before, stored = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_seconds(qdrant.process.pid)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        report: dict[str, float] = json.loads(done.stdout)
        report["own_cpu"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report["store_cpu"] = cpu_seconds(qdrant.process.pid) - stored
        return report


def alone(server: StartedServer, texts: list[str]) -> float:
    """Seconds of the same texts without an index."""
    bodies = [request_body(texts[at : at + A_REQUEST], None) for at in range(0, len(texts), A_REQUEST)]
    waiting = iter(bodies)
    lock = threading.Lock()

    def client() -> None:
        connection = server.endpoint.connect()
        while True:
            with lock:
                body = next(waiting, None)
            if body is None:
                connection.close()
                return
            assert connection.embed(body).status == 200

    threads = [threading.Thread(target=client) for _ in range(AT_ONCE)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tree", nargs="?", default=sysconfig.get_path("stdlib"))
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    end_on_sigterm()
    # The home of whoever runs this, where an int8 artefact may be; with the cache off nothing of the run stays in it.
    environment = {"EMBEDDING_CACHE": "off", "HF_HUB_OFFLINE": "1"}
    server = StartedServer("ours", own_command(options.model, options.precision), environment)
    try:
        server.wait()
        measure(server, options.tree, options.rounds)
    finally:
        server.stop()
    return 0


def measure(server: StartedServer, tree: str, rounds: int) -> None:
    served = served_model(server.endpoint, None)
    with EmbeddingStandIn(served["dimension"], window=served["max_tokens"]) as service:
        report = index(tree, service.url)
        texts = list(service.texts)
    print(f"{report['files']} files, {report['chunks']} chunks, {len(texts)} texts of {served['id']}", flush=True)
    shares = []
    for number in range(rounds):
        cpu = [cpu_seconds(server.process.pid)]
        own = len(texts) / alone(server, texts)
        cpu.append(cpu_seconds(server.process.pid))
        report = index(tree, server.endpoint.url)
        cpu.append(cpu_seconds(server.process.pid))
        whole = report["embedded"] / report["seconds"]
        shares.append(whole / own)
        print(
            f"round {number + 1}: alone {own:.1f} texts/s, index {whole:.1f}: {whole / own:.1%}; CPU seconds: server "
            f"{cpu[1] - cpu[0]:.1f} alone, {cpu[2] - cpu[1]:.1f} beside the index's {report['own_cpu']:.1f} and the "
            f"store's {report['store_cpu']:.1f}",
            flush=True,
        )
    print(f"median share: {median(shares):.1%}")


if __name__ == "__main__":
    sys.exit(main())
