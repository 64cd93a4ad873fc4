"""Bodies that are too large are refused while they come in, whatever their length field says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from examples.gateway.problems import Problem, response

_CLOSE = {"connection": "close"}
_DISCARDED = 4_194_304  # bytes
_DISCARDING_S = 2.0


class BodyLimit:
    """Answers 413 where a body has more than ``most(path)`` bytes: at once where it says so, else at the first byte."""

    def __init__(self, app: ASGIApp, most: Callable[[str], int]) -> None:
        self.app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self._most(scope["path"])
        if _announced(scope) > most:
            if not any(name == b"expect" for name, _ in scope["headers"]):
                await _discard(receive)
            await response(_too_large(most).document(), _CLOSE)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                if message.get("more_body"):
                    await _discard(receive)
                raise _too_large(most)
            return message

        await self.app(scope, counted, send)


def _announced(scope: Scope) -> int:
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(said) if said.isdigit() else 0


async def _discard(receive: Receive) -> None:
    """Read on for a while, and keep nothing: a client that still sends when it is hung up on may miss the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARDING_S):
            size = 0
            while size < _DISCARDED:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


def _too_large(most: int) -> Problem:
    return Problem(413, "The body is too large", f"at most {most:,} bytes", _CLOSE)
