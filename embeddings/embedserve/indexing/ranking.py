"""Orders the chunks that a question found: ranks by meaning and by words, then rules that know code.

Pure: candidates in, ordered candidates out, each with the rules that moved it. A rule is one function of a candidate
and gives a bonus (added, in shares of the best fused score) or a factor. No rule knows a repository. It knows no store
and no model; what a chunk defines was stored when it was cut. `off` leaves rules out, to measure what each is worth.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from embedserve.indexing.entry import Entry
from embedserve.indexing.fusion import K, reciprocal_ranks
from embedserve.indexing.question import asks_for_one
from embedserve.indexing.tokens import query_words, words

FURTHER_CHUNK = 0.65  # of every chunk of a file but its best; powers of it hide the fifth function of a long file
VOTES = 0.4
MEANING, WORDS = 0.5, 0.5  # of the fused ranks
ONE_K, ONE_MEANING, ONE_WORDS = 5, 0.6, 0.4  # where one function is asked for: the first places count for more
NAME_IN_QUESTION, QUESTION_IN_NAME, FOLDERS = 0.13, 0.4, 0.07
OWN_NAME_IN_QUESTION = 0.1
DEFINES_QUESTION, DEFINES_WORD = 1.0, 0.5
TEST, ASIDE, PROSE, BARREL = 0.5, 0.6, 0.7, 0.7

RULES = ("meaning", "words", "one", "votes", "name", "defines", "own name", "file", "further", "repeated")

_FOLDER_NAMES_IT = {"index", "mod", "lib", "main", "__init__"}
_ASIDE = {"example", "examples", "docs", "doc", "vendor", "third_party", "dist", "node_modules"}
_PROSE = {"markdown", "json", "yaml", "toml"}
_BARRELS = {"__init__.py", "index.ts", "index.js", "index.tsx", "mod.rs"}
_LOOSE = {"text", "block", "variable", "licence", "section"}  # kinds of chunks that define no function or type
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
_REACHED = re.compile(r"[^\W\d]\w*(?:(?:\.|::|->|#)[^\W\d]\w*)+|[^\W\d]\w*(?=\(\))")


@dataclass(frozen=True)
class Ranked:
    """`at`: which candidate. `why`: the rules that moved it, such as "defines +0.50"."""

    at: int
    score: float
    why: list[str] = field(default_factory=list)


def rank(
    question: str,
    candidates: Sequence[Entry],
    by_meaning: Sequence[int],
    by_words: Sequence[int],
    without_vector: Collection[int] = (),
    off: Collection[str] = (),
    sizes: Mapping[str, int] | None = None,
) -> list[Ranked]:
    """All candidates but repetitions of the same text, best first. `by_meaning`, `by_words`: which candidates, the best
    first. `without_vector`: those that meaning could not find: words alone decide of them. `off`: of RULES.
    `sizes`: chunks of each file; None: not known."""
    one = "one" not in off and asks_for_one(question)
    fused = _fused(len(candidates), by_meaning, by_words, set(without_vector), off, one)
    top = max(fused, default=0.0)
    asked = query_words(question)
    votes = [0.0] * len(candidates)
    if "votes" not in off:
        votes = file_votes([candidate.path for candidate in candidates], fused, sizes)
    found = []
    for at, candidate in enumerate(candidates):
        bonuses = {
            "name": name_bonus(asked, candidate.path),
            "defines": definition_bonus(question, candidate.defines),
            "own name": own_name_bonus(asked, candidate.defines),
            "votes": votes[at],
        }
        bonuses = {name: bonus for name, bonus in bonuses.items() if bonus and name not in off}
        factor = 1.0 if "file" in off else file_factor(question, candidate)
        why = [f"{name} +{bonus:.2f}" for name, bonus in bonuses.items()] + [f"file x{factor:.2f}"] * (factor != 1)
        found.append(Ranked(at, (fused[at] + top * sum(bonuses.values())) * factor, why))
    return spread(found, candidates, range(len(candidates)) if one else by_meaning[:1], off)


def _fused(
    count: int,
    by_meaning: Sequence[int],
    by_words: Sequence[int],
    without_vector: set[int],
    off: Collection[str],
    one: bool,
) -> list[float]:
    both = [by_meaning if "meaning" not in off else [], by_words if "words" not in off else []]
    weights, k = ([ONE_MEANING, ONE_WORDS], ONE_K) if one else ([MEANING, WORDS], K)
    fused = reciprocal_ranks(both, weights, count, k)
    if not without_vector:
        return fused
    by_words_alone = reciprocal_ranks(both[1:], [sum(weights)], count, k)
    return [by_words_alone[at] if at in without_vector else score for at, score in enumerate(fused)]


def file_votes(paths: Sequence[str], scores: Sequence[float], sizes: Mapping[str, int] | None = None) -> list[float]:
    """A file that many candidates are of is likely the right one: its best chunk gets VOTES, by share of the most. A
    long file has more candidates by chance: its sum is divided by the square root of its chunks (`sizes`; where they
    are not known, of its candidates)."""
    total: dict[str, float] = defaultdict(float)
    best: dict[str, int] = {}
    for at, path in enumerate(paths):
        total[path] += scores[at]
        if path not in best or scores[at] > scores[best[path]]:
            best[path] = at
    counted = Counter(paths)
    known = sizes or {}
    for path in total:
        total[path] /= math.sqrt(max(known.get(path, 0), counted[path]))
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


@lru_cache(maxsize=16)
def called_names(question: str) -> frozenset[str]:
    """The identifiers that a sentence calls by name: those that look like code, and the last part of `a.b`, of `A::b`
    and of `f()`."""
    reached = {_IDENTIFIER.findall(match)[-1] for match in _REACHED.findall(question)}
    return frozenset(reached | {name for name in _IDENTIFIER.findall(question) if _LOOKS_LIKE_CODE.match(name)})


def definition_bonus(question: str, defines: Sequence[str]) -> float:
    """A chunk that defines the identifier that was asked for; less where the identifier stands in a sentence."""
    last = {name.rpartition(".")[2].rpartition("::")[2] for name in defines}
    names = _IDENTIFIER.findall(question)
    if names and len(question.split()) == 1:
        return DEFINES_QUESTION if names[-1] in last else 0.0
    return DEFINES_WORD if not last.isdisjoint(called_names(question)) else 0.0


def own_name_bonus(asked: Sequence[str], defines: Sequence[str]) -> float:
    """How much of a name that the chunk defines the question says, the best of its names."""
    return OWN_NAME_IN_QUESTION * max((_share(words(name), asked) for name in defines), default=0.0)


def file_factor(question: str, candidate: Entry) -> float:
    """Tests, examples, prose and barrel files are seldom what is looked for, unless the question names them. A function
    or a class in a barrel file is as good as another's."""
    asked = set(words(question))
    folders, name = posixpath.split(candidate.path)
    parts = set(folders.lower().split("/"))
    pattern = _TEST_FILE.get(candidate.language)
    factor = 1.0
    is_test = bool(pattern and (pattern.fullmatch(name) or parts & _TEST_FOLDERS))
    if is_test and not asked & {"test", "spec", "fixtur", "mock"}:
        factor *= TEST
    if parts & _ASIDE and not asked & {"exampl", "doc", "documentation"}:
        factor *= ASIDE
    if candidate.language in _PROSE and not asked & {"readm", "doc", "documentation", "config", "json", "yaml", "toml"}:
        factor *= PROSE
    return factor * BARREL if name in _BARRELS and candidate.kind in _LOOSE else factor


def spread(
    found: Sequence[Ranked], candidates: Sequence[Entry], free: Collection[int], off: Collection[str] = ()
) -> list[Ranked]:
    """Best first; every chunk of a file but the best counts FURTHER_CHUNK, unless it is `free` of that (the nearest of
    all; every one where one function is asked for); a repeated text is left out."""
    seen: set[str] = set()
    texts: set[str] = set()
    spread_out = []
    for item in sorted(found, key=lambda item: (-item.score, item.at)):
        candidate = candidates[item.at]
        text = " ".join(candidate.text.split())
        if text in texts and "repeated" not in off:
            continue
        texts.add(text)
        further = candidate.path in seen and "further" not in off and item.at not in free
        seen.add(candidate.path)
        why = [*item.why, f"further x{FURTHER_CHUNK:.2f}"] if further else item.why
        spread_out.append(Ranked(item.at, item.score * (FURTHER_CHUNK if further else 1.0), why))
    return sorted(spread_out, key=lambda item: (-item.score, item.at))


def _share(wanted: Sequence[str], among: Sequence[str]) -> float:
    """How many of `wanted` are in `among`; a common beginning of four letters counts."""
    if not wanted or not among:
        return 0.0
    return sum(1 for word in wanted if any(_same(word, other) for other in among)) / len(wanted)


def _same(one: str, other: str) -> bool:
    return one == other or (len(one) >= 4 and len(other) >= 4 and one[:4] == other[:4])
