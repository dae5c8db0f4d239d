"""The options that index, search, mcp and doctor share: where the service and Qdrant are."""

from __future__ import annotations

import argparse
import os


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """--embeddings-url, --api-key, --model, --qdrant-url, --qdrant-api-key."""
    parser.add_argument("--embeddings-url", metavar="URL", help="base URL of the service (http://127.0.0.1:4000/v1)")
    parser.add_argument("--api-key", metavar="KEY", help="key of the service (EMBEDDING_API_KEY)")
    parser.add_argument("--model", help="model to embed with (the service's first)")
    parser.add_argument(
        "--qdrant-url",
        metavar="URL",
        default=os.environ.get("QDRANT_URL") or "http://127.0.0.1:6333",
        help="Qdrant's URL; without a port 6333 is meant (QDRANT_URL, else http://127.0.0.1:6333)",
    )
    parser.add_argument("--qdrant-api-key", metavar="KEY", help="Qdrant's key (QDRANT_API_KEY)")


def resolve_connection(args: argparse.Namespace) -> None:
    """Fill in what was not given from the settings and the environment."""
    from embedserve.settings import load_settings

    settings = load_settings()
    args.embeddings_url = args.embeddings_url or f"http://127.0.0.1:{settings.port}/v1"
    args.api_key = args.api_key or settings.api_key
    args.qdrant_api_key = args.qdrant_api_key or os.environ.get("QDRANT_API_KEY") or None
