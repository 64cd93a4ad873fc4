"""What a limit is to a limiter: an algorithm with its numbers, and the costs that it takes.

All times are whole milliseconds since the epoch, all amounts whole numbers below 2**53, so that every store reaches the
same decision to the unit: Redis counts in IEEE doubles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

from msgspec import Struct

EXACT = 2**53 - 1  # the greatest whole number up to which every double is exact

State = TypeVar("State")


class Decision(Struct, frozen=True, gc=False):
    """May the cost be spent; units ``remaining`` after it; milliseconds until it might be allowed, 0 if it is."""

    allowed: bool
    remaining: int
    retry_after_ms: int


class Rule(Protocol[State]):
    """An algorithm with its numbers. A state is what is kept of one key; the empty one says nothing was spent."""

    @property
    def limit(self) -> int:
        """Units in a period."""
        ...

    @property
    def period_ms(self) -> int:
        """The period."""
        ...

    @property
    def most(self) -> int:
        """No cost is above it."""
        ...

    def empty(self) -> State:
        """Nothing was spent."""
        ...

    def forward(self, state: State, now_ms: int) -> State:
        """The state at that time. Up to a period back, time stands still; further back, the clock was moved."""
        ...

    def fits(self, state: State, cost: int) -> bool:
        """May it be spent at the time of the state?"""
        ...

    def charge(self, state: State, cost: int) -> State:
        """The state after it was spent, whether it fits or not."""
        ...

    def refund(self, state: State, amount: int, spent_ms: int) -> State:
        """The state after part of what was spent at that time is given back, as far as it still counts."""
        ...

    def remaining(self, state: State) -> int:
        """The greatest cost that fits."""
        ...

    def wait_ms(self, state: State, cost: int) -> int:
        """Milliseconds until it may fit if nothing else is spent."""
        ...


def check_cost(cost: int, most: int) -> int:
    """The cost, if it can be one: a whole number from 0 to ``most``; raises ``ValueError``."""
    if type(cost) is not int or not 0 <= cost <= most:
        raise ValueError(f"a cost is a whole number from 0 to {most}, not {cost!r}")
    return cost


def check_numbers(limit: int, period_ms: int, burst: int) -> None:
    """Raises ``ValueError`` unless a limiter can count with them exactly."""
    for name, number in (("limit", limit), ("period_ms", period_ms), ("burst", burst)):
        if type(number) is not int or number < 1:
            raise ValueError(f"{name} is a whole number above 0, not {number!r}")
    if max(limit, burst) * period_ms > EXACT:
        raise ValueError(
            f"{max(limit, burst)} units in {period_ms} ms cannot be counted exactly: "
            f"limit and burst times period_ms are at most {EXACT}; state the limit for a shorter period"
        )


@dataclass(frozen=True, slots=True)
class Window:
    """The numbers of a rule that counts in windows; no cost is above its limit.

    Raises ``ValueError`` where a limiter cannot count with them exactly.
    """

    limit: int
    period_ms: int

    def __post_init__(self) -> None:
        check_numbers(self.limit, self.period_ms, self.limit)

    @property
    def most(self) -> int:
        """The greatest cost."""
        return self.limit
