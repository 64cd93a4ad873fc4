"""Conversations over one WebSocket, one after another."""

from __future__ import annotations

import itertools
import json
from typing import Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State

from examples.gateway.clients import frames
from examples.gateway.clients.answer import Answer, NotOpened
from examples.gateway.clients.prompt import V2, Prompt, Version
from examples.gateway.clients.seen import Seen


class Socket:
    """An open WebSocket that carries one exchange at a time."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._names = map(str, itertools.count(1))

    @property
    def is_open(self) -> bool:
        """Can it carry another exchange?"""
        return self._connection.state is State.OPEN

    @classmethod
    async def open(cls, url: str, key: str, version: Version = V2) -> Self:
        """``url`` is the gateway's, of HTTP; raises ``NotOpened``."""
        seen = Seen()
        address = "ws" + url.removeprefix("http") + version.path("conversation/ws")
        headers = {**version.headers, "authorization": f"Bearer {key}"}
        try:
            return cls(await connect(address, additional_headers=headers, proxy=None))
        except InvalidStatus as refused:
            raise NotOpened(_refused(seen, refused)) from refused
        except (OSError, InvalidHandshake) as error:  # a TimeoutError is an OSError
            answer = seen.answer("error", None, reason=type(error).__name__, is_sent=False)
            raise NotOpened(answer) from error

    async def converse(self, prompt: Prompt, *, leave_after: int | None = None) -> Answer:
        """Token by token; the connection is closed after ``leave_after`` of them, and then of no more use."""
        answer = await frames.exchange(prompt, next(self._names), self._send, self._receive, leave_after)
        if answer.outcome == "cancelled":
            await self.close()
        return answer

    async def close(self) -> None:
        """Say goodbye, and wait for the other side's."""
        await self._connection.close()

    async def _send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise _gone(closed) from closed

    async def _receive(self) -> str:
        try:
            return await self._connection.recv(decode=True)
        except ConnectionClosed as closed:
            raise _gone(closed) from closed


def _gone(closed: ConnectionClosed) -> frames.Gone:
    return frames.Gone(f"closed {closed.rcvd.code}" if closed.rcvd else "closed without a word")


def _refused(seen: Seen, refused: InvalidStatus) -> Answer:
    """The handshake was answered by another status than 101."""
    status, headers = refused.response.status_code, refused.response.headers
    try:
        problem = json.loads(refused.response.body)
    except ValueError:
        problem = None
    seen.event_id = headers.get("x-request-id")
    wait = headers.get("retry-after")
    return seen.answer(
        "refused" if status == 429 else "error",
        status,
        problem=problem,
        retry_after_s=float(wait) if wait else None,
        reason=None if problem else f"handshake answered by {status}",
    )
