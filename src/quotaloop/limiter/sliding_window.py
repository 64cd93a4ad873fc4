"""Sliding window counter: the window of the clock, and of the one before the part that a sliding one still covers."""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.limiter.rule import EXACT, Window

Windows = tuple[int, int, int]  # spent in the window of the time, spent in the one before, the time (epoch ms)


def slid(used: int, before: int, at_ms: int, now_ms: int, period_ms: int) -> Windows:
    """The two windows at ``now_ms``, or at ``at_ms`` where that is up to a period later."""
    if at_ms - period_ms <= now_ms < at_ms:
        return used, before, at_ms
    steps = now_ms // period_ms - at_ms // period_ms
    if steps == 0:
        return used, before, now_ms
    return 0, used if steps == 1 else 0, now_ms


@dataclass(frozen=True, slots=True)
class SlidingWindow(Window):
    """Admits while what was spent in the window, and of the one before the part that still counts, is below ``limit``.

    It takes what was spent before as spread evenly over its window, so it may be off for bursts, by at most the limit.

    >>> window = SlidingWindow(limit=4, period_ms=60_000)
    >>> state = window.charge(window.forward(window.empty(), 59_999), 4)
    >>> window.fits(window.forward(state, 74_999), 1), window.fits(window.forward(state, 75_000), 1)
    (False, True)
    """

    def empty(self) -> Windows:
        """Nothing was spent."""
        return 0, 0, 0

    def forward(self, state: Windows, now_ms: int) -> Windows:
        """The windows of that time."""
        return slid(*state, now_ms, self.period_ms)

    def fits(self, state: Windows, cost: int) -> bool:
        """May it be spent?"""
        used, before, at_ms = state
        return (self.limit - used - cost) * self.period_ms >= before * (self.period_ms - at_ms % self.period_ms)

    def charge(self, state: Windows, cost: int) -> Windows:
        """The windows with it."""
        return min(state[0] + cost, EXACT // self.period_ms), state[1], state[2]

    def refund(self, state: Windows, amount: int, spent_ms: int) -> Windows:
        """The windows without it, if it was spent in one of them."""
        used, before, at_ms = state
        steps = at_ms // self.period_ms - spent_ms // self.period_ms
        if steps == 0:
            return max(used - amount, 0), before, at_ms
        return used, max(before - amount, 0) if steps == 1 else before, at_ms

    def remaining(self, state: Windows) -> int:
        """The greatest cost that fits."""
        used, before, at_ms = state
        counted = -(-before * (self.period_ms - at_ms % self.period_ms) // self.period_ms)
        return max(self.limit - used - counted, 0)

    def wait_ms(self, state: Windows, cost: int) -> int:
        """Until enough has left the sliding window: in this window of the clock, or in the next."""
        if self.fits(state, cost):
            return 0
        used, before, at_ms = state
        left = self.period_ms - at_ms % self.period_ms
        free = (self.limit - used - cost) * self.period_ms
        if free >= 0 and before:
            return min(left - free // before, left)
        free = (self.limit - cost) * self.period_ms
        return left + max(self.period_ms - free // used, 0) if used else left
