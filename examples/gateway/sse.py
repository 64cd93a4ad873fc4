"""Server-sent events: an answer as events, with heartbeats, that ends where its client leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from examples.gateway.leaving import until_left
from examples.gateway.problems import Problem
from examples.gateway.streaming import Reply
from quotaloop.edge import Exchange

_HEARTBEAT = b": heartbeat\n\n"


def event(kind: str, data: dict[str, Any], place: str | None = None) -> bytes:
    """One event; ``place`` is what a client says in ``Last-Event-ID`` to go on after it."""
    identified = f"id: {place}\n" if place else ""
    return f"{identified}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


async def events_of(reply: Reply, exchange: Exchange) -> AsyncGenerator[bytes, None]:
    """An answer as events; a token counts once the next is asked for, as it has gone out then."""
    yield event("start", {"id": reply.id, "model": reply.model, "input_tokens": exchange.input_tokens})
    try:
        async with aclosing(reply.tokens()) as tokens:
            async for text in tokens:
                yield event("token", {"text": text}, reply.next_place)
                reply.sent()
    except Problem as problem:
        exchange.fail()
        yield event("error", problem.document())
        return
    yield event("done", {"finish_reason": reply.finish_reason, "usage": reply.usage.model_dump()})


class EventStream(Response):
    """Sends events as they come, and a comment where none came for ``heartbeat_s``; the generator is always closed."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None], heartbeat_s: float) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events, self._heartbeat_s = events, heartbeat_s
        self._sending = asyncio.Lock()
        self._sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        del scope
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        beating = asyncio.create_task(self._beat(send))
        try:
            await until_left(self._write(send), receive)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            await self._events.aclose()

    async def _write(self, send: Send) -> None:
        async for one in self._events:
            await self._send(send, one)
        async with self._sending:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _beat(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._sent_at = max(self._sent_at, loop.time())
        while True:
            await asyncio.sleep(self._sent_at + self._heartbeat_s - loop.time())
            if not self._sending.locked() and loop.time() >= self._sent_at + self._heartbeat_s:
                await self._send(send, _HEARTBEAT)
            elif self._sending.locked():  # the client does not read: it needs no comment
                self._sent_at = loop.time()

    async def _send(self, send: Send, body: bytes) -> None:
        async with self._sending:
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self._sent_at = asyncio.get_running_loop().time()
