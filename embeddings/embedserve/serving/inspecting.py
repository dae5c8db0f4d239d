"""What is understood of a model before it is served: read from its files, no weights, nothing is downloaded.

A line for each thing, in the order in which it is found out, so that a model that cannot be served shows how far it
got. A name of which nothing is on this machine is described by the catalog, and is not said to be servable.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from embedserve.errors import ModelUnavailable
from embedserve.models.spec import ModelSource, ModelSpec
from embedserve.models.steps import Normalize
from embedserve.settings import Settings


@dataclass(frozen=True)
class Fact:
    """what: architecture, pooling, backend, ... (stable, for `--json`); text: for a person."""

    what: str
    text: str


def inspect(name: str, settings: Settings) -> Iterator[Fact]:
    """The facts of a model, each as soon as it is known. Raises SetupError that says why it cannot be served."""
    source, notice = _source(name, settings)
    yield from facts(source.spec)
    if notice:
        yield Fact("notice", notice)
    yield Fact("files", f"{source.folder} ({source.origin}, revision {source.revision[:12]})")
    yield _tensors(source)
    yield _tokens(source)
    yield _backend(source, settings)


def facts(spec: ModelSpec) -> Iterator[Fact]:
    """What a spec says, of whatever origin."""
    from embedserve.models import architectures, static

    yield Fact("model", spec.id)
    if spec.architecture == static.ARCHITECTURE:
        yield Fact("architecture", "static: a table of token vectors, no encoder")
    else:
        yield Fact("architecture", f"{architectures.named(spec.architecture).title}{_sizes(spec)}")
    yield Fact("task", "a reranker: scores of pairs" if spec.task == "score" else "embeddings")
    yield Fact("modules", _modules(spec))
    yield Fact("dimensions", _dimensions(spec))
    yield Fact("limit", f"{spec.max_tokens:,} tokens a text; a longer one is cut")
    yield Fact("prompts", _prompts(spec))
    if spec.lower_case:
        yield Fact("text", "in lower case first (do_lower_case)")
    yield Fact("dtypes", f"{', '.join(spec.dtypes)}{_why_not(spec)}")
    if spec.notice:
        yield Fact("notice", spec.notice)


def _source(name: str, settings: Settings) -> tuple[ModelSource, str]:
    from embedserve.models import sources
    from embedserve.models.catalog import find

    if name == "auto":
        return sources.resolve_auto(settings.home, offline=True)
    spec = find(name)
    if spec and (found := sources.at_hand(spec, settings.home)):
        return found, ""
    if spec:
        raise ModelUnavailable(f"{spec.id} is not on this machine. {sources.how_to_get(spec, settings.home)}")
    try:
        return sources.resolve(name, home=settings.home, offline=True), ""
    except ModelUnavailable as error:
        if sources.is_hub_id(name):
            raise ModelUnavailable(f"{name} is not on this machine: `embedserve pull {name}` brings it") from error
        raise


def _sizes(spec: ModelSpec) -> str:
    e = spec.encoder
    if e is None:
        return ""
    shared = f", {e.kv_heads} for keys and values" if e.kv_heads and e.kv_heads != e.heads else ""
    windows = [window for window in e.windows if window is not None]
    near = f", {len(windows)} of them see {max(windows)} tokens on either side" if windows else ""
    way = ", causal" if e.causal else ""
    return f": {e.layers} layers{near}, width {e.width}, {e.heads} heads{shared}, {e.vocabulary:,} tokens known{way}"


def _modules(spec: ModelSpec) -> str:
    """The engine brings every vector to length 1, whatever the files say."""
    names = [str(step) for step in spec.steps]
    if spec.task == "embed" and not isinstance(spec.steps[-1], Normalize):
        names.append(str(Normalize()))
    return " → ".join(names)


def _dimensions(spec: ModelSpec) -> str:
    if spec.task == "score":
        return f"{spec.dimension} score(s) a pair"
    if spec.least_dimension:
        return f"{spec.dimension}; may be cut to any from {spec.least_dimension}"
    cut = [str(n) for n in spec.dimensions if n != spec.dimension]
    return f"{spec.dimension}; " + (f"may be cut to {', '.join(cut)}" if cut else "not trained to be cut")


def _prompts(spec: ModelSpec) -> str:
    if not spec.prompts:
        return "none"
    shown = "; ".join(f"{name} {text!r}" for name, text in spec.prompts.items())
    default = f"; put before every text: {spec.default_prompt}" if spec.default_prompt else "; none unless asked for"
    return shown + default + ("" if spec.pools_prompt else "; its tokens are not pooled")


def _why_not(spec: ModelSpec) -> str:
    from embedserve.models import architectures, static

    why = "" if spec.architecture == static.ARCHITECTURE else architectures.named(spec.architecture).why_not
    return f" (not fp16: {why})" if why else ""


def _tensors(source: ModelSource) -> Fact:
    """Strict: every tensor used, every parameter there, every shape right, though no number is read."""
    from embedserve.models import graph, static

    if source.spec.architecture == static.ARCHITECTURE:
        return Fact("tensors", f"a table of {static.vocabulary(source.folder):,} × {source.spec.dimension}")
    count = len(graph.load_parameters(source))
    return Fact("tensors", f"{count} parameters, all there, all of the right shape, none left over")


def _tokens(source: ModelSource) -> Fact:
    from embedserve.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(source)
    (encoding,) = tokenizer.encode(["def add(a, b): return a + b"])
    return Fact("tokens", f"tokenizer.json understood; 'def add(a, b): return a + b' is {len(encoding.ids)} tokens")


def _backend(source: ModelSource, settings: Settings) -> Fact:
    from embedserve.backends.select import choose

    choice = choose(
        source,
        backend=settings.backend,
        precision=settings.precision,
        device=settings.device,
        home=settings.home,
    )
    return Fact("backend", f"{choice.backend} {choice.precision} on {choice.device} ({choice.why})")
