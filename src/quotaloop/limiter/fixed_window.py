"""Fixed window: ``limit`` units in each window of the clock; windows are aligned to the epoch, as Envoy's are."""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.limiter.rule import EXACT, Window

Spent = tuple[int, int, int]  # what was spent in it, its number, and the time (epoch ms)


def rolled(used: int, window: int, now_ms: int, period_ms: int) -> tuple[int, int]:
    """What was spent in the window of ``now_ms``, and its number; the window before stays for stragglers."""
    number = now_ms // period_ms
    if number == window or number == window - 1:
        return used, window
    return 0, number


@dataclass(frozen=True, slots=True)
class FixedWindow(Window):
    """At most ``limit`` units are admitted in a window, hence up to twice that in a period across two of them.

    >>> window = FixedWindow(limit=2, period_ms=60_000)
    >>> state = window.charge(window.forward(window.empty(), 59_999), 2)
    >>> window.fits(window.forward(state, 59_999), 1), window.fits(window.forward(state, 60_000), 1)
    (False, True)
    """

    def empty(self) -> Spent:
        """Nothing was spent in window 0."""
        return 0, 0, 0

    def forward(self, state: Spent, now_ms: int) -> Spent:
        """The window of that time."""
        used, window = rolled(state[0], state[1], now_ms, self.period_ms)
        return used, window, now_ms

    def fits(self, state: Spent, cost: int) -> bool:
        """May it be spent?"""
        return state[0] + cost <= self.limit

    def charge(self, state: Spent, cost: int) -> Spent:
        """The window with it."""
        return min(state[0] + cost, EXACT), state[1], state[2]

    def refund(self, state: Spent, amount: int, spent_ms: int) -> Spent:
        """The window without it, if it is the one in which it was spent."""
        if spent_ms // self.period_ms != state[1]:
            return state
        return max(state[0] - amount, 0), state[1], state[2]

    def remaining(self, state: Spent) -> int:
        """What is left of the limit."""
        return max(self.limit - state[0], 0)

    def wait_ms(self, state: Spent, cost: int) -> int:
        """Until the next window."""
        return 0 if self.fits(state, cost) else (state[1] + 1) * self.period_ms - state[2]
