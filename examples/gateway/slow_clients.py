"""Clients of HTTP that read nothing are given up: whoever could wait for ever would keep its slots for ever."""

from __future__ import annotations

import asyncio
import logging

from quotaloop.edge.asgi import Application, Message, Receive, Scope, Send

_LOG = logging.getLogger("gateway")


class TooSlow(Exception):
    """The client took nothing for longer than it may."""


def given_up(app: Application, slow_s: float) -> Application:
    """The application, cut off where one message of an answer over HTTP does not leave within ``slow_s``."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return

        async def bounded(message: Message) -> None:
            try:
                async with asyncio.timeout(slow_s):
                    await send(message)
            except TimeoutError as error:
                raise TooSlow(f"nothing was read for {slow_s:g} s") from error

        try:
            await app(scope, receive, bounded)
        except TooSlow as error:
            _LOG.info("an answer is cut off: %s", error)

    return served
