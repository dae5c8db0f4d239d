"""The gRPC server: each call of Qdrant's services through the handler that REST has for it.

Messages are bounded in size and time as REST's bodies are and take the same slots, so few are in memory at once: a
call is registered as one that sends a stream, since only of such a call the message is not read before the handler
asks for it. On the wire that is the same. The key is looked at before. A refusal is one log line with its reason.
Must be started and stopped on the event loop of the storage.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from embedserve.errors import SetupError
from embedserve.vectordb.access_log import say
from embedserve.vectordb.app import API_VERSION, BODY_SECONDS, MAX_BODY, Slots, explain
from embedserve.vectordb.call import Call
from embedserve.vectordb.errors import ApiError, unsupported, wrong_input
from embedserve.vectordb.grpc_api.methods import METHODS, Method
from embedserve.vectordb.grpc_api.stubs import pb, services
from embedserve.vectordb.storage import Storage
from embedserve.vectordb.threads import Kind, panics_as_errors, run

log = logging.getLogger(__name__)

CALLS_A_CONNECTION = 1024  # over it gRPC refuses streams, which clients show as errors
STOP_SECONDS = 5.0
_LARGE = 64 << 10  # bytes of a message from which on it is read in a thread
_LONGEST = 1000
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ALREADY_EXISTS,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    501: grpc.StatusCode.UNIMPLEMENTED,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse(status=SERVING)
Answer = Callable[[Any, Any], Awaitable[Any]]


class GrpcServer:
    """`start(host, port)`, `stop()`."""

    def __init__(self, storage: Storage, slots: Slots, api_key: str | None) -> None:
        self._storage, self._slots, self._key = storage, slots, None if api_key is None else api_key.encode()
        self._server: Any = None
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen; `port` is then the real one. SetupError: the port is taken."""
        options = [
            ("grpc.max_receive_message_length", MAX_BODY),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", CALLS_A_CONNECTION),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(self._handlers())
        try:
            self.port = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise SetupError(f"cannot listen on {host}:{port} for gRPC; is something else running there?")
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls and give those under way some seconds."""
        if self._server is not None:
            await self._server.stop(STOP_SECONDS)

    def _handlers(self) -> tuple[Any, ...]:
        handlers = []
        for service in services():
            methods = {item.name: self._handler(service.full_name, item) for item in service.methods}
            handlers.append(grpc.method_handlers_generic_handler(service.full_name, methods))
        health = grpc.unary_unary_rpc_method_handler(_check)
        handlers.append(grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": health}))
        return tuple(handlers)

    def _handler(self, service: str, descriptor: Any) -> Any:
        path, reply = f"{service}/{descriptor.name}", GetMessageClass(descriptor.output_type)
        if path == "qdrant.Qdrant/HealthCheck":
            answer: Answer = _health
        else:
            answer = partial(self._answer, path, METHODS.get(path), reply)
        return grpc.stream_unary_rpc_method_handler(
            answer,
            request_deserializer=GetMessageClass(descriptor.input_type).FromString,
            response_serializer=reply.SerializeToString,
        )

    async def _answer(self, path: str, method: Method | None, reply: Any, messages: Any, context: Any) -> Any:
        started = time.perf_counter()
        try:
            self._check_key(context)
            if method is None:
                raise unsupported(f"gRPC method {path}")
            with panics_as_errors():
                async with self._slots[method.writes]:
                    result = await self._handled(method, await _received(messages))
                fields = await _maybe_in_thread(_size(result) > _LARGE, Kind.READ, partial(method.reply, result))
            return reply(**fields, time=time.perf_counter() - started)
        except Exception as error:
            status, message = explain(error, path)
        say(f"gRPC {path}", status, message)
        message = message.replace(" in JSON body", "")[:_LONGEST]
        return await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), message)

    async def _handled(self, method: Method, request: Any) -> Any:
        kind = Kind.WRITE if method.writes else Kind.READ
        body = await _maybe_in_thread(request.ByteSize() > _LARGE, kind, partial(method.body, request))
        params = {name: getattr(request, field) for name, field in method.params}
        call = Call(params | {"name": getattr(request, "collection_name", "")}, getattr(request, "wait", False))
        return await method.handler(self._storage, call, body)

    def _check_key(self, context: Any) -> None:
        if self._key is None:
            return
        known = False
        for name, value in context.invocation_metadata() or ():
            given = value if isinstance(value, bytes) else value.encode()
            if name == "authorization" and given[:7].lower() == b"bearer ":
                known |= hmac.compare_digest(given[7:].strip(), self._key)
            elif name == "api-key":
                known |= hmac.compare_digest(given.strip(), self._key)
        if not known:
            raise ApiError(401, "the API key is missing or wrong; send it as metadata `api-key`")


async def _received(messages: Any) -> Any:
    try:
        return await asyncio.wait_for(anext(messages), BODY_SECONDS)
    except TimeoutError:
        raise ApiError(408, f"Timeout: the message did not come within {BODY_SECONDS:.0f} s") from None
    except (DecodeError, StopAsyncIteration):
        raise wrong_input("the message cannot be read") from None


async def _maybe_in_thread(large: bool, kind: Kind, work: Callable[[], Any]) -> Any:
    return await run(kind, work) if large else work()


def _size(result: Any) -> int:
    """A guess of an answer's bytes: a kilobyte a point, more with its vectors."""
    found = result.get("points") if isinstance(result, dict) else result
    if not isinstance(found, list) or not found:
        return 0
    return len(found) * (8192 if isinstance(found[0], dict) and "vector" in found[0] else 1024)


async def _health(_messages: Any, _context: Any) -> Any:
    return pb.HealthCheckReply(title="qdrant - vector search engine", version=API_VERSION)


async def _check(_request: bytes, _context: Any) -> bytes:
    return _SERVING
