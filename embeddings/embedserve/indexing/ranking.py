"""Orders the chunks that a question found: ranks by meaning and by words, then rules that know code.

Pure: candidates in, ordered candidates out, each with the rules that moved it. A rule is one function of a candidate
and gives a bonus (added, in shares of the best fused score) or a factor. No rule knows a repository. It knows no store
and no model; what a chunk defines was stored when it was cut.
"""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from embedserve.indexing.fusion import bm25_ranking, reciprocal_ranks
from embedserve.indexing.tokens import query_words, words

FURTHER_CHUNK = 0.5  # each chunk of a file counts half of the one before
VOTES = 0.2
MEANING, WORDS = 0.7, 0.3  # of the fused ranks: words alone mislead a question in prose
NAME_IN_QUESTION, QUESTION_IN_NAME, FOLDERS = 0.1, 0.3, 0.05
DEFINES_QUESTION, DEFINES_WORD = 1.0, 0.5
TEST, ASIDE, PROSE, BARREL = 0.5, 0.6, 0.7, 0.7

_FOLDER_NAMES_IT = {"index", "mod", "lib", "main", "__init__"}
_ASIDE = {"example", "examples", "docs", "doc", "vendor", "third_party", "dist", "node_modules"}
_PROSE = {"markdown", "json", "yaml", "toml"}
_BARRELS = {"__init__.py", "index.ts", "index.js", "index.tsx", "mod.rs"}
_TEST_FOLDERS = {"test", "tests", "__tests__", "spec", "specs", "testdata"}
_TEST_FILE = {
    "python": re.compile(r"(test_.*|.*_test|conftest)\.py"),
    "go": re.compile(r".*_test\.go"),
    "javascript": re.compile(r".*\.(test|spec)\.[cm]?jsx?"),
    "typescript": re.compile(r".*\.(test|spec)\.[cm]?tsx?"),
    "tsx": re.compile(r".*\.(test|spec)\.tsx"),
    "php": re.compile(r".*Test\.php"),
    "java": re.compile(r".*Tests?\.java"),
    "ruby": re.compile(r".*_(spec|test)\.rb"),
}
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_LOOKS_LIKE_CODE = re.compile(r".*(_|[a-z][A-Z]|[A-Z].*[a-z].*[A-Z])")


@dataclass(frozen=True)
class Candidate:
    """A chunk as the rules see it; lists of candidates come in the order of their cosines, best first."""

    path: str
    language: str
    text: str
    defines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked:
    """`at`: which candidate. `why`: the rules that moved it, such as "defines +0.50"."""

    at: int
    score: float
    why: list[str] = field(default_factory=list)


def rank(question: str, candidates: Sequence[Candidate]) -> list[Ranked]:
    """All candidates but repetitions of the same text, best first."""
    asked = query_words(question)
    by_words = bm25_ranking(asked, [words(candidate.text) for candidate in candidates])
    fused = reciprocal_ranks([range(len(candidates)), by_words], [MEANING, WORDS], len(candidates))
    top = max(fused, default=0.0)
    votes = file_votes([candidate.path for candidate in candidates], fused)
    found = []
    for at, candidate in enumerate(candidates):
        bonuses = {
            "name": name_bonus(asked, candidate.path),
            "defines": definition_bonus(question, candidate.defines),
            "votes": votes[at],
        }
        factors = {"file": file_factor(question, candidate.path, candidate.language)}
        score = (fused[at] + top * sum(bonuses.values())) * factors["file"]
        why = [f"{name} +{bonus:.2f}" for name, bonus in bonuses.items() if bonus]
        found.append(
            Ranked(at, score, why + [f"{name} x{factor:.2f}" for name, factor in factors.items() if factor != 1])
        )
    return spread(found, candidates)


def file_votes(paths: Sequence[str], scores: Sequence[float]) -> list[float]:
    """A file that many candidates are of is likely the right one: its best chunk gets VOTES, by share of the most."""
    total: dict[str, float] = defaultdict(float)
    best: dict[str, int] = {}
    for at, path in enumerate(paths):
        total[path] += scores[at]
        if path not in best or scores[at] > scores[best[path]]:
            best[path] = at
    most = max(total.values(), default=0.0)
    return [VOTES * total[path] / most if most and best[path] == at else 0.0 for at, path in enumerate(paths)]


def name_bonus(asked: Sequence[str], path: str) -> float:
    """The question's words in the file's name, and less in the two folders above it."""
    folders, name = posixpath.split(path)
    stem = name.split(".")[0]
    above = [folder for folder in folders.split("/") if folder][-2:]
    if stem in _FOLDER_NAMES_IT and above:
        stem = above[-1]
    in_name = words(stem)
    bonus = QUESTION_IN_NAME * _share(asked, in_name) + NAME_IN_QUESTION * _share(in_name, asked)
    return bonus + FOLDERS * _share(asked, [word for folder in above for word in words(folder)])


def definition_bonus(question: str, defines: Sequence[str]) -> float:
    """A chunk that defines the identifier that was asked for; less where the identifier stands in a sentence."""
    names = _IDENTIFIER.findall(question)
    last = {name.rpartition(".")[2].rpartition("::")[2] for name in defines}
    if len(names) == 1 or (len(question.split()) == 1 and names):
        return DEFINES_QUESTION if names[-1] in last else 0.0
    return DEFINES_WORD if any(name in last for name in names if _LOOKS_LIKE_CODE.match(name)) else 0.0


def file_factor(question: str, path: str, language: str) -> float:
    """Tests, examples, prose and barrel files are seldom what is looked for, unless the question names them."""
    asked = set(words(question))
    folders, name = posixpath.split(path)
    parts = set(folders.lower().split("/"))
    pattern = _TEST_FILE.get(language)
    factor = 1.0
    is_test = bool(pattern and (pattern.fullmatch(name) or parts & _TEST_FOLDERS))
    if is_test and not asked & {"test", "spec", "fixtur", "mock"}:
        factor *= TEST
    if parts & _ASIDE and not asked & {"exampl", "doc", "documentation"}:
        factor *= ASIDE
    if language in _PROSE and not asked & {"readm", "doc", "documentation", "config", "json", "yaml", "toml"}:
        factor *= PROSE
    return factor * BARREL if name in _BARRELS else factor


def spread(found: Sequence[Ranked], candidates: Sequence[Candidate]) -> list[Ranked]:
    """Best first; a further chunk of a file counts FURTHER_CHUNK of the one before; a repeated text is left out."""
    seen: dict[str, int] = defaultdict(int)
    texts: set[str] = set()
    spread_out = []
    for item in sorted(found, key=lambda item: (-item.score, item.at)):
        candidate = candidates[item.at]
        text = " ".join(candidate.text.split())
        if text in texts:
            continue
        texts.add(text)
        before = seen[candidate.path]
        seen[candidate.path] += 1
        why = [*item.why, f"further x{FURTHER_CHUNK**before:.2f}"] if before else item.why
        spread_out.append(Ranked(item.at, item.score * FURTHER_CHUNK**before, why))
    return sorted(spread_out, key=lambda item: (-item.score, item.at))


def _share(wanted: Sequence[str], among: Sequence[str]) -> float:
    """How many of `wanted` are in `among`; a common beginning of four letters counts."""
    if not wanted or not among:
        return 0.0
    return sum(1 for word in wanted if any(_same(word, other) for other in among)) / len(wanted)


def _same(one: str, other: str) -> bool:
    return one == other or (len(one) >= 4 and len(other) >= 4 and one[:4] == other[:4])
