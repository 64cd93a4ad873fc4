"""One HTTP attempt: let in or refused, passed on part by part, ended exactly once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.edge import Edge, _current
from quotaloop.edge.event_stream import EventStream
from quotaloop.edge.ratelimit_fields import ratelimit_fields
from quotaloop.edge.refusal import Refused
from quotaloop.edge.routes import Matched

_LOG = logging.getLogger("quotaloop.edge")
_MOST_PARTS = 4_096  # of a body that are read ahead: tiny ones would take longer than they are worth
_PEEK_AFTER_NS = 100_000_000  # an answer that took longer is worth a look whether its client still waits


class HttpAttempt:
    """Between server and application, for one request."""

    __slots__ = (
        "_fields",
        "_is_complete",
        "_is_gone",
        "_read",
        "_sends_raise",
        "_server_receive",
        "_server_send",
        "_status",
        "_stream",
        "app",
        "arrival",
        "edge",
        "exchange",
        "matched",
        "scope",
    )

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        edge: Edge,
        scope: MutableMapping[str, Any],
        matched: Matched,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        self.app, self.edge, self.scope, self.matched = app, edge, scope, matched
        self._server_receive, self._server_send = receive, send
        self._read: list[MutableMapping[str, Any]] = []  # parts of the body that the handler has yet to get
        self._fields: list[tuple[bytes, bytes]] = []
        self._status = 0
        self._stream: EventStream | None = None  # where the answer is one
        self._is_complete = self._is_gone = False
        self._sends_raise = scope.get("asgi", {}).get("spec_version", "") >= "2.4"  # where a client has gone
        self.arrival = Arrival(
            protocol="http",
            method=scope["method"],
            path=scope["path"],
            query_string=scope.get("query_string", b""),
            raw_headers=scope["headers"],
        )
        self.exchange = edge.arrive(self.arrival)

    async def serve(self) -> None:
        """Serve it; what the handler raises is raised, once its event is written."""
        token = _current.set(self.exchange)
        try:
            await self._serve()
        except asyncio.CancelledError:
            self._end(self._cut()[0], 499)
            raise
        except Exception:
            if self._status and self._stream is not None and not self._is_complete and not self._is_by_client:
                await self._say_error()
            raise
        finally:
            self._end(*self._cut())  # unless it has ended: the handler did not make its answer whole
            with suppress(ValueError):  # a task that is thrown away ends in another context
                _current.reset(token)

    @property
    def _is_by_client(self) -> bool:
        return self._is_gone and not self.edge.is_stopping

    def _cut(self) -> tuple[str, int]:
        """Outcome and status of an answer that is not whole."""
        return ("cancelled", 499) if self._is_by_client else ("error", 500)

    async def _serve(self) -> None:
        if self.matched.route.reads_body:
            await self._read_body()
        version, refusal = self.edge.resolve(self.exchange, self.matched)
        try:
            answer = await self.edge.let_in(self.exchange, refusal)
        except Refused as refused:
            self._fields = self.edge.fields(self.exchange)
            await self._refuse(refused)
            return
        self._fields = self.edge.fields(self.exchange) + ratelimit_fields(answer)
        self.scope["quotaloop.exchange"] = self.exchange
        await self.app(self.matched.route.passed_on(self.scope, version), self._receive, self._send)

    async def _read_body(self) -> None:
        """Read a JSON body up to the bound, for version and estimate; the handler gets it in one part."""
        kind = self.arrival.header(b"content-type")
        if kind is None or "json" not in kind.lower():
            return
        body, parts = bytearray(), 0
        while True:
            message = await self._take()
            if message["type"] != "http.request":
                self._read = [{"type": "http.request", "body": bytes(body), "more_body": True}, message]
                return
            body += message.get("body", b"")
            parts += 1
            more = message.get("more_body", False)
            if not more or len(body) > self.edge.most_body_bytes or parts == _MOST_PARTS:
                break
        self._read = [{"type": "http.request", "body": bytes(body), "more_body": more}]
        if not more:
            self.arrival.body = self._read[0]["body"]

    async def _receive(self) -> MutableMapping[str, Any]:
        return self._read.pop(0) if self._read else await self._take()

    async def _take(self) -> MutableMapping[str, Any]:
        message = await self._server_receive()
        if message["type"] == "http.request":
            self.exchange.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self._is_complete:
            self._is_gone = True
        return message

    def _send(self, message: MutableMapping[str, Any]) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            if self._stream is not None and not self._sends_raise and message.get("more_body"):
                # Of the many parts of a stream, none takes a step of its own.
                self._count(self._stream, message.get("body", b""))
                return self._server_send(message)
            return self._send_body(message)
        return self._server_send(self._started(message) if kind == "http.response.start" else message)

    def _started(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The start of the answer with the fields of the edge."""
        headers = list(message.get("headers", ()))
        self._status = message["status"]
        for name, value in headers:
            if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
                self._stream, self.exchange.protocol = EventStream(), "sse"
        return {**message, "headers": headers + self._fields}

    async def _send_body(self, message: MutableMapping[str, Any]) -> None:
        body, more = message.get("body", b""), message.get("more_body", False)
        exchange = self.exchange
        if not more and (exchange.elapsed_ns() > _PEEK_AFTER_NS or self.scope.get("http_version") == "2"):
            await self._peek()
            if self._is_gone:  # hypercorn would wait for ever until such a client has read
                self._end(*self._cut())
                return
        try:
            await self._server_send(message)
        except OSError:  # the server says so where the client has gone
            self._is_gone = True
            raise
        if body:
            if self._stream is not None:
                self._count(self._stream, body)
            else:
                exchange.bytes_out += len(body)
        if not more:
            failed = exchange.has_failed or self._status >= 400
            self._end("cancelled" if self._is_by_client else "error" if failed else "ok", self._status)

    def _count(self, stream: EventStream, body: bytes) -> None:
        """Events of a stream and the bytes of it; comments, such as heartbeats, are no first byte."""
        if not body:
            return
        events, says = stream.feed(bytes(body))
        if stream.has_failed:
            self.exchange.fail()
        if says:
            self.exchange.sent(len(body), events)
        else:
            self.exchange.bytes_out += len(body)
            self.exchange.stream_messages += events

    async def _peek(self) -> None:
        """Has the client gone meanwhile? Nothing else can come after its body."""
        waiting = asyncio.ensure_future(self._server_receive())
        await asyncio.sleep(0)
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self._is_gone = self._is_gone or waiting.result()["type"] == "http.disconnect"
        else:
            waiting.cancel()

    async def _refuse(self, refused: Refused) -> None:
        body = refused.body()
        if "text/event-stream" in (self.arrival.header(b"accept") or ""):
            self.exchange.protocol = "sse"  # it would have been one
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            *self._fields,
            *refused.fields,
        ]
        self._status = refused.status
        self.exchange.bytes_out = len(body)
        try:
            await self._server_send({"type": "http.response.start", "status": refused.status, "headers": headers})
            await self._server_send({"type": "http.response.body", "body": body})
        finally:
            self._end(refused.outcome, refused.status)

    async def _say_error(self) -> None:
        """Tell the client of a stream that it failed, as far as that still can be."""
        problem = {"type": "about:blank", "title": "The stream failed", "status": 500}
        body = f"\n\nevent: error\ndata: {json.dumps(problem)}\n\n".encode()  # whatever was cut off before
        try:
            await self._server_send({"type": "http.response.body", "body": body, "more_body": False})
        except Exception:
            _LOG.warning("attempt %s: the client could not be told that it failed", self.exchange.event_id)

    def _end(self, outcome: str, status: int) -> None:
        self._is_complete = True
        self.edge.end(self.exchange, self._status or status, outcome)
