"""Messages on their way to a peer, at most so many: whoever reads too slowly is given up, not waited for forever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from examples.gateway.talk_ended import Ended

_ROOM = 64  # messages


class Outbox:
    """Sends in order; ``put`` waits while it is full, and raises ``Ended`` 1013 once nothing moves for ``slow_s``."""

    def __init__(self, send: Callable[[str], Awaitable[None]], slow_s: float) -> None:
        self._send, self._slow_s = send, slow_s
        self._queue: asyncio.Queue[tuple[str, Callable[[], None] | None]] = asyncio.Queue(_ROOM)
        self._sent = 0

    async def put(self, message: dict[str, Any], sent: Callable[[], None] | None = None) -> None:
        """Send a message; ``sent`` is called once it has gone out."""
        item = (json.dumps(message), sent)
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            await self._moving(self._queue.put, item)

    async def flush(self) -> None:
        """Wait until all has gone out."""
        await self._moving(self._queue.join)

    async def run(self) -> None:
        """Send what comes, without end."""
        while True:
            text, sent = await self._queue.get()
            await self._send(text)
            self._sent += 1
            if sent is not None:
                sent()
            self._queue.task_done()

    async def _moving(self, wait: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Wait as long as something goes out meanwhile."""
        while True:
            before = self._sent
            try:
                await asyncio.wait_for(wait(*arguments), self._slow_s)  # a put that is given up has put nothing
            except TimeoutError:
                if self._sent == before:
                    raise Ended(1013, f"nothing was read for {self._slow_s:g} s") from None
            else:
                return
