"""Makes the calls of a plan, each at its own time whatever becomes of the others: an open loop.

Where answers are slow, calls pile up instead of being made later; a client that waits for them would leave out just
those that would have shown it (Gil Tene's "coordinated omission"). So latency counts from the planned time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from examples.gateway.clients.answer import Answer
from examples.gateway.load.plan import Call


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call and what came of it; times are in seconds since the start.

    ``begun_s`` is when it was handed to its client: later than planned if this machine is too slow, or where
    ``held_s`` says so, because as many as may be open were open.
    """

    call: Call
    answer: Answer
    begun_s: float
    ended_s: float
    held_s: float = 0.0

    @property
    def latency_ms(self) -> float:
        """From the planned time; ``answer.duration_ms`` is from the sending."""
        return (self.ended_s - self.call.at_s) * 1000

    @property
    def late_ms(self) -> float:
        """How long after its time it was begun, not counting what it was held."""
        return (self.begun_s - self.held_s - self.call.at_s) * 1000


async def run(
    calls: Sequence[Call],
    make: Callable[[Call], Awaitable[Answer]],
    *,
    most_open: int = 1_000,
    patience_s: float = 30.0,
) -> list[Attempt]:
    """One attempt for each call, in their order.

    What is still open ``patience_s`` after the last call was due is given up, and ``cancelled``.
    """
    if not calls:
        return []
    clock = asyncio.get_running_loop().time
    start, places = clock(), asyncio.Semaphore(most_open)
    due = _Due(make, start, places)
    tasks: list[asyncio.Task[Attempt]] = []
    for call in calls:
        await asyncio.sleep(max(start + call.at_s - clock(), 0))
        tasks.append(asyncio.create_task(due.attempt(call)))
    _, late = await asyncio.wait(tasks, timeout=patience_s)
    for task in late:
        task.cancel()
    return await asyncio.gather(*tasks)


class _Due:
    """Calls whose time has come."""

    def __init__(self, make: Callable[[Call], Awaitable[Answer]], start: float, places: asyncio.Semaphore) -> None:
        self._make, self._start, self._places = make, start, places

    async def attempt(self, call: Call) -> Attempt:
        """Make it as soon as there is a place; whatever its client raises is its outcome."""
        came_s, is_held = self._now(), self._places.locked()
        begun_s = None
        try:
            async with self._places:
                begun_s = self._now()
                answer = await self._make(call)
        except asyncio.CancelledError:
            answer = Answer("cancelled", None, reason="given up", is_sent=begun_s is not None)
        except Exception as error:  # counted and told by its name: a call must not vanish
            answer = Answer("error", None, reason=type(error).__name__)
        began_s = self._now() if begun_s is None else begun_s
        return Attempt(call, answer, began_s, self._now(), began_s - came_s if is_held else 0.0)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self._start
