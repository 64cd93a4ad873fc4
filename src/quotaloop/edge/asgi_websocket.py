"""One WebSocket: a single attempt, or a session whose handler begins the attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.edge import Edge, _current
from quotaloop.edge.ratelimit_fields import ratelimit_fields
from quotaloop.edge.refusal import Refused
from quotaloop.edge.routes import Matched
from quotaloop.edge.session import Session

_SERVICE_RESTART = 1012  # what a server that ends says to the application in place of its client
_PROPER = (1000, 1001, 1005)  # closed by a peer that was done
_POLICY_VIOLATION = 1008
_FAILED = (1011, 1012, 1013, 1014)


class WebSocketAttempt:
    """Between server and application, for one connection."""

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
        self._is_accepted = self._is_closed = False
        self._status = 0
        self._fields: list[tuple[bytes, bytes]] = []
        arrival = Arrival(
            protocol="websocket",
            method="GET",
            path=scope["path"],
            query_string=scope.get("query_string", b""),
            raw_headers=scope["headers"],
        )
        self.exchange = edge.arrive(arrival)
        self.session: Session | None = None
        self._gone = self._has_left = False

    async def serve(self) -> None:
        """Serve it. A connection that carries exchanges is an attempt itself only where it is not accepted."""
        token = _current.set(self.exchange)
        try:
            if await self._is_let_in():
                await self.app(self.scope, self._receive, self._send)
        except BaseException as error:
            by_client = self._has_left and not self.edge.is_stopping
            is_cut = isinstance(error, asyncio.CancelledError)
            self._end("cancelled" if by_client else "error", 499 if by_client or is_cut else 500)
            raise
        finally:
            self._end(*self._ended())
            with suppress(ValueError):  # a task that is thrown away ends in another context
                _current.reset(token)

    async def _is_let_in(self) -> bool:
        """Ask the limiter, unless the handler will for each exchange; refuse the handshake where it says no."""
        version, refusal = self.edge.resolve(self.exchange, self.matched)
        self._fields = self.edge.fields(self.exchange)
        self.scope = self.matched.route.passed_on(self.scope, version)
        self.scope["quotaloop.exchange"] = self.exchange
        if self.matched.route.exchanges and version is not None and refusal is None:
            self.session = self.scope["quotaloop.session"] = Session(self.edge, self.exchange, protocol="websocket")
            return True
        try:
            self._fields += ratelimit_fields(await self.edge.let_in(self.exchange, refusal))
        except Refused as refused:
            await self._refuse(refused)
            return False
        return True

    async def _receive(self) -> MutableMapping[str, Any]:
        message = await self._server_receive()
        kind = message["type"]
        if kind == "websocket.receive":
            size = len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
            (self.session or self.exchange).received(size)
        elif kind == "websocket.disconnect" and not self._is_closed:
            code = message.get("code", 1005)
            self._gone = True
            self._has_left = code != _SERVICE_RESTART
            self._status = 101 if code in _PROPER else 499
            if self.session is not None and self._has_left:
                self.session.client_gone()
        return message

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            message = {**message, "headers": [*message.get("headers", ()), *self._fields]}
            self._is_accepted, self._status = True, 101
        elif kind == "websocket.close":
            self._is_closed = True
            if not self._is_accepted:
                self._status = 403
            elif message.get("code", 1000) in _FAILED:
                self.exchange.fail()
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
        await self._server_send(message)
        if kind == "websocket.send":
            size = len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
            (self.session or self.exchange).sent(size)

    async def _refuse(self, refused: Refused) -> None:
        """By an HTTP answer to the handshake where the server can, else by closing it."""
        try:
            await self._server_receive()  # websocket.connect
            if "websocket.http.response" not in (self.scope.get("extensions") or {}):
                reason = refused.problem["title"]
                await self._server_send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": reason})
                return
            headers = [(b"content-type", b"application/problem+json"), *self._fields, *refused.fields]
            start = {"type": "websocket.http.response.start", "status": refused.status, "headers": headers}
            await self._server_send(start)
            await self._server_send({"type": "websocket.http.response.body", "body": refused.body()})
        finally:
            self.edge.end(self.exchange, refused.status, refused.outcome)

    def _ended(self) -> tuple[str, int]:
        """Outcome and status of a connection that is one attempt, when its handler has returned."""
        if self._has_left and self._status == 499:
            return "cancelled", 499
        if self._gone and not self._has_left:
            return "error", 503
        if not self._is_accepted:
            return "error", self._status or 500
        return "error" if self.exchange.has_failed else "ok", 101

    def _end(self, outcome: str, status: int) -> None:
        if self.session is None or not self._is_accepted:
            self.edge.end(self.exchange, status, outcome)
