"""Words of code and of questions about code: what the lexical index counts.

An identifier gives its parts and, when it has several, itself without separators: `getUserName`, `get_user_name`
and `GetUserName` all give get, user, name, getusername. Parts are cut at underscores, at a change from small to
capital letters (of any script), before the last capital of a run (`HTTPServer`: http, server) and between letters
and digits (`utf8`: utf, 8, utf8). Every word is stemmed lightly, so that `routes`, `routing` and `routed` meet.

It knows no files and no index. `VERSION` changes when the same text would give other words.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain

VERSION = 1

_IDENTIFIER = re.compile(r"\w+")
_SEPARATED = re.compile(r"[^\W\d_]+|\d+")
_LONGEST = 64  # a longer run of letters is data (base64, a hash), not a word

# Words that a question is made of and that say nothing of what is looked for.
_STOP_WORDS_TEXT = """
a an and are as at be been but by can could did do does done for from get gets given had has have how i if in into
is it its me my of on or our should so some such than that the their them then there these they this those to use
used uses using via was we were what when where which while who why will with would you your
code find show works work happen happens implemented implementation
"""
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())


def words(text: str) -> list[str]:
    """The stemmed words of `text` in order, with repetitions."""
    return list(chain.from_iterable(map(identifier_words, _IDENTIFIER.findall(text))))


def query_words(text: str) -> list[str]:
    """The different words of a question without stop words; with them when there are no others."""
    every = list(dict.fromkeys(words(text)))
    return [word for word in every if word not in _STOP_STEMS] or every


@lru_cache(maxsize=200_000)
def identifier_words(identifier: str) -> tuple[str, ...]:
    """The words of one run of letters, digits and underscores; the whole comes last."""
    parts = [stem(part.lower()) for part in split_identifier(identifier) if len(part) <= _LONGEST]
    if len(parts) < 2:
        return tuple(parts)
    whole = identifier.replace("_", "").lower()
    return (*parts, whole) if len(whole) <= _LONGEST else tuple(parts)


def split_identifier(identifier: str) -> list[str]:
    """`parseHTTPRequest2` -> ["parse", "HTTP", "Request", "2"]."""
    parts: list[str] = []
    for run in _SEPARATED.findall(identifier):
        parts.extend(_humps(run))
    return parts


def _humps(run: str) -> list[str]:
    if run.islower() or run.isupper() or not run.isalpha():
        return [run]
    cuts = [0]
    for at in range(1, len(run)):
        small_then_capital = run[at].isupper() and not run[at - 1].isupper()
        last_capital_of_run = run[at].islower() and run[at - 1].isupper() and at - 1 > cuts[-1]
        if small_then_capital:
            cuts.append(at)
        elif last_capital_of_run:
            cuts.append(at - 1)
    return [run[a:b] for a, b in zip(cuts, [*cuts[1:], len(run)], strict=True)]


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """A light English stem: plurals, -ing, -ed, a last e. Never shorter than three letters."""
    if len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word[: -len(ending)]
        if word.endswith(ending) and len(base) >= 3 and any(vowel in base for vowel in "aeiouy"):
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "lsz" else base
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word


_STOP_STEMS = frozenset(stem(word) for word in STOP_WORDS)
