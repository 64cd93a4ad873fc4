"""Sliding window log: every cost is remembered for a period, so that no period ever holds more than ``limit``."""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from quotaloop.limiter.rule import EXACT, Window


@dataclass(slots=True)
class Log:
    """What was spent in the period up to ``at_ms`` (epoch ms): time and amount in order, and the sum of amounts.

    It is changed in place. An amount below 0 was given back.
    """

    entries: list[tuple[int, int]] = field(default_factory=list)
    used: int = 0
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class SlidingLog(Window):
    """At most ``limit`` units are admitted in any ``period_ms`` on end; it keeps an entry for each cost.

    >>> window = SlidingLog(limit=2, period_ms=60_000)
    >>> state = window.charge(window.forward(window.empty(), 59_999), 2)
    >>> window.fits(window.forward(state, 119_998), 1), window.fits(window.forward(state, 119_999), 1)
    (False, True)
    """

    def empty(self) -> Log:
        """Nothing was spent."""
        return Log()

    def forward(self, state: Log, now_ms: int) -> Log:
        """The log without what is a period old; after the clock was moved back, what counts is of now."""
        if now_ms < state.at_ms - self.period_ms:
            state.entries[:] = [(now_ms, state.used)] if state.used else []
            state.at_ms = now_ms
            return state
        state.at_ms = max(state.at_ms, now_ms)
        gone = bisect_right(state.entries, state.at_ms - self.period_ms, key=itemgetter(0))
        state.used -= sum(amount for _, amount in state.entries[:gone])
        del state.entries[:gone]
        return state

    def fits(self, state: Log, cost: int) -> bool:
        """May it be spent?"""
        return state.used + cost <= self.limit

    def charge(self, state: Log, cost: int) -> Log:
        """The log with it."""
        if cost:
            kept = min(cost, EXACT - state.used)
            state.entries.append((state.at_ms, kept))
            state.used += kept
        return state

    def refund(self, state: Log, amount: int, spent_ms: int) -> Log:
        """The log without it, as if less had been spent at that time."""
        if amount and state.at_ms - self.period_ms < spent_ms <= state.at_ms:
            given = min(amount, state.used)
            insort(state.entries, (spent_ms, -given))
            state.used -= given
        return state

    def remaining(self, state: Log) -> int:
        """What is left of the limit."""
        return max(self.limit - state.used, 0)

    def wait_ms(self, state: Log, cost: int) -> int:
        """Until enough of the log is a period old."""
        over = state.used + cost - self.limit
        if over <= 0:
            return 0
        for time_ms, entries in groupby(state.entries, key=itemgetter(0)):
            over -= sum(amount for _, amount in entries)
            if over <= 0:
                return int(time_ms) + self.period_ms - state.at_ms
        raise ValueError(f"cost {cost} is above {self.most} and never fits")
