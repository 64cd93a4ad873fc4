"""An interceptor for servers of ``grpc.aio``: calls are let in, refused and counted as HTTP requests are."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import grpc

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.edge import Edge, _current
from quotaloop.edge.exchange import Exchange
from quotaloop.edge.grpc_calls import (
    Messages,
    arrival_of,
    behaviour_of,
    initial_metadata,
    no_method,
    refusal_of,
    size_of,
    when_cut,
    when_done,
    when_raised,
    with_behaviour,
)
from quotaloop.edge.refusal import Refused
from quotaloop.edge.routes import Matched
from quotaloop.errors import UsageError


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
        call = _Call(self.edge, matched, arrival_of(details))
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(call.unknown)
        inner = behaviour_of(handler)
        if not (inspect.iscoroutinefunction(inner) or inspect.isasyncgenfunction(inner)):
            raise UsageError(f"the handler of {details.method} is not async: it cannot be metered")
        metered = call.stream if handler.response_streaming else call.single
        return with_behaviour(handler, metered(inner), call.messages)


class _Call:
    """One call: its attempt begins when the request is there."""

    def __init__(self, edge: Edge, matched: Matched, arrival: Arrival) -> None:
        self.edge, self.matched, self.arrival = edge, matched, arrival
        self.messages = Messages()

    async def unknown(self, requests: Any, context: Any) -> None:
        """A method that the server has not: an attempt, too."""
        async with self._attempt(requests, context):
            await context.abort(*no_method(self.arrival.path))

    def single(self, inner: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        """A method with one reply."""

        async def metered(request: Any, context: Any) -> Any:
            async with self._attempt(request, context) as exchange:
                reply = await inner(self._counted(request, exchange), context)
                exchange.bytes_out += size_of(reply)
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
                    exchange.sent(size_of(reply))

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
            is_cut = isinstance(error, asyncio.CancelledError | GeneratorExit)
            self.edge.end(exchange, *(when_cut(self.edge, self.messages) if is_cut else when_raised(context)))
            raise
        self.edge.end(exchange, *when_done(context, exchange))

    async def _let_in(self, exchange: Exchange, request: Any, context: Any) -> None:
        _, refusal = self.edge.resolve(exchange, self.matched)
        if not hasattr(request, "__aiter__"):
            exchange.bytes_in = size_of(request)
            self.arrival.request = request
        try:
            await self.edge.let_in(exchange, refusal)
        except Refused as refused:
            self.edge.end(exchange, refused.status, refused.outcome)
            await context.abort(*refusal_of(refused, exchange))
            raise AssertionError("abort raises") from refused
        await context.send_initial_metadata(initial_metadata(self.edge, exchange))

    def _counted(self, request: Any, exchange: Exchange) -> Any:
        """A stream of requests, counted as it comes."""
        if not hasattr(request, "__aiter__"):
            return request

        async def counted() -> AsyncIterator[Any]:
            async for part in request:
                exchange.bytes_in += size_of(part)
                yield part

        return counted()


class _Counting:
    """The context of a handler that writes its replies, counted."""

    def __init__(self, context: Any, exchange: Exchange) -> None:
        self._context, self._exchange = context, exchange

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, reply: Any) -> None:
        """Write a reply."""
        await self._context.write(reply)
        self._exchange.sent(size_of(reply))
