"""What kind of question it is: one that says what one function does, or one about a topic.

"Return the largest of the sizes" looks for one function; "session management" and "how routes are matched" for a file
and what belongs to it. The first word decides, an imperative as it begins a doc comment (English only; words that as
often begin a topic, such as request, cache, test, are none), and the length: a long sentence that is no "how" or
"where" describes something single. Pure; it knows no index.
"""

from __future__ import annotations

from functools import lru_cache

LEAST_WORDS = 3  # shorter ones are names and topics
LONG = 12  # words of a description

_ASKS = {"how", "what", "where", "when", "which", "why", "who", "whose", "is", "are", "does", "do", "did", "can"}

_VERBS_TEXT = """
accept add adjust allow append apply assert assign attach begin bind build calculate cancel choose clean clear clone
close collect combine compare compile compress compute configure connect construct convert copy create decode
decompress define delete deserialize destroy detect determine disable disconnect dispatch download drop emit enable
encode ensure enumerate escape evaluate execute expand extract fetch fill find flatten flush generate get give guess
handle initialise initialize insert install invoke iterate join keep load make merge modify move normalise normalize
notify obtain open parse perform pick pop populate prepare print produce provide push put raise read receive refresh
register reject reload remove rename render replace reset resolve restore retrieve return reverse rewrite rotate run
sanitize save scan select send serialize set show shut skip sort split start stop store strip submit swap tell
terminate transform translate trim truncate try turn unpack unregister update upload validate verify wait walk warn
wrap write yield
"""
_VERBS = frozenset(_VERBS_TEXT.split())


@lru_cache(maxsize=16)
def asks_for_one(question: str) -> bool:
    """Whether it says what one function does: it begins with a verb, also in the third person ("returns"), or is long
    and no question about a topic."""
    given = question.lower().split()
    if len(given) < LEAST_WORDS or given[0] in _ASKS:
        return False
    if len(given) >= LONG:
        return True
    first = given[0].rstrip(".,:;")
    forms = {first, first.removesuffix("s"), first.removesuffix("es"), first.removesuffix("ies") + "y"}
    return not _VERBS.isdisjoint(forms)
