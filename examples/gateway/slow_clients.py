"""Clients of HTTP that read nothing are given up: whoever could wait for ever would keep its slots for ever."""

from __future__ import annotations

import asyncio
import logging

from quotaloop.edge.asgi import Application, Message, Receive, Scope, Send

_LOG = logging.getLogger("gateway")
_NOT_READ = "nothing was read for too long"


class TooSlow(Exception):
    """The client took nothing for longer than it may."""


class Patience:
    """An application, cut off where one message of an answer over HTTP does not leave within ``slow_s``."""

    def __init__(self, app: Application, slow_s: float) -> None:
        self._app, self._slow_s = app, slow_s
        self._sending: set[asyncio.Timeout] = set()

    def ends_in(self, seconds: float) -> None:
        """From now on no message may take longer than that, those under way included."""
        self._slow_s = min(self._slow_s, seconds)
        when = asyncio.get_running_loop().time() + seconds
        for timeout in self._sending:
            if not timeout.expired():
                timeout.reschedule(min(timeout.when() or when, when))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        is_over = False

        async def bounded(message: Message) -> None:
            nonlocal is_over
            if is_over:  # nobody waits for such a client a second time
                raise TooSlow(_NOT_READ)
            try:
                async with asyncio.timeout(self._slow_s) as timeout:
                    self._sending.add(timeout)
                    try:
                        await send(message)
                    finally:
                        self._sending.discard(timeout)
            except TimeoutError as error:
                is_over = True
                raise TooSlow(_NOT_READ) from error

        try:
            await self._app(scope, receive, bounded)
        except TooSlow as error:
            _LOG.info("an answer is cut off: %s", error)
