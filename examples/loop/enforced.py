"""A day's attempts once more, one by one, through a limiter that is really there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from quotaloop.limiter.limiter import Limiter
from quotaloop.quotas.policy import KINDS
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import NOT_SENT, PASSED


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a history, by its place in it."""

    history: History
    place: int

    @property
    def arrived_ms(self) -> int:
        """When it came."""
        return int(self.history.arrived_ms[self.place])


def in_order(histories: Sequence[History]) -> list[Attempt]:
    """The attempts of all tenants as they came."""
    found = [Attempt(one, place) for one in histories for place in range(len(one.arrived_ms))]
    return sorted(found, key=lambda attempt: attempt.arrived_ms)


def answers(attempts: Sequence[Attempt], ask: Callable[[Attempt], bool]) -> dict[str, list[int]]:
    """Per tenant what became of each attempt: ``PASSED``, 0 for refused, ``NOT_SENT``.

    A retry that was only made because its chain was refused then is not sent once one of the chain has passed.
    """
    found: dict[str, list[int]] = {}
    served: set[tuple[str, int]] = set()
    for attempt in attempts:
        history, place = attempt.history, attempt.place
        chain = (history.tenant, int(history.chain[place]))
        known = found.setdefault(history.tenant, [])
        if chain in served:
            known.append(NOT_SENT)
            continue
        passed = ask(attempt)
        known.append(PASSED if passed else 0)
        if passed and history.was_denied[place] and chain[1] >= 0:
            served.add(chain)
    return found


def asking(limiter: Limiter) -> Callable[[Attempt], bool]:
    """Ask a limiter at the time of each attempt, and settle what has ended until then."""
    in_flight: list[tuple[int, str, str]] = []

    def ask(attempt: Attempt) -> bool:
        now_ms, tenant = attempt.arrived_ms, attempt.history.tenant
        for end_ms, owner, name in _ended(in_flight, now_ms):
            limiter.settle(owner, name, {}, now_ms=end_ms, model="small", api_version="v1")
        costs = {kind: int(attempt.history.cost(kind)[attempt.place]) for kind in KINDS}
        name = str(attempt.place)
        try:
            answer = limiter.reserve(tenant, name, costs, now_ms=now_ms, model="small", api_version="v1")
        except ValueError:  # more than the limit ever allows
            return False
        if answer.allowed:
            heappush(in_flight, (max(int(attempt.history.ended_ms[attempt.place]), now_ms + 1), tenant, name))
        return answer.allowed

    return ask


def _ended(in_flight: list[tuple[int, str, str]], now_ms: int) -> Iterator[tuple[int, str, str]]:
    while in_flight and in_flight[0][0] <= now_ms:
        yield heappop(in_flight)
