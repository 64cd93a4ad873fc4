"""Connections that carry one exchange at a time, kept open and lent one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar


class Lent(Protocol):
    """What a pool holds."""

    @property
    def is_open(self) -> bool:
        """Can it be lent again?"""
        ...

    async def close(self) -> None:
        """End it."""
        ...


T = TypeVar("T", bound=Lent)


class Pool(Generic[T]):
    """At most ``size`` of them, opened when needed; one that is closed by then is replaced by a new one.

    ``waits_s`` holds how long each of those calls waited that found all of them lent.
    """

    def __init__(self, size: int, opens: Callable[[], Awaitable[T]]) -> None:
        self._opens = opens
        self._free: list[T] = []
        self._places = asyncio.Semaphore(size)
        self.waits_s: list[float] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[T]:
        """One that nobody else has; raises what opening it raises."""
        await self._take_place()
        try:
            one = await self._open_one()
            try:
                yield one
            except BaseException:  # what was cut off still comes in on it
                await one.close()
                raise
            self._free.append(one)
        finally:
            self._places.release()

    async def close(self) -> None:
        """End all that are free."""
        while self._free:
            await self._free.pop().close()

    async def _take_place(self) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        await self._places.acquire()
        self.waits_s.append(clock() - began)

    async def _open_one(self) -> T:
        while self._free:
            one = self._free.pop()
            if one.is_open:
                return one
        return await self._opens()
