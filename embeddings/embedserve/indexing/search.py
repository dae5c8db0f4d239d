"""Finds chunks by meaning and by words, and orders them by rules.

    by words    the lexical index's best (BM25), and the chunks that define a name of the question
    by meaning  the question embedded, Qdrant's nearest; it gives the cosines of the others in the same round trip
    then        `ranking.py` orders them, `passages.py` shows whole functions and each piece of code once

Each half answers alone: without a lexical index the nearest chunks are ranked by their words too; without the service,
Qdrant or a vector, words answer, and `Answer.notes` says so. A hit's `score` is its cosine, whatever its place; None
where it has no vector. `min_score` bounds the cosine, so it leaves out what has none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from embedserve.errors import IndexingFailed
from embedserve.indexing.entry import Entry, of_payload
from embedserve.indexing.fusion import bm25_ranking
from embedserve.indexing.languages import Language, find_language
from embedserve.indexing.lexical import Lexicon
from embedserve.indexing.passages import passages
from embedserve.indexing.ranking import Ranked, called_names, rank
from embedserve.indexing.store import Store
from embedserve.indexing.stored import Status
from embedserve.indexing.tokens import query_words, words
from embedserve.indexing.workspace import collection_name

if TYPE_CHECKING:
    from embedserve.indexing.embedder import Embedder
    from embedserve.indexing.rest import LightEmbedder

CANDIDATES = 100  # of each half
NEARLY_ALL = 0.995  # of the chunks: a file that is being written is no news
RERANKED = 50  # chunks that a cross-encoder puts in order
DEFINERS = 20  # chunks that define a name of the question


@dataclass(frozen=True)
class Query:
    """`min_score`: of the cosine; None takes every score. `path_prefix`: a file or folder inside the workspace.
    `off`: rules of `ranking.RULES`, and "whole" (definitions), to leave out. `by_words`: ask no model. `rerank`: have
    the best put in order by the cross-encoder that the service serves."""

    text: str
    limit: int = 10
    min_score: float | None = None
    path_prefix: str = ""
    language: str | None = None
    off: tuple[str, ...] = ()
    by_words: bool = False
    rerank: bool = False


@dataclass(frozen=True)
class Hit:
    """`score`: the cosine, None without a vector. `scope`: the definitions that it is inside of and its own, the
    outermost first. `why`: the rules that moved it from the place of its ranks."""

    path: str
    start_line: int
    end_line: int
    score: float | None
    code: str
    scope: tuple[str, ...] = ()
    why: list[str] = field(default_factory=list)

    @property
    def shown_score(self) -> str:
        return "by words" if self.score is None else f"{self.score:.3f}"

    @property
    def shown_scope(self) -> str:
        """The path of definitions, as `Class > method`; "" for none."""
        return " > ".join(self.scope)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Answer:
    """`notes`: sentences for who asked, such as that only words were searched. `embedded`: the share of chunks that
    have a vector; None: not known. `missing`: Qdrant answers, and has no index of the workspace."""

    hits: list[Hit]
    notes: list[str] = field(default_factory=list)
    embedded: float | None = None
    missing: bool = False


@dataclass
class _Pool:
    """Candidates, and what is known of them. `cosines`: point -> cosine."""

    entries: list[Entry] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    by_meaning: list[int] = field(default_factory=list)
    by_words: list[int] = field(default_factory=list)
    cosines: dict[str, float] = field(default_factory=dict)

    def add(self, entry: Entry) -> int:
        if entry.point not in self.at:
            self.at[entry.point] = len(self.entries)
            self.entries.append(entry)
        return self.at[entry.point]


async def search(store: Store, embedder: Embedder, query: Query) -> list[Hit]:
    """The best hits by the store alone, best first. Raises IndexingFailed: no index, wrong model, service or Qdrant
    down."""
    return (await find(store, embedder, query, None)).hits


async def find(store: Store, embedder: Embedder | LightEmbedder, query: Query, lexicon: Lexicon | None) -> Answer:
    """The best hits, best first. `lexicon` None: there is no lexical index. Raises IndexingFailed where neither half
    can answer."""
    if not query.text.strip():
        raise IndexingFailed("the question is empty")
    language = _language(query.language)
    prefix = "/".join(_parts(query.path_prefix, store.workspace))
    pool, notes = _Pool(), []
    if lexicon:
        _add_by_words(pool, lexicon, query, prefix, language)
    embedded, missing = 0.0, False
    try:
        if query.by_words:
            raise IndexingFailed("no model was asked")
        status = await _add_by_meaning(pool, store, embedder, query, prefix, language, lexicon)
        embedded = min(1.0, status.points / max(lexicon.count(), 1)) if lexicon else 1.0
        if status.complete is False and embedded >= NEARLY_ALL:
            notes.append("indexing is not complete: there may be more")
    except IndexingFailed as error:
        if lexicon is None or query.min_score is not None:
            raise
        notes = [] if query.by_words else [f"by words alone: {error.message}"]
        missing = isinstance(error, NoIndex)
    if lexicon is None:
        pool.by_words = bm25_ranking(query_words(query.text), [words(entry.text) for entry in pool.entries])
    elif 0 < embedded < NEARLY_ALL:
        notes.append(
            f"{embedded:.0%} of the chunks have a vector, the others are found by their words; if nothing indexes them "
            f"now: embedserve index {store.workspace}"
        )
    ranked = _ranked(pool, query, lexicon)
    if query.rerank and ranked:
        try:
            ranked = await _reranked(ranked, pool, embedder, query.text)
        except IndexingFailed as error:
            notes.append(f"not reranked: {error.message}")
    return Answer(_hits(ranked, pool, query, lexicon), notes, embedded if lexicon else None, missing)


def _add_by_words(pool: _Pool, lexicon: Lexicon, query: Query, prefix: str, language: Language | None) -> None:
    name = language.name if language else None
    most = max(CANDIDATES, query.limit)
    pool.by_words = [pool.add(entry) for entry, _ in lexicon.find(query_words(query.text), most, prefix, name)]
    if called := _called(query):
        for entry in lexicon.defining(called, DEFINERS, prefix, name):
            pool.add(entry)


def _called(query: Query) -> list[str]:
    """The names that the question is about."""
    alone = {query.text.strip()} if len(query.text.split()) == 1 else set()
    return sorted(called_names(query.text) | alone)


async def _add_by_meaning(
    pool: _Pool,
    store: Store,
    embedder: Embedder | LightEmbedder,
    query: Query,
    prefix: str,
    language: Language | None,
    lexicon: Lexicon | None,
) -> Status:
    status = await indexed(store)
    if not pool.entries and (called := _called(query)):
        for point in await store.defining(called, DEFINERS, prefix, language.name if language else None):
            if entry := of_payload(point["id"], point["payload"]):
                pool.add(entry)
    if not embedder.dimension:
        await embedder.probe()
    vector = [float(x) for x in (await embedder.embed([query.text]))[0]]
    store.check_fit(status, embedder.dimension, str(embedder.model))
    name = language.name if language else None
    known = list(pool.at)
    nearest, scores = await store.nearest(vector, max(CANDIDATES, query.limit), query.min_score, prefix, name, known)
    pool.cosines = scores
    found = [(entry, float(p["score"])) for p in nearest if (entry := of_payload(p["id"], p["payload"]))]
    if lexicon and status.recipe and lexicon.meta("complete") and lexicon.meta("cutting") == status.recipe.cutting:
        found = _as_they_are(found, lexicon)
    # Equal cosines (a text that is there several times) come in the order of the files: the first of them is shown.
    found.sort(key=lambda pair: (-pair[1], pair[0].path, pair[0].start_line))
    for entry, score in found:
        pool.cosines[entry.point] = score
        pool.by_meaning.append(pool.add(entry))
    return status


def _as_they_are(found: list[tuple[Entry, float]], lexicon: Lexicon) -> list[tuple[Entry, float]]:
    """Without chunks whose text no file has any more, and with the lines of today: the lexical index is brought up to
    date before a search, vectors are not."""
    here = lexicon.by_points([entry.point for entry, _ in found])
    return [(here[entry.point], score) for entry, score in found if entry.point in here]


def _ranked(pool: _Pool, query: Query, lexicon: Lexicon | None) -> list[Ranked]:
    kept = [at for at, entry in enumerate(pool.entries) if query.min_score is None or entry.point in pool.cosines]
    if len(kept) < len(pool.entries):
        _keep_only(pool, kept)
    unknown = {at for at, entry in enumerate(pool.entries) if entry.point not in pool.cosines}
    sizes = lexicon.sizes({entry.path for entry in pool.entries}) if lexicon else None
    return rank(query.text, pool.entries, pool.by_meaning, pool.by_words, unknown, query.off, sizes)


async def _reranked(
    ranked: list[Ranked], pool: _Pool, embedder: Embedder | LightEmbedder, question: str
) -> list[Ranked]:
    """The best RERANKED in the order of the cross-encoder's scores, then the others as they were."""
    best = ranked[:RERANKED]
    scores = await embedder.rerank(question, [_described(pool.entries[item.at]) for item in best])
    order = sorted(range(len(best)), key=lambda at: -scores[at])
    moved = [replace(best[at], why=[*best[at].why, f"reranked {scores[at]:.3f}"]) for at in order]
    return [*moved, *ranked[RERANKED:]]


def _described(entry: Entry) -> str:
    """A chunk as a cross-encoder reads it: where it is, then what it says."""
    return "\n".join(filter(None, (" > ".join((entry.path, *entry.scope)), entry.signature, entry.text)))


def _hits(ranked: Sequence[Ranked], pool: _Pool, query: Query, lexicon: Lexicon | None) -> list[Hit]:
    between = lexicon.between if lexicon and "whole" not in query.off else None
    hits = []
    for passage in passages(ranked, pool.entries, between, query.limit):
        entry = passage.entry
        score = pool.cosines.get(pool.entries[passage.at].point)
        place = (entry.path, entry.start_line, entry.end_line)
        hits.append(Hit(*place, score, entry.text, entry.scope, passage.why))
    return hits


def _keep_only(pool: _Pool, kept: Sequence[int]) -> None:
    new = {old: at for at, old in enumerate(kept)}
    pool.entries = [pool.entries[at] for at in kept]
    pool.by_meaning = [new[at] for at in pool.by_meaning if at in new]
    pool.by_words = [new[at] for at in pool.by_words if at in new]


class NoIndex(IndexingFailed):
    """Qdrant answers, and has no index of the workspace."""


async def indexed(store: Store) -> Status:
    """The status of an index that must be there."""
    status = await store.status()
    if status is None:
        raise NoIndex(store.no_index())
    return status


def nearest_with_words(folder: str, path_of: Callable[[str], str | None]) -> str | None:
    """The nearest folder at or above `folder` that has a lexical index; None: none has. `path_of`: its file."""
    above = folder
    while not os.path.isfile(path_of(above) or ""):
        if os.path.dirname(above) == above:
            return None
        above = os.path.dirname(above)
    return above


def nearest_indexed(folder: str, collections: set[str]) -> str:
    """`folder`, or the nearest folder above it that has a collection; `folder` when none has."""
    above = folder
    while collection_name(above) not in collections:
        if os.path.dirname(above) == above:
            return folder
        above = os.path.dirname(above)
    return above


def _language(name: str | None) -> Language | None:
    if name is None:
        return None
    language = find_language(name)
    if language is None:
        raise IndexingFailed(f"unknown language {name!r}; give a name like python or an extension like py")
    return language


def _parts(prefix: str, workspace: str) -> list[str]:
    if os.path.isabs(prefix):
        prefix = os.path.relpath(prefix, workspace)
    parts = [part for part in prefix.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise IndexingFailed(f"the path prefix {prefix} is not inside {workspace}")
    return parts
