"""One exception tree. Each class knows its HTTP status and OpenAI error type and code.

    EmbedServeError
    ├── RequestError                what the client sent is wrong (4xx)
    │   ├── InvalidRequest          400
    │   │   └── ContextLengthExceeded   400 context_length_exceeded
    │   ├── InvalidApiKey           401
    │   ├── ForbiddenOrigin         403
    │   ├── ModelNotFound           404 model_not_found
    │   ├── RouteNotFound           404
    │   ├── MethodNotAllowed        405
    │   ├── BodyTooSlow             408
    │   ├── BodyTooLarge            413
    │   ├── UnsupportedMediaType    415
    │   └── TooManyRequests         429 + Retry-After
    ├── ServiceError                we cannot answer (5xx)
    │   ├── InferenceFailed         500
    │   ├── OutOfMemory             503: even one text did not fit
    │   └── NotReady                503 + Retry-After: loading, draining, worker dead
    └── SetupError                  never an HTTP answer: shown on the command line, exit code 2
        ├── SettingsError           a setting is unknown or out of bounds
        ├── ModelUnavailable        the model's files cannot be had
        ├── CheckpointError         the files are there and are not this model
        ├── ArtefactError           an optimised artefact is torn, stale or was refused
        ├── MissingExtra            an optional dependency is not installed
        └── IndexingFailed          index or search: Qdrant, the service or the folder is not as it must be

Messages say what is wrong and what to do. They never contain a user's text.
"""

from __future__ import annotations

from typing import Any


class EmbedServeError(Exception):
    """The root. `status`, `type`, `code` and `param` are OpenAI's; `retry_after` is in seconds."""

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    retry_after: int | None = None

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param

    def body(self) -> dict[str, Any]:
        """The OpenAI error body. `detail` is where the clients for Voyage and Jina look: without it they fail on the
        error itself and never show the reason (or, of a 503, never try again)."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.code}
        return {"error": error, "detail": self.message}


class RequestError(EmbedServeError):
    status = 400
    type = "invalid_request_error"


class InvalidRequest(RequestError):
    pass


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class InvalidApiKey(RequestError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class ForbiddenOrigin(RequestError):
    status = 403
    type = "permission_error"
    code = "forbidden_origin"


class ModelNotFound(RequestError):
    status = 404
    code = "model_not_found"


class RouteNotFound(RequestError):
    status = 404
    code = "unknown_url"


class MethodNotAllowed(RequestError):
    status = 405
    code = "method_not_allowed"


class BodyTooSlow(RequestError):
    status = 408
    code = "request_timeout"


class BodyTooLarge(RequestError):
    status = 413
    code = "request_too_large"


class UnsupportedMediaType(RequestError):
    status = 415
    code = "unsupported_media_type"


class TooManyRequests(RequestError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retry_after = 5


class ServiceError(EmbedServeError):
    pass


class InferenceFailed(ServiceError):
    code = "inference_failed"


class OutOfMemory(ServiceError):
    status = 503
    code = "out_of_memory"
    retry_after = 5


class NotReady(ServiceError):
    status = 503
    code = "not_ready"
    retry_after = 5  # after 1 the real clients' tries are used up in 2.3 s, and they give up for good


class SetupError(EmbedServeError):
    pass


class SettingsError(SetupError):
    pass


class ModelUnavailable(SetupError):
    pass


class CheckpointError(SetupError):
    pass


class ArtefactError(SetupError):
    pass


class MissingExtra(SetupError):
    """`what` needs the optional dependency group `extra`."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'embedserve[{extra}]'")
        self.extra = extra


class IndexingFailed(SetupError):
    pass
