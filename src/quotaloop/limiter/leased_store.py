"""Units of a shared store, taken many at a time and spent here: one round trip for many decisions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.reservations import Reservation, Reservations
from quotaloop.limiter.rule import Decision, check_cost
from quotaloop.limiter.store import SETTLED_MS, Ask, CounterStore, check_actual, check_asks


@dataclass(slots=True)
class _Lease:
    """Units that were taken and are not spent (below 0: spent and not taken), from when until when (epoch ms).

    Until ``refused_until_ms`` the shared store is not asked for ``refused_cost`` or more.
    """

    left: int = 0
    taken_ms: int = 0
    until_ms: int = 0
    refused_cost: int = 0
    refused_until_ms: int = 0

    def is_good(self, now_ms: int) -> bool:
        """May what is left be spent? Not before it was taken either: the clock was moved then."""
        return self.taken_ms <= now_ms < self.until_ms


class LeasedStore:
    """A ``CounterStore`` of one instance over one that all share; slots of ``Concurrency`` are leased one by one.

    Units are taken before they are spent, ``units`` at a time or what is left, and are void ``lease_ms`` later. So in
    any time no more is admitted than the shared store allows, plus ``units`` an instance that were taken before it: the
    over-grant. What was taken and not spent is the under-grant, as great at most.
    """

    def __init__(self, shared: CounterStore, *, units: int, lease_ms: int) -> None:
        if units < 1 or lease_ms < 1:
            raise ValueError(f"units and lease_ms are above 0, not {units} and {lease_ms}")
        self.shared, self.units, self.lease_ms = shared, units, lease_ms
        self._leases: dict[tuple[str, str], _Lease] = {}
        self._reservations = Reservations(shared.hold_ms, SETTLED_MS)
        self._guard = threading.Lock()  # of the reservations
        self._locks: dict[str, threading.Lock] = {}  # of each subject, so that no other waits while units are taken

    @property
    def hold_ms(self) -> int:
        """As long as the shared store."""
        return self.shared.hold_ms

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit."""
        check_cost(ask.cost, ask.rule.most)
        with self._locked(subject):
            lease = self._lease(subject, ask.key)
            wait_ms = self._filled(lease, subject, ask, now_ms)
            if wait_ms:
                return Decision(False, max(lease.left, 0), wait_ms)
            lease.left -= ask.cost
            return Decision(True, max(lease.left, 0), 0)

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing; slots are asked for last, and where the rest does not fit not at all."""
        check_asks(asks)
        rates, slots = _apart(asks)
        with self._locked(subject):
            leases = {ask.key: self._lease(subject, ask.key) for ask in rates}
            known = self._found(subject, request_id, now_ms)
            waits = {ask.key: 0 if known else self._filled(leases[ask.key], subject, ask, now_ms) for ask in rates}
            taken = {}
            if slots and not any(waits.values()):
                answers = self.shared.reserve(subject, request_id, slots, now_ms)
                taken = {ask.key: answer for ask, answer in zip(slots, answers, strict=True)}
            if not known and not any(waits.values()) and all(answer.allowed for answer in taken.values()):
                for ask in rates:
                    leases[ask.key].left -= ask.cost
                with self._guard:
                    self._reservations.keep(subject, request_id, {ask.key: ask.cost for ask in asks}, now_ms)
            found = {key: Decision(not wait, max(leases[key].left, 0), wait) for key, wait in waits.items()} | taken
            return [found.get(ask.key, Decision(True, 0, 0)) for ask in asks]

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``; what comes to more is taken with the next units."""
        check_actual(asks)
        rates, slots = _apart(asks)
        with self._locked(subject):
            known = self._found(subject, request_id, now_ms)
            if known is None:
                return False
            if known.is_settled:
                return True
            held = [ask for ask in slots if known.costs.get(ask.key)]
            if held:
                self.shared.settle(subject, request_id, held, now_ms)
            for ask in rates:
                more = ask.cost - known.costs.get(ask.key, ask.cost)
                lease = self._lease(subject, ask.key)
                if more > 0:
                    lease.left -= more
                elif lease.taken_ms <= known.spent_ms and lease.is_good(now_ms):  # else it was of units that are void
                    lease.left = max(lease.left, min(lease.left - more, self.units))
            with self._guard:
                self._reservations.settle(subject, request_id, now_ms)
            return True

    def extend(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Hold a reservation and its slot for as long again."""
        _, slots = _apart(asks)
        with self._locked(subject):
            known = self._found(subject, request_id, now_ms)
            if known is None or known.is_settled:
                return False
            with self._guard:
                self._reservations.extend(subject, request_id, now_ms)
            held = [ask for ask in slots if known.costs.get(ask.key)]
            return not held or self.shared.extend(subject, request_id, held, now_ms)

    def _locked(self, subject: str) -> threading.Lock:
        return self._locks.setdefault(subject, threading.Lock())

    def _found(self, subject: str, request_id: str, now_ms: int) -> Reservation | None:
        with self._guard:
            return self._reservations.find(subject, request_id, now_ms)

    def _lease(self, subject: str, key: str) -> _Lease:
        lease = self._leases.get((subject, key))
        if lease is None:
            lease = self._leases[subject, key] = _Lease()
        return lease

    def _filled(self, lease: _Lease, subject: str, ask: Ask, now_ms: int) -> int:
        """Take units unless enough are left; milliseconds until there might be enough, 0 if there are."""
        cost = ask.cost
        if lease.left > 0 and not lease.is_good(now_ms):
            lease.left = 0
        if cost <= lease.left or not cost:
            return 0
        if cost >= lease.refused_cost and lease.refused_until_ms - self.lease_ms <= now_ms < lease.refused_until_ms:
            return lease.refused_until_ms - now_ms
        needed, most = cost - lease.left, ask.rule.most
        units = min(max(needed, self.units), most)
        decision = self.shared.spend(subject, replace(ask, cost=units), now_ms)
        if not decision.allowed:
            units = min(max(needed, decision.remaining), most)
            decision = self.shared.spend(subject, replace(ask, cost=units), now_ms)
        if decision.allowed:
            lease.left += units
            lease.taken_ms, lease.until_ms = now_ms, now_ms + self.lease_ms
        if cost <= lease.left:
            return 0
        wait_ms = max(decision.retry_after_ms, 1)
        lease.refused_cost, lease.refused_until_ms = cost, now_ms + min(wait_ms, self.lease_ms)
        return wait_ms


def _apart(asks: Sequence[Ask]) -> tuple[list[Ask], list[Ask]]:
    """Those under rates, and those for slots."""
    rates = [ask for ask in asks if not isinstance(ask.rule, Concurrency)]
    return rates, [ask for ask in asks if isinstance(ask.rule, Concurrency)]
