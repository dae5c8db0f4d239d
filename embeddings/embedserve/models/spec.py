"""What a model is (`ModelSpec`) and a model whose files are at hand (`ModelSource`). No I/O here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from embedserve.models.encoder import Encoder
from embedserve.models.steps import MEAN, Normalize, Pool, Step


@dataclass(frozen=True)
class Published:
    """What its makers' own library gives: a text, prompt included, and the first values of its unit vector.

    allowed: largest difference of a number in float32.
    """

    text: str
    values: tuple[float, ...]
    allowed: float = 1e-3


@dataclass(frozen=True)
class Ranking:
    """A published example: cosines of a query with documents, prompts included."""

    query: str
    documents: tuple[str, ...]
    cosines: tuple[float, ...]
    allowed: float = 2e-3


@dataclass(frozen=True)
class ModelSpec:
    """One model of the catalog, or one described by a folder's own config.

    architecture: a name of architectures/, or `static` (a table of token vectors, no encoder).
    encoder, steps, lower_case: what the model's own files say; a catalog entry has none until they were read.
    task: `embed` gives vectors; `score` gives a row of scores for a pair of texts (a cross-encoder).
    notice: what a user should know of how the files were understood.
    prompts: name -> prefix put before the text (`query`, `document`, ...); empty: the model has none.
    matryoshka: dimensions the model was trained to be cut to, the full one included; empty: none.
    least_dimension: where the makers allow every dimension from it to the full one; 0: only those of `matryoshka`.
    centred: a vector's mean is taken from its numbers before it is cut (a layer norm, whose scale length 1 undoes).
    code_retrieval: published figures for finding code, and where they stand; figures of two tables do not compare.
    dtypes: the precisions that are right for the weights (EmbeddingGemma overflows in fp16, say).
    sha256: file name -> hash; where given, a file of another content is refused, wherever it came from.
    """

    id: str
    architecture: str
    dimension: int
    max_tokens: int
    aliases: tuple[str, ...] = ()
    hub_id: str | None = None
    revision: str | None = None
    encoder: Encoder | None = None
    steps: tuple[Step, ...] = MEAN
    task: Literal["embed", "score"] = "embed"
    lower_case: bool = False
    notice: str = ""
    prompts: dict[str, str] = field(default_factory=dict)
    matryoshka: tuple[int, ...] = ()
    least_dimension: int = 0
    centred: bool = False
    dtypes: tuple[str, ...] = ("fp32", "bf16", "fp16", "int8")
    default_prompt: str = ""  # the name of the prompt that the model's own files put before every text
    title_prompt: str = ""  # a document's prompt with a title: `{title}` is replaced
    package: str | None = None  # a Python distribution that carries the weights
    sha256: dict[str, str] = field(default_factory=dict)
    license: str = ""
    size_bytes: int = 0  # download size
    good_for: str = ""  # one line for `embedserve models`
    code_retrieval: str = ""
    published: tuple[Published, ...] = ()
    rankings: tuple[Ranking, ...] = ()
    gated: bool = False  # the hub wants its licence accepted first

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases, *((self.hub_id,) if self.hub_id else ()))

    def side_prompt(self, side: str) -> str:
        """The name of the prompt for "query" or "document"; "" where that side is the plain text."""
        known = ("query", "search_query") if side == "query" else ("document", "passage", "search_document")
        return next((name for name in known if self.prompts.get(name)), "")

    @property
    def has_sides(self) -> bool:
        """Queries and documents are embedded differently."""
        return bool(self.side_prompt("query") or self.side_prompt("document"))

    @property
    def pools_prompt(self) -> bool:
        """A prompt's tokens are pooled with the text's (`include_prompt` in 1_Pooling/config.json)."""
        return all(step.include_prompt for step in self.steps if isinstance(step, Pool))

    @property
    def pooling(self) -> str:
        """How its tokens become one vector, as sentence-transformers calls it."""
        return next(("+".join(step.modes) for step in self.steps if isinstance(step, Pool)), "")

    @property
    def normalizes(self) -> bool:
        """Its own last step makes vectors of length 1, so that there are no others of it."""
        return isinstance(self.steps[-1], Normalize) if self.steps else False

    @property
    def dimensions(self) -> tuple[int, ...]:
        """The dimensions that may be asked for; of a model that allows a whole range, the usual ones."""
        return self.matryoshka or (self.dimension,)

    def allows(self, dimension: int) -> bool:
        """Whether a vector may be cut to this dimension."""
        return dimension in self.dimensions or 0 < self.least_dimension <= dimension <= self.dimension


@dataclass(frozen=True)
class ModelSource:
    """A model whose files are on disk and were checked."""

    spec: ModelSpec
    folder: Path
    origin: Literal["folder", "hub", "package"]
    revision: str  # the pinned commit, or a content hash of a folder: part of every cache and artefact key
