"""Whether a gateway is starting, ready or ending, and the answers under way that its end waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

State = Literal["ready", "starting", "stopping"]


class Lifecycle:
    """One gateway's; used in its event loop alone.

    Once it is ``stopping``, readiness says no; answers under way go on until ``is_cut``.
    """

    def __init__(self) -> None:
        self.state: State = "starting"
        self.is_cut = False
        self._under_way = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._to_tell: set[Callable[[], None]] = set()

    def started(self) -> None:
        """Models are trained: requests are welcome."""
        if self.state == "starting":
            self.state = "ready"

    @contextmanager
    def answering(self) -> Iterator[None]:
        """An answer is under way."""
        self._under_way += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._is_idle.set()

    @contextmanager
    def told(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` once the gateway begins to end: a session that waits for nothing should end then."""
        self._to_tell.add(stop)
        try:
            if self.state == "stopping":
                stop()
            yield
        finally:
            self._to_tell.discard(stop)

    async def drain(self, graceful_s: float) -> bool:
        """Tell sessions that it ends, and wait so long for answers under way; says whether all have ended."""
        self.state = "stopping"
        for stop in list(self._to_tell):
            stop()
        return await self._idle(graceful_s)

    async def cut(self, cut_s: float = 2.0) -> None:
        """Cut answers under way; they have so long to say so."""
        self.is_cut = True
        await self._idle(cut_s)

    async def _idle(self, timeout_s: float) -> bool:
        try:
            await asyncio.wait_for(self._is_idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True
