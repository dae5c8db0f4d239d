"""Every knob: name, type, default, bounds and one line why. The only reader of EMBEDDING_* variables.

Each field `x` is read from `EMBEDDING_X`. An empty value means unset. An unknown EMBEDDING_* name that is near
one of ours, or that stands in a settings file of ours, is an error that gives the nearest known one. Another program's
(Kubernetes makes such names for a service called `embedding`) is a warning. The object is frozen; the README's table is made from it. What the clients'
commands need is read by client_settings.py, so that a server's wrong setting stops no search.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from embedserve import sources
from embedserve.errors import SettingsError

log = logging.getLogger(__name__)

PREFIX = "EMBEDDING_"
CLIENTS = frozenset({"EMBEDDING_URL"})  # read by client_settings.py alone
SECRETS = frozenset({"api_key"})
_NEAR = 0.7  # of difflib's ratio, the prefix left out: PROT is PORT mistyped, SERVICE_PORT is somebody else's
_SERVICE_LINK = re.compile(r"^(tcp|udp|sctp)://")  # the value of Kubernetes' EMBEDDING_PORT
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes in "2g", "512m", "1.5GiB", "1048576" (binary units, as Docker's)."""
    match = _SIZE.match(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; write 2g, 512m or a number of bytes")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))


class Settings(BaseModel):
    """All settings of the service. Times are in seconds, sizes in bytes unless the name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # What is served
    model: str = Field(
        "auto",
        description="Model id, alias, folder or hub id; several with commas, the first is the default; `auto`: jina-code-v2 if it can be had, else all-MiniLM-L6-v2",
    )
    rerank_model: str = Field(
        "", description="Cross-encoder that answers /rerank, by id, folder or hub id; empty: none is loaded"
    )
    backend: Literal["auto", "torch", "openvino", "onnx", "fake"] = Field(
        "auto",
        description="Inference library; `auto` takes the fastest that is right for this machine; `fake` is for tests",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="Arithmetic; `auto`: an installed int8 artefact, else bf16 where the CPU has it natively, else fp32",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where the torch backend runs")
    threads: int = Field(
        0, ge=0, le=1024, description="Compute threads; 0: from the cgroup's CPU quota and the affinity"
    )
    onnx_threads: int = Field(
        8,
        ge=0,
        le=1024,
        description="Threads of the ONNX backend: at most 8, and no more than `threads`; 0: as `threads`",
    )
    wide: Literal["auto", "on", "off"] = Field(
        "auto",
        description="One text alone on all cores, for a second copy of the weights in memory; `auto`: up to 256 MB and a sixteenth of the memory, beyond that fp32 computes every product on all cores",
    )
    overlong: Literal["truncate", "error"] = Field(
        "truncate", description="A text over the model's limit is cut, or refused with 400"
    )
    default_prompt: str = Field(
        "",
        description="Prompt of requests that name none: `query`, `document` or a prompt's name; `none`: not even the model's own; of one model: `MODEL=NAME`, several with commas",
    )
    empty: Literal["error", "embed"] = Field(
        "error",
        description="An empty string among the texts is refused with 400, or embedded as the model's empty text",
    )
    home: Path = Field(
        Path("~/.cache/embedserve"),
        validate_default=True,
        description="Folder of pulled models, optimised artefacts and the embedding cache",
    )

    # Where it listens
    host: str = Field("127.0.0.1", description="Address to bind; anything but loopback opens it to the network")
    port: int = Field(4000, ge=0, le=65535, description="Port to bind")
    api_key: str | None = Field(
        None,
        min_length=1,
        description="When set, requests need it (`Authorization: Bearer` or `api-key`); unset: any key is accepted",
    )
    allowed_hosts: str = Field(
        "",
        description="Further Host names to answer to, with commas; IP addresses, localhost and names without a dot always are",
    )
    allowed_origins: str = Field(
        "", description="Web origins that may call from a browser, with commas; none otherwise"
    )

    # Admission
    semaphore_value: int = Field(
        8,
        ge=2,
        le=256,
        description="Large requests in work at once; small ones (bodies up to 4 KiB) have 32 slots or more of their own",
    )
    queue_size: int = Field(
        256, ge=0, le=65536, description="Requests of a class that may wait for a slot; more get 429"
    )
    queue_timeout: float = Field(
        280.0, gt=0, le=3600, description="Longest wait for a slot before 429 (clients give up at 300 s)"
    )
    body_timeout: float = Field(30.0, gt=0, le=600, description="Longest time to send a request's body before 408")
    write_timeout: float = Field(
        30.0, gt=0, le=600, description="Longest time that a client may stop reading its answer"
    )
    max_inputs: int = Field(8192, ge=1, le=1_000_000, description="Most texts in one request")
    max_body_bytes: int = Field(32 * 1024 * 1024, ge=1024, le=1 << 30, description="Largest request body")
    drain_timeout: float = Field(
        25.0, ge=0, le=600, description="On SIGTERM, time for requests to finish; then they get 503 with Retry-After"
    )

    # Batching and memory
    adaptive_batching: bool = Field(True, description="Shrink and grow the micro-batch with the memory in use")
    min_batch_size: int = Field(
        8, ge=1, le=1024, description="Lower bound of the adaptive cap on texts (memory and token budget beat it)"
    )
    max_batch_size: int = Field(
        64,
        ge=1,
        le=1024,
        description="Most texts in one micro-batch, if memory and token budget allow; unset: 64, or fewer where the backend advises it",
    )
    max_memory_percent: float = Field(
        70.0, ge=5, le=95, description="Share of the usable memory that the process may take before batches shrink"
    )
    memory_limit: int = Field(
        0,
        ge=0,
        description="Memory this process may use, like 2g; 0: the cgroup's limit, else RAM. In Docker, the container's limit; unset: 4g",
    )
    keep_alive: float = Field(
        0.0,
        ge=0,
        description="Seconds without a request after which a model leaves memory; the next request loads it again; 0: never",
    )
    preload: bool = Field(
        False,
        description="Load every model at start; otherwise the first at start and the others on their first request",
    )

    # Cache
    cache: Literal["off", "memory", "disk"] = Field(
        "disk", description="Cache of embeddings: none, in memory, or in memory and on disk"
    )
    cache_memory: int = Field(64 * 1024 * 1024, ge=0, description="Bound of the memory cache, like 64m")
    cache_disk: int = Field(2 * 1024**3, ge=1024 * 1024, description="Bound of the disk cache, like 2g")

    # Looking inside
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged")
    log_format: Literal["text", "json"] = Field("text", description="Log lines for people, or one JSON object a line")
    tracemalloc: bool = Field(
        False, description="Log the largest growers between memory snapshots (slow; for diagnosis)"
    )

    @field_validator("memory_limit", "cache_memory", "cache_disk", "max_body_bytes", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser()

    def model_post_init(self, _context: Any) -> None:
        if self.min_batch_size > self.max_batch_size:
            raise ValueError(f"min_batch_size ({self.min_batch_size}) is over max_batch_size ({self.max_batch_size})")

    @property
    def model_names(self) -> list[str]:
        """The models to serve, the default one first, the reranker last."""
        names = [*self.model.split(","), self.rerank_model]
        return [name.strip() for name in names if name.strip()]

    @property
    def batch_size_is_given(self) -> bool:
        """max_batch_size was set, were it to its default."""
        return "max_batch_size" in self.model_fields_set

    def shown(self) -> dict[str, str]:
        """Every setting by its environment name, with secrets covered."""
        return {
            PREFIX + name.upper(): "(set)"
            if name in SECRETS and value is not None
            else ""
            if value is None
            else str(value)
            for name, value in self.model_dump().items()
        }


def load_settings(
    environ: Mapping[str, str] | None = None, *, only: Collection[str] | None = None, **overrides: Any
) -> Settings:
    """Settings from the environment, with command-line `overrides` (None means not given) on top.

    only: names of what a command reads; what else is set, rightly or not, is none of its business. Raises SettingsError that names every wrong variable and what it may be.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    if only is not None:
        environ = {variable: value for variable, value in environ.items() if known.get(variable) in only}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or variable in CLIENTS:
            continue
        if variable not in known:
            _unknown(variable, known, environ)
        elif variable == "EMBEDDING_PORT" and _SERVICE_LINK.match(value.strip()):
            log.warning("EMBEDDING_PORT=%s is a Kubernetes service link, not a port: left aside", value.strip())
        elif value.strip():
            values[known[variable]] = value.strip()
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(e) for e in error.errors(include_url=False))) from None


def _unknown(variable: str, known: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Raise SettingsError for a name of ours that is mistyped; warn of a foreign one."""
    suffix = variable.removeprefix(PREFIX)
    names = {name.removeprefix(PREFIX): name for name in known}
    nearest = names[difflib.get_close_matches(suffix, names, n=1, cutoff=0.0)[0]]
    where = sources.origin(variable, environ)
    if where not in ("environment", "default"):
        raise SettingsError(f"unknown setting {variable} in {where}; the nearest known one is {nearest}")
    begun = len(suffix) >= 4 and any(name.startswith(suffix) for name in names)
    if begun or difflib.get_close_matches(suffix, names, n=1, cutoff=_NEAR):
        raise SettingsError(f"unknown setting {variable}; the nearest known one is {nearest}")
    log.warning("%s is no setting of embedserve: left aside (the nearest known one is %s)", variable, nearest)


def _explain(error: Any) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    given = "" if name in SECRETS else f" = {error.get('input')!r}"
    return f"{PREFIX}{name.upper()}{given}: {str(error['msg']).removeprefix('Value error, ')}"
