"""What search finds, and what each of its rules is worth: NDCG@10 on questions with known answers.

    embedserve qdrant & embedserve serve --model all-MiniLM-L6-v2 &
    python scripts/bench/search_bench.py QUESTIONS.json SOURCES [--repos a,b] [--command] [--no-index]

`search_questions.json` beside this file is one QUESTIONS.json; it names the packages that have its sources.

QUESTIONS.json: {"repos": [{"repo", "language", "queries": [{"query", "category", "targets": [{"path", "start_line"?,
"end_line"?}]}]}]}; SOURCES holds a folder for each repo. Each is indexed first. Then one table: the whole search, and
the same with one rule left out, by kind of question, by language, and by halves of the repositories (so that a rule
that helps only what it was chosen on shows). "unnamed" are questions that share no word with the name of a file that
answers them. A second table is the same without a model. `--command` asks each question through `embedserve search
--json` as well, and times it: that is the figure to quote.

A target has the rank of the first hit of its file that overlaps its lines; gain 1 at each such rank among the first
ten; the ideal has all targets on top (Järvelin and Kekäläinen 2002, with gains of 0 and 1).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedserve.commands._search_options import add_connection_options, connection
from embedserve.indexing.connection import Connection
from embedserve.indexing.lexical import Lexicon, open_lexicon
from embedserve.indexing.progress import Display
from embedserve.indexing.ranking import RULES
from embedserve.indexing.report import Report
from embedserve.indexing.rest import run
from embedserve.indexing.search import Query, find
from embedserve.indexing.sync import Indexer
from embedserve.indexing.workspace import collection_name, workspace_path
from embedserve.sources import fill

TOP = 10
COMMAND = [sys.executable, "-c", "import sys; from embedserve.cli import main; sys.exit(main())", "search"]


@dataclass
class Question:
    repo: str
    workspace: str
    language: str
    category: str
    text: str
    targets: list[dict[str, Any]]
    half: str
    scores: dict[str, float] = field(default_factory=dict)  # what was run -> NDCG@10

    @property
    def named(self) -> bool:
        return any(_words(self.text) & _words(Path(target["path"]).name.split(".")[0]) for target in self.targets)


def _words(text: str) -> set[str]:
    return {word.lower()[:5] for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", text) if len(word) > 2}


def _same_file(one: str, other: str) -> bool:
    return one == other or one.endswith("/" + other) or other.endswith("/" + one)


def ndcg(hits: Sequence[tuple[str, int, int]], targets: Sequence[dict[str, Any]]) -> float:
    """`hits`: (path, first line, last line), the best first."""

    def answers(hit: tuple[str, int, int], target: dict[str, Any]) -> bool:
        first, last = target.get("start_line"), target.get("end_line")
        inside = first is None or last is None or not (hit[2] < first or hit[1] > last)
        return inside and _same_file(hit[0], target["path"])

    ranks = set()
    for target in targets:
        found = [rank for rank, hit in enumerate(hits[:TOP], 1) if answers(hit, target)]
        ranks |= set(found[:1])
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(TOP, len(targets)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal


def read_questions(path: str, sources: str, wanted: set[str]) -> list[Question]:
    """Questions whose every target is there; halves alternate over the repositories."""
    found, number = [], 0
    for repo in json.loads(Path(path).read_text())["repos"]:
        workspace = workspace_path(os.path.join(sources, repo["repo"]))
        if (wanted and repo["repo"] not in wanted) or not os.path.isdir(workspace):
            print(f"{repo['repo']}: left out", file=sys.stderr)
            continue
        files = [os.path.relpath(p, workspace) for p in Path(workspace).rglob("*") if p.is_file()]
        half = ("first half", "other half")[number % 2]
        number += 1
        for query in repo["queries"]:
            if all(any(_same_file(file, target["path"]) for file in files) for target in query["targets"]):
                about = (repo["repo"], workspace, repo["language"], query["category"], query["query"])
                found.append(Question(*about, query["targets"], half))
    return found


async def index(where: Connection, workspace: str) -> None:
    with Display() as display:
        async with where.open(workspace, waiting=display.note) as (store, embedder):
            indexer = Indexer(store, embedder, display, lexicon=where.lexicon_path(workspace))
            await indexer.sync(Report(workspace, collection_name(workspace)))


def ask_all(where: Connection, questions: Sequence[Question], name: str, off: tuple[str, ...], by_words: bool) -> None:
    lexicons: dict[str, Lexicon | None] = {}
    for question in questions:
        if question.workspace not in lexicons:
            lexicons[question.workspace] = open_lexicon(where.lexicon_path(question.workspace) or "")
        query = Query(question.text, TOP, off=off, by_words=by_words)
        store, embedder = where.light(question.workspace)
        answer = run(find(store, embedder, query, lexicons[question.workspace]))
        if answer.notes:
            sys.exit(f"{question.repo}: {answer.notes[0]}")
        hits = [(hit.path, hit.start_line, hit.end_line) for hit in answer.hits]
        question.scores[name] = ndcg(hits, question.targets)


def by_command(args: argparse.Namespace, where: Connection, questions: Sequence[Question]) -> None:
    """Through the command line, one process a question."""
    options = ["--embeddings-url", where.embeddings_url, "--qdrant-url", where.qdrant_url]
    seconds = []
    for question in questions:
        command = [*COMMAND, question.text, "--workspace", question.workspace, "--json", *options]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds.append(time.perf_counter() - began)
        hits = [(hit["path"], hit["start_line"], hit["end_line"]) for hit in json.loads(done.stdout)]
        question.scores["embedserve search --json"] = ndcg(hits, question.targets)
    print(f"embedserve search: p50 {statistics.median(seconds):.3f} s of wall time, {len(seconds)} processes\n")


def table(questions: Sequence[Question], names: Sequence[str]) -> str:
    columns: dict[str, Callable[[Question], bool]] = {"all": lambda _: True, "unnamed": lambda q: not q.named}
    for value in dict.fromkeys(q.category for q in questions):
        columns[value] = lambda q, value=value: q.category == value
    for value in dict.fromkeys(q.language for q in questions):
        columns[value] = lambda q, value=value: q.language == value
    for value in dict.fromkeys(q.half for q in questions):
        columns[value] = lambda q, value=value: q.half == value
    rows = ["| | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for name in names:
        cells = [_mean(q.scores[name] for q in questions if chosen(q)) for chosen in columns.values()]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = [str(sum(map(chosen, questions))) for chosen in columns.values()]
    return "\n".join([*rows, "| questions | " + " | ".join(counts) + " |"])


def _mean(values: Iterable[float]) -> str:
    given = list(values)
    return f"{sum(given) / len(given):.3f}" if given else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions")
    parser.add_argument("sources")
    parser.add_argument("--repos", default="")
    parser.add_argument("--no-index", action="store_true", help="the folders are indexed already")
    parser.add_argument("--command", action="store_true", help="ask by `embedserve search --json` too")
    add_connection_options(parser)
    args = parser.parse_args()
    where = connection(args)
    questions = read_questions(args.questions, args.sources, set(filter(None, args.repos.split(","))))
    if not args.no_index:
        for workspace in dict.fromkeys(question.workspace for question in questions):
            asyncio.run(index(where, workspace))
    if args.command:
        by_command(args, where, questions)
    for title, by_words, rules in (
        ("By meaning and by words", False, RULES),
        ("By words alone, without a model", True, tuple(rule for rule in RULES if rule not in ("meaning", "words"))),
    ):
        runs = {"whole": (), **{f"without {rule}": (rule,) for rule in rules}}
        if not by_words:
            runs["by cosine alone"] = tuple(rule for rule in RULES if rule != "meaning")
        for name, off in runs.items():
            ask_all(where, questions, f"{title}: {name}", off, by_words)
        print(f"{title}\n")
        names = ["embedserve search --json"] * (args.command and not by_words)
        print(table(questions, [*names, *(f"{title}: {name}" for name in runs)]).replace(f"{title}: ", "") + "\n")


if __name__ == "__main__":
    fill(os.environ)
    main()
