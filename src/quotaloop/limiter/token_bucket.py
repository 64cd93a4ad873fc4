"""Token bucket, which is GCRA: ``burst`` at once, refilled by ``limit`` units a period, continuously.

Counted as the continuous-state leaky bucket of ITU-T I.371: what was spent is a debt that drains at the rate, and a
cost fits if debt and cost together do not exceed the burst. Debts are in units of 1/period_ms, so that a millisecond
drains exactly ``limit`` of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.limiter.rule import EXACT, check_numbers

# Debt times period_ms, its time (epoch ms), and the least it was in this period of the clock and in the one before.
Debt = tuple[int, int, int, int]
EMPTY: Debt = (0, 0, 0, 0)


def drained(debt: int, at_ms: int, now_ms: int, limit: int, period_ms: int) -> tuple[int, int]:
    """The debt at ``now_ms``, or at ``at_ms`` where that is up to a period later."""
    elapsed = now_ms - at_ms
    if elapsed >= 0:
        if elapsed > debt // limit:
            return 0, now_ms
        return debt - elapsed * limit, now_ms
    if elapsed < -period_ms:
        return debt, now_ms
    return debt, at_ms


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """At most ``burst + limit * t / period_ms`` units are admitted in any ``t`` milliseconds.

    >>> bucket = TokenBucket(limit=60, period_ms=60_000, burst=3)
    >>> state = bucket.charge(bucket.forward(bucket.empty(), 0), 3)
    >>> bucket.fits(bucket.forward(state, 999), 1), bucket.fits(bucket.forward(state, 1_000), 1)
    (False, True)
    """

    limit: int
    period_ms: int
    burst: int

    def __post_init__(self) -> None:
        check_numbers(self.limit, self.period_ms, self.burst)

    @property
    def most(self) -> int:
        """The greatest cost."""
        return self.burst

    def empty(self) -> Debt:
        """No debt."""
        return EMPTY

    def forward(self, state: Debt, now_ms: int) -> Debt:
        """The debt at that time."""
        debt, at_ms, least, before = state
        if now_ms < at_ms:
            debt, found_ms = drained(debt, at_ms, now_ms, self.limit, self.period_ms)
            return (debt, found_ms, 0, 0) if found_ms < at_ms else state
        debt -= (now_ms - at_ms) * self.limit  # as ``drained`` has it, which takes care that numbers fit 64 bits
        debt = debt if debt > 0 else 0
        steps = now_ms // self.period_ms - at_ms // self.period_ms
        if steps == 0:
            return debt, now_ms, least if least < debt else debt, before
        if steps == 1:
            return debt, now_ms, debt, least if least < debt else debt
        return debt, now_ms, debt, debt

    def spent(self, state: Debt, now_ms: int, cost: int) -> tuple[Debt, int] | None:
        """The state at that time after the cost and what is left then, None where it does not fit: all in one step."""
        limit, period_ms = self.limit, self.period_ms
        debt, at_ms, least, before = state
        if now_ms < at_ms or now_ms // period_ms != at_ms // period_ms:
            debt, at_ms, least, before = self.forward(state, now_ms)
        else:  # as ``forward`` has it, for nearly all requests
            debt -= (now_ms - at_ms) * limit
            debt = debt if debt > 0 else 0
            at_ms, least = now_ms, least if least < debt else debt
        debt += cost * period_ms
        left = self.burst * period_ms - debt
        if left >= 0:
            return (debt, at_ms, least, before), left // period_ms
        return None if cost else ((debt, at_ms, least, before), 0)

    def fits(self, state: Debt, cost: int) -> bool:
        """May it be spent?"""
        return state[0] + cost * self.period_ms <= self.burst * self.period_ms

    def charge(self, state: Debt, cost: int) -> Debt:
        """The debt with it."""
        return min(state[0] + cost * self.period_ms, EXACT), *state[1:]

    def refund(self, state: Debt, amount: int, spent_ms: int) -> Debt:
        """The debt as if less had been spent at that time, or more than that where it is not known.

        It would have been less by the amount, but not below 0 at any time since: by as much as the debt was at least,
        or as cannot have drained of the amount alone.
        """
        debt, at_ms, least, before = state
        steps = at_ms // self.period_ms - spent_ms // self.period_ms
        known = 0 if steps > 1 else least if steps <= 0 or least < before else before
        given = amount * self.period_ms
        if known < given:
            alone = given - max(at_ms - spent_ms, 0) * self.limit
            given = min(given, max(known, alone))
        if not given:
            return state
        return max(debt - given, 0), at_ms, max(least - given, 0), max(before - given, 0)

    def remaining(self, state: Debt) -> int:
        """What is left of the burst."""
        return max(self.burst * self.period_ms - state[0], 0) // self.period_ms

    def wait_ms(self, state: Debt, cost: int) -> int:
        """Until enough has drained."""
        over = state[0] + (cost - self.burst) * self.period_ms
        return -(-over // self.limit) if over > 0 else 0
