"""What a route declares about itself. The middleware reads it from the scope; nothing else knows a route's path.

    @router.post("/v1/embeddings")
    @declare(EMBEDS)
    async def embeddings(request: Request) -> Response: ...

`RouteTable` is made once from the finished application. It gives each request its `Declared`: the traits, and the
path template, which is the label of its metrics. A request that no route answers (404, 405) has neither.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.routing import BaseRoute
from starlette.types import Scope

_ATTRIBUTE = "embedserve_traits"
_KEY = "embedserve.declared"
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True)
class Traits:
    """admitted: the request waits for a slot before its body is read, under the body's limits and deadlines, is
    counted among the embedding requests, and garbage is collected after its answer. open: no API key is needed.
    errors: whose error shape its clients read (error_shapes.SHAPES), OpenAI's unless named."""

    admitted: bool = False
    open: bool = False
    errors: str = "openai"


PLAIN = Traits()
EMBEDS = Traits(admitted=True)
OPEN = Traits(open=True)


@dataclass(frozen=True)
class Declared:
    """`label`: the path template, or "other". endpoint: where it takes the request and nothing else, else None."""

    label: str = "other"
    traits: Traits = PLAIN
    endpoint: Callable[[Any], Awaitable[Any]] | None = None


UNKNOWN = Declared()


def declare(traits: Traits) -> Callable[[_Endpoint], _Endpoint]:
    """Decorates an endpoint, under the router's own decorators."""

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, _ATTRIBUTE, traits)
        return endpoint

    return mark


def traits_of(endpoint: Any) -> Traits:
    """What an endpoint was declared to be."""
    found: Traits = getattr(endpoint, _ATTRIBUTE, PLAIN)
    return found


class RouteTable:
    """`open_paths`: of routes that the framework added by itself (the documentation)."""

    def __init__(self, routes: Iterable[BaseRoute], open_paths: Sequence[str] = ()) -> None:
        self._exact: dict[tuple[str, str], Declared] = {}
        self._patterns: list[tuple[re.Pattern[str], frozenset[str], Declared]] = []
        for route in routes:
            path: str = getattr(route, "path", "")
            methods = frozenset(getattr(route, "methods", None) or ())
            endpoint = getattr(route, "endpoint", None)
            traits = OPEN if path in open_paths else traits_of(endpoint)
            declared = Declared(path, traits, endpoint if _takes_a_request_alone(endpoint) else None)
            if "{" in path:
                self._patterns.append((route.path_regex, methods, declared))  # type: ignore[attr-defined]
            else:
                self._exact.update({(method, path): declared for method in methods})

    def find(self, method: str, path: str) -> Declared:
        """What the route that will answer declares; UNKNOWN without one."""
        if (exact := self._exact.get((method, path))) is not None:
            return exact
        for pattern, methods, declared in self._patterns:
            if method in methods and pattern.match(path):
                return declared
        return UNKNOWN

    def methods(self, path: str) -> list[str]:
        """Every method that some route at `path` takes."""
        found = {method for method, exact in self._exact if exact == path}
        return sorted(found.union(*(methods for pattern, methods, _ in self._patterns if pattern.match(path))))


def _takes_a_request_alone(endpoint: Any) -> bool:
    return inspect.iscoroutinefunction(endpoint) and list(inspect.signature(endpoint).parameters) == ["request"]


def note(scope: Scope, declared: Declared) -> None:
    """Put it into the scope, for the middleware inside."""
    scope[_KEY] = declared


def declared(scope: Scope) -> Declared:
    """What `note` put there."""
    found: Declared = scope.get(_KEY, UNKNOWN)
    return found


def traits(scope: Scope) -> Traits:
    """Of the route that will answer an http request."""
    return declared(scope).traits
