"""An interceptor for servers of ``grpc.server``, whose handlers work in threads and may block."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from quotaloop.edge.edge import Edge, _current, current
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


class MeteredInterceptor(grpc.ServerInterceptor):  # type: ignore[misc]
    """Meters every call; routes, refusals and outcomes are those of ``aio_grpc``.

    ``identify``, ``estimate`` and the store of counts are asked in the thread of the handler. An attempt ends when its
    client leaves, though the handler may not have noticed: what that spends from then on is not counted. gRPC may end
    the requests of a client that leaves before it says so: a handler that is done at that very moment is ``ok``. A call
    whose client leaves before a thread has its request is none.
    """

    def __init__(self, edge: Edge) -> None:
        self.edge = edge

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        """The handler of a call, metered; the one thread that takes all calls is in here, so that nothing may wait."""
        handler = continuation(details)
        matched = self.edge.match(details.method)
        if not matched.route.metered:
            return handler
        handler = handler or _UNKNOWN
        call = _Call(self.edge, matched, self.edge.arrive(arrival_of(details)), is_stream=handler.request_streaming)
        inner = behaviour_of(handler)
        if getattr(inner, "experimental_non_blocking", False):
            raise UsageError(f"the handler of {details.method} does not block: it cannot be metered")
        metered: Any = (call.stream if handler.response_streaming else call.single)(inner)
        metered.experimental_thread_pool = getattr(inner, "experimental_thread_pool", None)
        return with_behaviour(handler, metered, call.messages)


class _Call:
    """One call: its attempt begins when it comes, and the wait for a thread is a part of it."""

    def __init__(self, edge: Edge, matched: Matched, exchange: Exchange, *, is_stream: bool) -> None:
        self.edge, self.matched, self.exchange = edge, matched, exchange
        self.messages = Messages()
        self._is_stream = is_stream
        self._is_ended = threading.Lock()  # taken by who ends it, for good

    def single(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """A method with one reply."""

        def metered(request: Any, context: Any) -> Any:
            with self._attempt(request, context):
                reply = self._step(inner, self._counted(request), context)
                self.exchange.bytes_out += size_of(reply)
            return reply

        return metered

    def stream(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        """A method with a stream of replies; gRPC drops it half-way where the client has gone."""

        def metered(request: Any, context: Any) -> Iterator[Any]:
            with self._attempt(request, context):
                replies = self._step(inner, self._counted(request), context)
                try:
                    while (reply := self._step(next, replies, None)) is not None:  # which ends it for gRPC, too
                        yield reply
                        self.exchange.sent(size_of(reply))
                finally:
                    if hasattr(replies, "close"):  # what a generator does at its end is the attempt's, too
                        self._step(replies.close)

        return metered

    @contextmanager
    def _attempt(self, request: Any, context: Any) -> Iterator[None]:
        """An attempt as long as the block lasts and the client is there; refused, the call is aborted."""
        try:
            self._step(self._let_in, request, context)
            yield
        except BaseException as error:
            is_cut = isinstance(error, GeneratorExit) or not context.is_active()
            self._end(*(self._when_cut() if is_cut else when_raised(context)))
            raise
        self._end(*(when_done(context, self.exchange) if context.is_active() else self._when_cut()))

    def _let_in(self, request: Any, context: Any) -> None:
        exchange = self.exchange
        _, refusal = self.edge.resolve(exchange, self.matched)
        if not self._is_stream:
            exchange.bytes_in = size_of(request)
            exchange.arrival.request = request
        try:
            self.edge.let_in_here(exchange, refusal)
        except Refused as refused:
            self._end(refused.status, refused.outcome)
            code, text, trailing = refusal_of(refused, exchange)
            context.set_trailing_metadata(trailing)
            context.abort(code, text)
            raise AssertionError("abort raises") from refused
        # Not before: nobody may end what is about to be reserved. Who has left by now makes the next line raise.
        context.add_callback(lambda: self._end(*self._when_cut()))
        context.send_initial_metadata(initial_metadata(self.edge, exchange))

    def _counted(self, request: Any) -> Any:
        """A stream of requests, counted as it comes."""
        return map(self._received, request) if self._is_stream else request

    def _received(self, part: Any) -> Any:
        self.exchange.received(size_of(part))
        return part

    def _step(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do a part of a handler's work, where it finds its attempt; the next part may be done by another thread."""
        token = _current.set(self.exchange)
        try:
            return work(*arguments)
        finally:
            _current.reset(token)

    def _when_cut(self) -> tuple[int, str]:
        return when_cut(self.edge, self.messages)

    def _end(self, status: int, outcome: str) -> None:
        """The first end counts; the thread of the handler and that which sees the client go may come at once."""
        if self._is_ended.acquire(blocking=False):
            self.edge.end(self.exchange, status, outcome)


def _unknown(_: Any, context: Any) -> None:
    """A method that the server has not: an attempt, too."""
    context.abort(*no_method(current().arrival.path))


_UNKNOWN = grpc.stream_stream_rpc_method_handler(_unknown)
