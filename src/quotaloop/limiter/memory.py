"""Counts in this process, behind one lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.reservations import Reservation, Reservations
from quotaloop.limiter.rule import Decision, check_cost
from quotaloop.limiter.store import HOLD_MS, Ask, check_actual, check_asks


class MemoryStore:
    """A ``CounterStore`` for one process. Reservations are held for ``hold_ms``; what nobody settles stays spent."""

    def __init__(self, *, hold_ms: int = HOLD_MS) -> None:
        self.hold_ms = hold_ms
        self._states: dict[tuple[str, str], Any] = {}
        self._reservations = Reservations(hold_ms)
        self._lock = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Is nothing reserved?"""
        return not self._reservations

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit."""
        rule: Any = ask.rule
        cost, key = ask.cost, (subject, ask.key)
        check_cost(cost, rule.most)
        with self._lock:
            state = rule.forward(self._states.get(key) or rule.empty(), now_ms)
            if cost and not rule.fits(state, cost):
                self._states[key] = state
                return Decision(False, rule.remaining(state), rule.wait_ms(state, cost))
            self._states[key] = state = rule.charge(state, cost)
            return Decision(True, rule.remaining(state), 0)

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing."""
        check_asks(asks)
        with self._lock:
            known = self._reservations.find(subject, request_id, now_ms)
            states = [self._state(subject, ask, now_ms) for ask in asks]
            if known:
                self._keep(subject, asks, states)
                return [Decision(True, ask.rule.remaining(state), 0) for ask, state in zip(asks, states, strict=True)]
            fits = [not ask.cost or ask.rule.fits(state, ask.cost) for ask, state in zip(asks, states, strict=True)]
            if all(fits):
                states = [_spent(request_id, ask, state) for ask, state in zip(asks, states, strict=True)]
                costs = {ask.key: ask.cost for ask in asks}
                self._reservations.keep(subject, request_id, costs, now_ms)
            self._keep(subject, asks, states)
            return [_decision(*found) for found in zip(asks, states, fits, strict=True)]

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``."""
        check_actual(asks)
        with self._lock:
            found = self._reservations.find(subject, request_id, now_ms)
            if found is None:
                return False
            if not found.is_settled:
                reserved = [ask for ask in asks if ask.key in found.costs]
                states = [_settled(request_id, ask, self._state(subject, ask, now_ms), found) for ask in reserved]
                self._keep(subject, reserved, states)
                found.is_settled = True
            return True

    def extend(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Hold a reservation and its slot for as long again."""
        with self._lock:
            found = self._reservations.find(subject, request_id, now_ms)
            if found is None or found.is_settled:
                return False
            self._reservations.extend(subject, request_id, now_ms)
            for ask in asks:
                if isinstance(ask.rule, Concurrency) and found.costs.get(ask.key):
                    self._keep(subject, [ask], [ask.rule.hold(self._state(subject, ask, now_ms), request_id)])
            return True

    def _state(self, subject: str, ask: Ask, now_ms: int) -> Any:
        state = self._states.get((subject, ask.key))
        return ask.rule.forward(ask.rule.empty() if state is None else state, now_ms)

    def _keep(self, subject: str, asks: Sequence[Ask], states: Sequence[Any]) -> None:
        self._states.update(((subject, ask.key), state) for ask, state in zip(asks, states, strict=True))


def _spent(request_id: str, ask: Ask, state: Any) -> Any:
    if not isinstance(ask.rule, Concurrency):
        return ask.rule.charge(state, ask.cost)
    return ask.rule.hold(state, request_id) if ask.cost else state


def _settled(request_id: str, ask: Ask, state: Any, found: Reservation) -> Any:
    if isinstance(ask.rule, Concurrency):
        return ask.rule.release(state, request_id)
    more = ask.cost - found.costs[ask.key]
    if more == 0:
        return state
    return ask.rule.charge(state, more) if more > 0 else ask.rule.refund(state, -more, found.spent_ms)


def _decision(ask: Ask, state: Any, fits: bool) -> Decision:
    return Decision(fits, ask.rule.remaining(state), 0 if fits else ask.rule.wait_ms(state, ask.cost))
