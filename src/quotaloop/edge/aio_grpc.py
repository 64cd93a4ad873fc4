"""An interceptor for servers of ``grpc.aio``: calls are let in, refused and counted as HTTP requests are."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn

import grpc
from grpc import StatusCode

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.edge import Edge, _current
from quotaloop.edge.exchange import Exchange
from quotaloop.edge.ratelimit_fields import seconds
from quotaloop.edge.refusal import Refused
from quotaloop.edge.routes import Matched
from quotaloop.errors import UsageError

_REFUSED = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    404: StatusCode.UNIMPLEMENTED,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.UNAVAILABLE,
}
_AS_HTTP = {  # as google.rpc.Code maps them
    StatusCode.CANCELLED: 499,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.FAILED_PRECONDITION: 400,
    StatusCode.OUT_OF_RANGE: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ABORTED: 409,
    StatusCode.ALREADY_EXISTS: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNIMPLEMENTED: 501,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


class MeteredInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Meters every call of a handler that is ``async``; the method, ``/package.Service/Name``, is the path.

    A refusal has the status RESOURCE_EXHAUSTED and the trailing metadata ``retry-delay`` (seconds as ``9s``) and
    ``problem`` (JSON). Calls that the client has cancelled are ``cancelled``, those that the server cuts when it ends
    are errors, if it was told by ``Edge.stopping``. Methods that no handler is for are counted, as paths are.
    """

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    async def intercept_service(self, continuation: Callable[..., Awaitable[Any]], details: Any) -> Any:
        """The handler of a call, metered."""
        handler = await continuation(details)
        matched = self.edge.match(details.method)
        if not matched.route.metered:
            return handler
        pairs = [(name.encode(), _bytes(value)) for name, value in details.invocation_metadata or ()]
        call = _Call(self.edge, matched, details.method, pairs)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(call.unknown)
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        if not (inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)):
            raise UsageError(f"the handler of {details.method} is not async: it cannot be metered")
        behaviour = call.stream(inner) if handler.response_streaming else call.single(inner)
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        make: Callable[..., Any] = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(behaviour, handler.request_deserializer, handler.response_serializer)


class _Call:
    """One call: its attempt begins when the request is there."""

    def __init__(self, edge: Edge, matched: Matched, method: str, metadata: list[tuple[bytes, bytes]]) -> None:
        self.edge, self.matched = edge, matched
        self.arrival = Arrival(protocol="grpc", method="POST", path=method, raw_headers=metadata)

    async def unknown(self, requests: Any, context: Any) -> None:
        """A method that the server has not: an attempt, too."""
        async with self._attempt(requests, context):
            await context.abort(StatusCode.UNIMPLEMENTED, f"there is no method {self.arrival.path}")

    def single(self, inner: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """A method with one reply."""

        async def metered(request: Any, context: Any) -> Any:
            async with self._attempt(request, context) as exchange:
                reply = await inner(self._counted(request, exchange), context)
                exchange.bytes_out += _size(reply)
            return reply

        return metered

    def stream(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """A method with a stream of replies, which the handler yields or writes."""
        if not inspect.isasyncgenfunction(inner):
            return self._written(inner)

        async def metered(request: Any, context: Any) -> AsyncIterator[Any]:
            async with (
                self._attempt(request, context) as exchange,
                aclosing(inner(self._counted(request, exchange), context)) as replies,
            ):
                async for reply in replies:
                    yield reply
                    exchange.sent(_size(reply))

        return metered

    def _written(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        async def metered(request: Any, context: Any) -> None:
            async with self._attempt(request, context) as exchange:
                await inner(self._counted(request, exchange), _Counting(context, exchange))

        return metered

    @asynccontextmanager
    async def _attempt(self, request: Any, context: Any) -> AsyncIterator[Exchange]:
        """An attempt as long as the block lasts, whatever ends it; refused, the call is aborted."""
        exchange = self.edge.arrive(self.arrival)
        _current.set(exchange)
        try:
            await self._let_in(exchange, request, context)
            yield exchange
        except BaseException as error:
            self._failed(exchange, context, error)
            raise
        self._done(exchange, context)

    async def _let_in(self, exchange: Exchange, request: Any, context: Any) -> None:
        _, refusal = self.edge.resolve(exchange, self.matched)
        if not hasattr(request, "__aiter__"):
            exchange.bytes_in = _size(request)
            self.arrival.request = request
        try:
            await self.edge.let_in(exchange, refusal)
        except Refused as refused:
            self.edge.end(exchange, refused.status, refused.outcome)
            await _abort(context, refused, exchange)
        fields = [(name.decode(), value.decode()) for name, value in self.edge.fields(exchange)]
        await context.send_initial_metadata(fields)

    def _counted(self, request: Any, exchange: Exchange) -> Any:
        """A stream of requests, counted as it comes."""
        if not hasattr(request, "__aiter__"):
            return request

        async def counted() -> AsyncIterator[Any]:
            async for part in request:
                exchange.bytes_in += _size(part)
                yield part

        return counted()

    def _failed(self, exchange: Exchange, context: Any, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            by_client = not self.edge.is_stopping
            self.edge.end(exchange, 499 if by_client else 503, "cancelled" if by_client else "error")
        else:
            self.edge.end(exchange, _AS_HTTP.get(_code(context), 500), "error")

    def _done(self, exchange: Exchange, context: Any) -> None:
        code = _code(context)
        failed = exchange.has_failed or code not in (None, StatusCode.OK)
        self.edge.end(exchange, _AS_HTTP.get(code, 500) if failed else 200, "error" if failed else "ok")


class _Counting:
    """The context of a handler that writes its replies, counted."""

    def __init__(self, context: Any, exchange: Exchange) -> None:
        self._context, self._exchange = context, exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, reply: Any) -> None:
        """Write a reply."""
        await self._context.write(reply)
        self._exchange.sent(_size(reply))


async def _abort(context: Any, refused: Refused, exchange: Exchange) -> NoReturn:
    trailing = [("x-request-id", exchange.event_id), ("problem", refused.body().decode())]
    if refused.retry_after_ms:
        trailing.append(("retry-delay", f"{seconds(refused.retry_after_ms)}s"))
    code = _REFUSED.get(refused.status, StatusCode.FAILED_PRECONDITION)
    await context.abort(code, str(refused.problem.get("detail") or refused.problem["title"]), tuple(trailing))
    raise AssertionError("abort raises")


def _code(context: Any) -> Any:
    """The status that a handler has set, None where it has not."""
    code = context.code()
    return None if code in (None, 0) else code


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _size(message: Any) -> int:
    size = getattr(message, "ByteSize", None)
    return int(size()) if callable(size) else len(message) if isinstance(message, bytes | bytearray) else 0
