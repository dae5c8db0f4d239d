"""The options that index, search, mcp and doctor share: where the service and Qdrant are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from embedserve.errors import SetupError

if TYPE_CHECKING:
    from embedserve.client_settings import ClientSettings
    from embedserve.indexing.connection import Connection


def add_connection_options(parser: argparse.ArgumentParser) -> None:
    """--embeddings-url, --api-key, --model, --qdrant-url, --qdrant-api-key, --show-settings."""
    parser.add_argument(
        "--embeddings-url",
        metavar="URL",
        help="base URL of the service (EMBEDDING_URL; else EMBEDDING_HOST and EMBEDDING_PORT; http://127.0.0.1:4000/v1)",
    )
    parser.add_argument("--api-key", metavar="KEY", help="key of the service (EMBEDDING_API_KEY)")
    parser.add_argument("--model", help="model to embed with (the service's first)")
    parser.add_argument(
        "--qdrant-url",
        metavar="URL",
        help="Qdrant's URL; without a port 6333 is meant (QDRANT_URL, else QDRANT_PORT; http://127.0.0.1:6333)",
    )
    parser.add_argument("--qdrant-api-key", metavar="KEY", help="Qdrant's key (QDRANT_API_KEY)")
    parser.add_argument("--show-settings", action=ShowSettings, help="print where these would come from, and stop")


def add_shared_options(parser: argparse.ArgumentParser, about: str) -> None:
    """--collection and --repository. `about`: what naming a repository does here."""
    parser.add_argument(
        "--collection",
        metavar="NAME",
        help="one collection of many repositories (embedserve collections create), not the folder's own index",
    )
    parser.add_argument("--repository", metavar="NAME", action="append", default=[], help=about)


class ShowSettings(argparse.Action):
    """`--show-settings`: each of the five with its source; needs no other argument, as --help does."""

    def __init__(self, option_strings: list[str], dest: str, **kwargs: object) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)  # type: ignore[arg-type]

    def __call__(self, parser: argparse.ArgumentParser, args: argparse.Namespace, *_: object) -> None:
        for name, value, origin in found_settings(args).shown():
            print(f"{name:<16}{value or '-':<36}{origin}")
        parser.exit()


def found_settings(args: argparse.Namespace) -> ClientSettings:
    """The five values with their origins."""
    from embedserve.client_settings import client_settings

    names = ("embeddings_url", "api_key", "model", "qdrant_url", "qdrant_api_key")
    return client_settings(**{name: getattr(args, name, None) for name in names})


def connection(args: argparse.Namespace) -> Connection:
    """What was given, completed from the environment and the settings files."""
    from embedserve.client_settings import home
    from embedserve.indexing.connection import Connection

    found = found_settings(args)
    collection, repositories = getattr(args, "collection", None), tuple(getattr(args, "repository", ()))
    if repositories and not collection:
        raise SetupError("--repository names one of a collection: give --collection too")
    return Connection(
        embeddings_url=str(found.embeddings_url.value).rstrip("/"),
        qdrant_url=str(found.qdrant_url.value),
        api_key=found.api_key.value,
        qdrant_api_key=found.qdrant_api_key.value,
        model=found.model.value,
        home=home(),
        collection=collection,
        repositories=repositories,
    )
