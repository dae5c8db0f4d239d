"""`embedserve index --ray ADDRESS FOLDER...`: the same indexes, made on Ray Data."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from embedserve.commands._repository import named
from embedserve.commands._search_options import connection
from embedserve.errors import IndexingFailed


def run_bulk(args: argparse.Namespace, workspaces: list[str]) -> int:
    """Index all folders in one stream; one line, or one JSON object, for each."""
    if args.watch or args.recreate or args.delete or args.include or args.exclude:
        raise IndexingFailed("--ray goes with none of --watch, --recreate, --delete, --include and --exclude")
    from embedserve.indexing.progress import Display
    from embedserve.scaling.bulk import index_repositories, on_ray
    from embedserve.scaling.work import Bulk

    where = connection(args)
    names = {path: named(where, path).repositories[0] for path in workspaces} if where.collection else {}
    bulk = Bulk(
        where.qdrant_url,
        where.qdrant_api_key,
        where.model or "auto",
        max(1, args.ray_actors),
        max(1, args.ray_cpus),
        where.home,
        collection=where.collection,
        repositories=names,
    )
    if len(set(names.values())) < len(names):
        raise IndexingFailed(f"two of the folders have one name in {where.collection}: {', '.join(names.values())}")
    with on_ray(args.ray), Display() as display:
        reports = index_repositories(workspaces, bulk, display)
    for report in reports:
        shown = {name: value for name, value in asdict(report).items() if args.verbose or name != "left_out"}
        line = json.dumps(shown, ensure_ascii=False) if args.json else f"{report.workspace}: {report.line()}"
        print(line, flush=True)
    return 0
