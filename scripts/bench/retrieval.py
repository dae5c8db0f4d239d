"""How well is code found? Docstring -> function, through the whole path: chunk, embed, Qdrant, search.

Functions with a docstring are taken from the Python standard library and from this repository. The docstrings are
cut out of the sources, the rest is indexed as `embedserve index` does it, and the first paragraph of each
docstring is the question. A hit is right when it overlaps the lines of its function.

Printed for each corpus: MRR (over the first 50), recall@1 and @10, of the nearest vectors alone and of the search as it
is (words and rules too); and how the cosines of right answers and of wrong ones are spread, from which follows the
threshold that keeps 95 % of the right answers found.

    embedserve qdrant & embedserve serve --model all-MiniLM-L6-v2 &
    python scripts/bench/retrieval.py --pairs 1500

This repository grows: a figure of another day compares on that day's tree alone (`git worktree add`, `--checkout`).
The index is made in a folder and collection of its own and removed at the end.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import json
import os
import random
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedserve.commands._search_options import add_connection_options, connection
from embedserve.indexing.embedder import BATCH, Embedder
from embedserve.indexing.lexical import drop_lexicon, open_lexicon
from embedserve.indexing.progress import Display
from embedserve.indexing.search import Query, find
from embedserve.indexing.store import Store
from embedserve.indexing.sync import Indexer, Report, all_or_first_error
from embedserve.sources import fill

DEPTH = 50
REPOSITORY = Path(__file__).parents[2]
SKIPPED = {"test", "tests", "idlelib", "lib2to3", "site-packages", "turtledemo", "__pycache__"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Pair:
    question: str
    path: str
    first: int
    last: int  # lines of the function in the stripped file, both included
    rank: int = 0  # by cosine alone; 0: not among the first DEPTH
    searched: int = 0  # of the search
    score: float = 0.0
    wrong: tuple[float, ...] = ()  # scores of the wrong hits among the first ten


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def paragraph(node: Function) -> str:
    return " ".join((ast.get_docstring(node) or "").strip().split("\n\n")[0].split())


def stripped(source: str) -> tuple[str, list[str]]:
    """`source` without any docstring, and the question of each function in ast.walk order."""
    tree = ast.parse(source)
    lines = source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            text = node.body[0]
            assert text.end_lineno is not None
            indent = lines[text.lineno - 1][: text.col_offset]
            filler = indent + "pass" if len(node.body) == 1 and not isinstance(node, ast.Module) else ""
            if indent.strip():  # one-line definition: `def f(): "text"`
                continue
            lines[text.lineno - 1 : text.end_lineno] = [filler] + [""] * (text.end_lineno - text.lineno)
    return "\n".join(lines), [paragraph(node) for node in functions(tree)]


def make_corpus(source: Path, target: Path, wanted: int) -> list[Pair]:
    """Copy files in random order, without docstrings, until there are enough pairs."""
    files = [path for path in sorted(source.rglob("*.py")) if not SKIPPED & set(path.relative_to(source).parts)]
    random.Random(1).shuffle(files)
    pairs: list[Pair] = []
    for path in files:
        try:
            text, questions = stripped(path.read_text())
            nodes = list(functions(ast.parse(text)))
        except (SyntaxError, UnicodeDecodeError):
            continue
        relative = path.relative_to(source)
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        (target / relative).write_text(text)
        for node, question in zip(nodes, questions, strict=True):
            lines = (node.end_lineno or 0) - node.lineno
            if 20 <= len(question) <= 400 and lines >= 2:
                pairs.append(Pair(question, str(relative), node.lineno, node.end_lineno or 0))
        if len(pairs) >= wanted:
            break
    return pairs[:wanted]


async def measure(args: argparse.Namespace, source: Path, folder: Path) -> dict[str, Any]:
    pairs = make_corpus(source, folder, args.pairs)
    where = connection(args)
    store, embedder = Store(where.qdrant(), str(folder)), where.embedder()
    report = Report(str(folder), store.collection)
    with Display() as display:
        try:
            lexicon = where.lexicon_path(str(folder)) or ""
            await Indexer(store, embedder, display, lexicon=lexicon).sync(report)
            display.start("asking", len(pairs))
            batches = iter([pairs[start : start + BATCH] for start in range(0, len(pairs), BATCH)])
            await all_or_first_error([ask(batches, store, embedder, display) for _ in range(4)])
            display.start("searching", len(pairs))
            for pair in pairs:
                await searched(pair, store, embedder, lexicon)
                display.advance(1)
        finally:
            drop_lexicon(lexicon)
            await store.drop()
            await embedder.close()
            await store.qdrant.close()
    return {"model": report.model, "files": report.files, "chunks": report.chunks, **figures(pairs)}


async def ask(batches: Iterator[list[Pair]], store: Store, embedder: Embedder, display: Display) -> None:
    for batch in batches:
        vectors = await embedder.embed([pair.question for pair in batch])
        for pair, vector in zip(batch, vectors.tolist(), strict=True):
            judge(pair, await store.query(vector, DEPTH, None))
            display.advance(1)


async def searched(pair: Pair, store: Store, embedder: Embedder, path: str) -> None:
    lexicon = open_lexicon(path)
    assert lexicon
    hits = (await find(store, embedder, Query(pair.question, DEPTH), lexicon)).hits
    lexicon.close()
    for rank, hit in enumerate(hits, 1):
        if hit.path == pair.path and hit.start_line <= pair.last and hit.end_line >= pair.first:
            pair.searched = rank
            return


def judge(pair: Pair, points: list[Any]) -> None:
    wrong = []
    for rank, point in enumerate(points, 1):
        payload = point["payload"]
        overlaps = payload["start_line"] <= pair.last and payload["end_line"] >= pair.first
        if payload["path"] == pair.path and overlaps:
            if not pair.rank:
                pair.rank, pair.score = rank, float(point["score"])
        elif rank <= 10:
            wrong.append(float(point["score"]))
    pair.wrong = tuple(wrong)


def figures(pairs: list[Pair]) -> dict[str, Any]:
    ranks = np.array([pair.rank for pair in pairs])
    right = np.array([pair.score for pair in pairs if 1 <= pair.rank <= 10])
    wrong = np.array([score for pair in pairs for score in pair.wrong])
    keep = float(np.percentile(right, 5))
    threshold = np.floor(keep * 20) / 20  # down to a multiple of 0.05
    return {
        "pairs": len(pairs),
        "mrr": float(np.mean([1 / rank if rank else 0 for rank in ranks])),
        "recall_at_1": float(np.mean(ranks == 1)),
        "recall_at_10": float(np.mean((ranks >= 1) & (ranks <= 10))),
        "search_mrr": float(np.mean([1 / pair.searched if pair.searched else 0 for pair in pairs])),
        "search_recall_at_1": float(np.mean([pair.searched == 1 for pair in pairs])),
        "search_recall_at_10": float(np.mean([1 <= pair.searched <= 10 for pair in pairs])),
        "right_scores": spread(right),
        "wrong_scores": spread(wrong),
        "threshold": float(threshold),
        "right_kept": float(np.mean(right >= threshold)),
        "wrong_cut": float(np.mean(wrong < threshold)),
        "right_kept_at_0.4": float(np.mean(right >= 0.4)),
        "wrong_cut_at_0.4": float(np.mean(wrong < 0.4)),
    }


def spread(scores: np.ndarray) -> dict[str, float]:
    return {f"p{p}": round(float(np.percentile(scores, p)), 3) for p in (5, 25, 50, 75, 95)}


def show(name: str, result: dict[str, Any]) -> None:
    print(f"{name}: {result['pairs']} pairs, {result['chunks']} chunks of {result['files']} files, {result['model']}")
    for kind, key in (("by cosine alone", ""), ("search", "search_")):
        shown = "   ".join(
            f"{m} {result[key + m.lower().replace('@', '_at_')]:.4f}" for m in ("MRR", "recall@1", "recall@10")
        )
        print(f"  {kind}: {shown}")
    for kind in ("right", "wrong"):
        shown = "  ".join(f"{p} {score:.2f}" for p, score in result[f"{kind}_scores"].items())
        print(f"  scores of {kind} answers in the first ten:  {shown}")
    for name, key in ((f"{result['threshold']:.2f}", ""), ("0.40", "_at_0.4")):
        kept, cut = result["right_kept" + key], result["wrong_cut" + key]
        print(f"  threshold {name}: keeps {kept:.1%} of the right answers, drops {cut:.1%} of the wrong ones")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=int, default=1500, help="most pairs of a corpus (1500)")
    parser.add_argument("--corpus", action="append", choices=["stdlib", "repository"], help="both by default")
    parser.add_argument("--checkout", type=Path, default=REPOSITORY, help="a checkout of this repository (this one)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_connection_options(parser)
    args = parser.parse_args()
    fill(os.environ)
    sources = {"stdlib": Path(sysconfig.get_path("stdlib")), "repository": args.checkout / "embeddings"}
    results = {}
    for name in args.corpus or sources:
        with tempfile.TemporaryDirectory(prefix="embedserve-retrieval-") as folder:
            results[name] = asyncio.run(measure(args, sources[name], Path(folder)))
        if not args.json:
            show(name, results[name])
    if args.json:
        print(json.dumps(results, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
