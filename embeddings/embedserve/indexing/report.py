"""What one run of indexing did, for a person and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """`complete` says whether the run came to its end. `changed`: files that had to be read again; `stored`: chunks
    that were written, `embedded` of them with a vector made now and `reused` with one that another repository of the
    collection has. `skipped`: reason -> files; `unknown`: suffix ->
    files of a kind that is not indexed; `left_out`: each skipped path with its reason. `fallback`: files cut along
    their paragraphs though their language has a grammar. `generated`: files marked as made by a tool.
    `words_seconds`: until the lexical index was up to date. `engine_seconds`: of the model processes together, where
    they are ours (on Ray)."""

    workspace: str
    collection: str
    model: str = ""
    dimension: int = 0
    files: int = 0
    chunks: int = 0
    changed: int = 0
    stored: int = 0
    embedded: int = 0
    reused: int = 0
    deleted: int = 0
    generated: int = 0
    fallback: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    embed_seconds: float = 0.0
    words_seconds: float = 0.0
    engine_seconds: float = 0.0
    complete: bool = False

    def line(self) -> str:
        """One line for a person."""
        if not self.complete:
            return (
                f"stopped: {self.stored} chunks of {self.changed} changed files are stored and safe; "
                "run the same command again to go on"
            )
        rate = f" ({self.embedded / self.embed_seconds:.0f} texts/s)" if self.embedded and self.embed_seconds else ""
        notes = "".join(
            f"; {count} {what}"
            for count, what in (
                (self.reused, "had from other repositories"),
                (self.generated, "marked as generated"),
                (self.fallback, "cut without their syntax"),
            )
            if count
        )
        return (
            f"{self.files} files, {self.chunks} chunks: {self.embedded} embedded{rate}, "
            f"{self.chunks - self.stored} unchanged, {self.deleted} deleted; {self.seconds:.1f} s"
            + notes
            + self._left_out()
        )

    def _left_out(self) -> str:
        parts = [f"{count} {reason}" for reason, count in sorted(self.skipped.items(), key=lambda item: -item[1])]
        if self.unknown:
            most = Counter(self.unknown).most_common(5)
            kinds = ", ".join(f"{suffix} {count}" for suffix, count in most)
            parts.append(f"{sum(self.unknown.values())} of unknown type ({kinds})")
        return f"; skipped: {', '.join(parts)}" if parts else ""
