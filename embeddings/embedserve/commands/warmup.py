"""`embedserve warmup`: one real request to a running server, and its answer shown.

The proof that the whole chain works, not a means to make it fast: the server warms itself before /ready. Knows the
service only over HTTP, as any client does.
"""

from __future__ import annotations

import argparse
from typing import Any

# Two that say the same in two languages, and two of another kind.
TEXTS = {
    "python add": "def add(a, b):\n    return a + b",
    "js sum": "function sum(x, y) {\n  return x + y;\n}",
    "sql": "SELECT name, email FROM users WHERE id = 42;",
    "go read": "func read(path string) ([]byte, error) {\n\treturn os.ReadFile(path)\n}",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="the server (default: EMBEDDING_HOST and EMBEDDING_PORT)")
    parser.add_argument("--model", help="which served model (default: the server's default)")
    parser.add_argument("--shown-url", help="the address to show in the curl line, where another one is published")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="(default: 120)")


def run(args: argparse.Namespace) -> int:
    """Send, check, show. Returns 1 when the server does not answer as it should."""
    import sys
    import time

    import httpx

    from embedserve.client_settings import client_settings
    from embedserve.errors import SetupError

    found = client_settings()
    key = found.api_key.value
    url = (args.url or str(found.embeddings_url.value)).rstrip("/").removesuffix("/v1")
    body: dict[str, Any] = {"input": list(TEXTS.values()), "encoding_format": "float"}
    if args.model:
        body["model"] = args.model
    headers = {"Authorization": f"Bearer {key or 'local'}"}
    began = time.perf_counter()
    try:
        # A proxy set for the internet must not be asked for this machine's own port.
        with httpx.Client(trust_env=False, timeout=args.timeout) as client:
            reply = client.post(f"{url}/v1/embeddings", json=body, headers=headers)
    except httpx.TransportError as error:
        raise SetupError(
            f"no answer from {url} ({type(error).__name__}). Is it running? scripts/manage.sh status"
        ) from None
    milliseconds = (time.perf_counter() - began) * 1000
    if reply.status_code != 200:
        print(f"embedserve warmup: {url} answered {reply.status_code}: {_reason(reply)}", file=sys.stderr)
        return 1
    print(render(reply.json(), milliseconds))
    keyed = "-H 'Authorization: Bearer '$EMBEDDING_API_KEY " if key else ""
    print("\nThe same by hand:")
    print(f"  curl {args.shown_url or url}/v1/embeddings {keyed}-H 'Content-Type: application/json' \\")
    print("""    -d '{"input": ["def add(a, b): return a + b"]}'""")
    return 0


def render(answer: dict[str, Any], milliseconds: float) -> str:
    """The answer as text: model, dimension, first values, cosines of all pairs."""
    import numpy as np

    vectors = np.array([row["embedding"] for row in answer["data"]], dtype=np.float64)
    if vectors.shape[0] != len(TEXTS) or not np.isfinite(vectors).all():
        raise ValueError(f"{len(TEXTS)} finite vectors were expected; the answer has the shape {vectors.shape}")
    first = "  ".join(f"{value:+.4f}" for value in vectors[0, :5])
    names = list(TEXTS)
    width = max(map(len, names))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    lines = [
        f"model      {answer['model']}",
        f"dimension  {vectors.shape[1]}",
        f"texts      {len(TEXTS)} ({answer['usage']['prompt_tokens']} tokens) in {milliseconds:.0f} ms",
        f"first      {first} ...  (of '{names[0]}')",
        "",
        "similarity " + " " * (width - 8) + "".join(f"{name:>12}" for name in names),
    ]
    for name, row in zip(names, unit @ unit.T, strict=True):
        lines.append(f"  {name:<{width}}" + "".join(f"{value:12.3f}" for value in row))
    return "\n".join(lines)


def _reason(reply: Any) -> str:
    try:
        return str(reply.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(reply.text[:200])
