"""Token bucket, which is GCRA: ``burst`` at once, refilled by ``limit`` units a period, continuously.

Counted as the continuous-state leaky bucket of ITU-T I.371: what was spent is a debt that drains at the rate, and a
cost fits if debt and cost together do not exceed the burst. Debts are in units of 1/period_ms, so that a millisecond
drains exactly ``limit`` of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.limiter.rule import EXACT, check_numbers

Debt = tuple[int, int]  # debt times period_ms, and when it was that (epoch ms)


def drained(debt: int, at_ms: int, now_ms: int, limit: int, period_ms: int) -> Debt:
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
        return 0, 0

    def forward(self, state: Debt, now_ms: int) -> Debt:
        """The debt at that time."""
        return drained(*state, now_ms, self.limit, self.period_ms)

    def fits(self, state: Debt, cost: int) -> bool:
        """May it be spent?"""
        return state[0] + cost * self.period_ms <= self.burst * self.period_ms

    def charge(self, state: Debt, cost: int) -> Debt:
        """The debt with it."""
        return min(state[0] + cost * self.period_ms, EXACT), state[1]

    def refund(self, state: Debt, amount: int, spent_ms: int) -> Debt:
        """The debt less the amount, as far as that cannot have drained since it was spent: others may have spent it."""
        left = amount * self.period_ms - max(state[1] - spent_ms, 0) * self.limit
        return max(state[0] - max(left, 0), 0), state[1]

    def remaining(self, state: Debt) -> int:
        """What is left of the burst."""
        return max(self.burst * self.period_ms - state[0], 0) // self.period_ms

    def wait_ms(self, state: Debt, cost: int) -> int:
        """Until enough has drained."""
        over = state[0] + (cost - self.burst) * self.period_ms
        return -(-over // self.limit) if over > 0 else 0
