"""`embedserve collections create|list|copy`: one collection of many repositories, for a team's Qdrant."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from embedserve.commands._search_options import add_connection_options, connection
from embedserve.errors import IndexingFailed, SetupError

if TYPE_CHECKING:
    from embedserve.indexing.sizing import Need, Sizing


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="say what a collection needs, then make it")
    create.add_argument("name", metavar="NAME", help="of the collection, for --collection of index, search and mcp")
    create.add_argument(
        "--repositories", type=_positive, required=True, metavar="N", help="about how many there will be"
    )
    create.add_argument("--chunks", type=_positive, required=True, metavar="M", help="about how many of all together")
    create.add_argument(
        "--quantization",
        choices=("scalar", "binary", "none"),
        default="scalar",
        help="vectors in memory: a byte (scalar) or a bit (binary) a dimension, with the originals on disk to score "
        "the best again; none: the originals in memory (scalar)",
    )
    create.add_argument("--replicas", type=_positive, default=1, metavar="R", help="copies in a cluster (1)")
    create.add_argument("--shards", type=_positive, metavar="S", help="shard keys in a cluster (by the sizing)")
    create.add_argument("--node-ram", default="64g", metavar="SIZE", help="memory of a node, for the sizing (64g)")
    create.add_argument("--node-disk", default="1t", metavar="SIZE", help="disk of a node, for the sizing (1t)")
    create.add_argument(
        "--dimension", type=_positive, metavar="D", help="of the vectors, with --model (asks the service)"
    )
    create.add_argument("--yes", action="store_true", help="make it without a question")
    create.add_argument("--json", action="store_true", help="print the sizing as JSON")
    add_connection_options(create)
    listed = actions.add_parser("list", help="the shared collections and their repositories")
    add_connection_options(listed)
    copy = actions.add_parser("copy", help="move a folder's own index into a collection, without embedding anything")
    copy.add_argument("name", metavar="NAME", help="the collection")
    copy.add_argument("paths", metavar="PATH", nargs="*", help="indexed folders (the current one)")
    copy.add_argument("--to", metavar="URL", help="Qdrant of the collection (the same as --qdrant-url)")
    copy.add_argument(
        "--to-api-key", metavar="KEY", help="its key (the same as --qdrant-api-key where --to is not given)"
    )
    copy.add_argument(
        "--repository",
        dest="called",
        metavar="NAME",
        help="what the folder is called there (its git remote, else its name)",
    )
    add_connection_options(copy)


def run(args: argparse.Namespace) -> int:
    return asyncio.run({"create": _create, "list": _list, "copy": _copy}[args.action](args))


async def _create(args: argparse.Namespace) -> int:
    from embedserve.indexing.creating import Wanted, create, notes, server, shard_keys
    from embedserve.indexing.sizing import Need, sizing

    model, dimension = await _model(args)
    quantization = "" if args.quantization == "none" else args.quantization
    ram, disk = _size(args.node_ram), _size(args.node_disk)
    need = Need(args.repositories, args.chunks, dimension, quantization, args.replicas, ram, disk)
    found = sizing(need)
    if args.json:
        facts = {"collection": args.name, "model": model, **vars(need), **vars(found), "cost_of_a_month": found.cost}
        print(json.dumps(facts))
    else:
        _show(args.name, model, need, found)
    client = connection(args).qdrant()
    try:
        told = await server(client)
        shards = shard_keys(args.shards, found.shards, told)
        wanted = Wanted(args.name, model, dimension, quantization, shards, args.replicas)
        for note in notes(wanted, told, found.nodes):
            print(f"embedserve collections: {note}", file=sys.stderr)
        if not (args.yes or _agreed()):
            print("nothing was made; --yes makes it", file=sys.stderr)
            return 1
        await create(client, wanted, told)
    finally:
        await client.close()
    print(f"made the collection {args.name}: embedserve index --collection {args.name} FOLDER", file=sys.stderr)
    return 0


def _show(name: str, model: str, need: Need, found: Sizing) -> None:
    from embedserve.indexing.sizing import shown_bytes

    print(f"{name}: {need.chunks:,} chunks of {need.repositories:,} repositories, {model}")
    kind = need.quantization or "no"
    print(f"{need.dimension} dimensions, {kind} quantisation, {need.replicas} replica{'s' * (need.replicas > 1)}")
    print(f"  memory  {shown_bytes(found.ram):>15}")
    print(f"  disk    {shown_bytes(found.disk):>15}")
    ram, disk = need.node_ram / 2**30, need.node_disk / 2**30
    print(f"  nodes   {found.nodes:12,}    of {ram:,.0f} GiB memory and {disk:,.0f} GiB disk, filled to 80 %")
    print(f"  a month {found.cost}, or {found.nodes:,} x price of a node")


async def _list(args: argparse.Namespace) -> int:
    from embedserve.indexing.rest import collection_path
    from embedserve.indexing.shared import SharedStore, layout_of

    client = connection(args).qdrant()
    try:
        names = [item["name"] for item in (await client.call("GET", "/collections"))["collections"]]
        for name in sorted(names):
            info = await client.call("GET", collection_path(name))
            layout = layout_of(info)
            if layout is None:
                continue
            repositories = sorted(await SharedStore(client, name).indexed_workspaces())
            points = int(info.get("points_count") or 0) - len(repositories)
            print(f"{name}: {points:,} chunks of {len(repositories)} repositories, {layout.model} ({layout.dimension})")
            for repository in repositories:
                print(f"  {repository}")
    finally:
        await client.close()
    return 0


async def _copy(args: argparse.Namespace) -> int:
    from embedserve.indexing.copying import copy_index
    from embedserve.indexing.qdrant import Qdrant
    from embedserve.indexing.repository import check_owner, repository_name
    from embedserve.indexing.shared import SharedStore
    from embedserve.indexing.store import Store
    from embedserve.indexing.workspace import workspace_path

    where = connection(args)
    if args.called and len(args.paths) > 1:
        raise IndexingFailed("--repository names one folder's index: give one name and one folder")
    here = where.qdrant()
    there = Qdrant(args.to or where.qdrant_url, args.to_api_key or (None if args.to else where.qdrant_api_key))
    try:
        for path in args.paths or ["."]:
            workspace = workspace_path(path)
            name = args.called or repository_name(workspace)
            target = SharedStore(there, args.name, (name,), workspace)
            await target.open()
            if not args.called:
                await check_owner(target)
            copied = await copy_index(Store(here, workspace), target)
            print(f"{workspace}: {copied:,} chunks are {name} in the collection {args.name} at {there.url}", flush=True)
    finally:
        await here.close()
        await there.close()
    return 0


async def _model(args: argparse.Namespace) -> tuple[str, int]:
    """Id and dimension: as given, or as the service says."""
    if args.dimension:
        if not args.model:
            raise SetupError("--dimension goes with --model: the collection is for the vectors of one model")
        return args.model, args.dimension
    embedder = connection(args).embedder()
    try:
        await embedder.probe()
    finally:
        await embedder.close()
    return str(embedder.model), embedder.dimension


def _agreed() -> bool:
    if not sys.stdin.isatty():
        return False
    return input("make it? [y/N] ").strip().lower() in ("y", "yes")


def _size(text: str) -> int:
    from embedserve.settings import parse_size

    try:
        return int(parse_size(text))
    except ValueError as error:
        raise SetupError(f"{text}: {error}") from None


def _positive(text: str) -> int:
    value = int(text.replace("_", "").replace(",", ""))
    if value < 1:
        raise argparse.ArgumentTypeError("give a number from 1")
    return value
