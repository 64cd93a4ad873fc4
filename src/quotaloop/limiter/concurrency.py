"""Concurrency: at most so many requests in flight; each holds a slot by a lease, which ends if its client crashes."""

from __future__ import annotations

from dataclasses import dataclass, field

from quotaloop.limiter.rule import EXACT


@dataclass(slots=True)
class Leases:
    """Who holds a slot at ``at_ms``, and when it is free again (epoch ms); changed in place.

    None is free again before ``first_ms``, none after ``last_ms``: between them nobody has to look at each.
    """

    held: dict[str, int] = field(default_factory=dict)
    at_ms: int = 0
    first_ms: int = EXACT
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class Concurrency:
    """``limit`` slots; a lease that is neither released nor extended ends ``hold_ms`` after it was taken.

    >>> slots = Concurrency(limit=1, hold_ms=60_000)
    >>> leases = slots.hold(slots.forward(slots.empty(), 0), "first")
    >>> slots.fits(slots.forward(leases, 59_999), 1), slots.fits(slots.forward(leases, 60_000), 1)
    (False, True)
    """

    limit: int
    hold_ms: int

    def __post_init__(self) -> None:
        for name, number in (("limit", self.limit), ("hold_ms", self.hold_ms)):
            if type(number) is not int or number < 1:
                raise ValueError(f"{name} is a whole number above 0, not {number!r}")

    @property
    def most(self) -> int:
        """A request takes one slot."""
        return 1

    def empty(self) -> Leases:
        """Nobody holds a slot."""
        return Leases()

    def forward(self, state: Leases, now_ms: int) -> Leases:
        """The leases that hold at that time. None holds longer than one that is taken then would."""
        latest = now_ms + self.hold_ms
        if now_ms >= state.first_ms or state.last_ms > latest:
            state.held = held = {name: min(until, latest) for name, until in state.held.items() if until > now_ms}
            state.first_ms, state.last_ms = min(held.values(), default=EXACT), max(held.values(), default=0)
        state.at_ms = now_ms
        return state

    def fits(self, state: Leases, cost: int) -> bool:
        """Is a slot free?"""
        return len(state.held) + cost <= self.limit

    def room(self, state: Leases, now_ms: int, request_id: str, cost: int) -> int | None:
        """How many slots are left at that time once this request holds one too, None without one for it."""
        held = self.forward(state, now_ms).held
        left = self.limit - len(held) - cost
        if cost:
            return left + (request_id in held) if left >= 0 else None
        return max(left, 0)

    def hold(self, state: Leases, request_id: str) -> Leases:
        """The leases with this one, taken anew or extended."""
        state.held[request_id] = until_ms = state.at_ms + self.hold_ms
        state.first_ms = min(state.first_ms, until_ms)
        state.last_ms = max(state.last_ms, until_ms)
        return state

    def release(self, state: Leases, request_id: str) -> Leases:
        """The leases without this one."""
        state.held.pop(request_id, None)
        return state

    def remaining(self, state: Leases) -> int:
        """How many slots are free."""
        return max(self.limit - len(state.held), 0)

    def wait_ms(self, state: Leases, cost: int) -> int:
        """Until enough leases have ended, if nobody releases one."""
        if self.fits(state, cost):
            return 0
        return sorted(state.held.values())[len(state.held) - self.limit] - state.at_ms
