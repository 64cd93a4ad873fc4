"""Counts in this process, behind one lock."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.reservations import Reservations
from quotaloop.limiter.rule import Decision, check_cost
from quotaloop.limiter.store import HOLD_MS, SETTLED_MS, Ask, check_actual, check_asks
from quotaloop.limiter.token_bucket import EMPTY, TokenBucket

_States = dict[str, Any]  # by key


class MemoryStore:
    """A ``CounterStore`` for one process. Reservations are held for ``hold_ms``; what nobody settles stays spent.

    What most requests ask, buckets and slots that have enough left, is answered in few steps, everything else by the
    rules step by step; both come to the same.
    """

    def __init__(self, *, hold_ms: int = HOLD_MS, settled_ms: int = SETTLED_MS) -> None:
        self.hold_ms = hold_ms
        self._states: dict[str, _States] = {}  # by subject
        self._reservations = Reservations(hold_ms, settled_ms)
        self._lock = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Is nothing reserved?"""
        return self._reservations.is_idle

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit."""
        rule: Any = ask.rule
        cost, key = ask.cost, ask.key
        with self._lock:
            states = self._states.get(subject, _NO_STATES)
            if type(rule) is TokenBucket and type(cost) is int and cost > 0:
                found = rule.spent(states.get(key, EMPTY), now_ms, cost)
                if found is not None:
                    self._put(subject, {key: found[0]})
                    return Decision(True, found[1], 0)
            check_cost(cost, rule.most)
            state = _forwarded(states, ask, now_ms)
            fits = not cost or rule.fits(state, cost)
            if fits:
                state = rule.charge(state, cost)
            self._put(subject, {key: state})
            return _decision(ask, state, fits)

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing."""
        with self._lock:
            known = self._reservations.find(subject, request_id, now_ms)
            states = self._states.get(subject, _NO_STATES)
            if known is None and (answer := self._taken(subject, request_id, asks, now_ms, states)) is not None:
                return answer
            check_asks(asks)
            return self._asked(subject, request_id, asks, now_ms, known is not None)

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``."""
        check_actual(asks)
        with self._lock:
            found = self._reservations.find(subject, request_id, now_ms)
            if found is None:
                return False
            if not found.is_settled:
                states = self._states[subject]
                for ask in asks:
                    if (cost := found.costs.get(ask.key)) is not None:
                        state = _forwarded(states, ask, now_ms)
                        states[ask.key] = _settled(request_id, ask, state, ask.cost - cost, found.spent_ms)
                self._reservations.settle(subject, request_id, now_ms)
            return True

    def extend(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Hold a reservation and its slot for as long again."""
        with self._lock:
            found = self._reservations.find(subject, request_id, now_ms)
            if found is None or found.is_settled:
                return False
            self._reservations.extend(subject, request_id, now_ms)
            states = self._states[subject]
            for ask in asks:
                if isinstance(ask.rule, Concurrency) and found.costs.get(ask.key):
                    states[ask.key] = ask.rule.hold(_forwarded(states, ask, now_ms), request_id)
            return True

    def _taken(
        self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int, states: Mapping[str, Any]
    ) -> list[Decision] | None:
        """Spend all in one pass; None, and nothing is spent, where that cannot be: for whatever reason."""
        answer, costs, fresh, slots = list[Decision](), dict[str, int](), dict[str, Any](), []
        for ask in asks:
            key, rule, cost = ask.key, ask.rule, ask.cost
            if type(cost) is not int or cost < 0 or key in costs:
                return None
            costs[key] = cost
            if type(rule) is TokenBucket:
                if (found := rule.spent(states.get(key, EMPTY), now_ms, cost)) is None:
                    return None
                fresh[key] = found[0]
                answer.append(Decision(True, found[1], 0))
            elif type(rule) is Concurrency and cost <= 1:
                slots.append((len(answer), key, rule))
                answer.append(_TO_COME)
            else:
                return None
        for number, key, rule in slots:  # leases change in place: after all else is known to fit
            leases = fresh[key] = states.get(key) or rule.empty()
            if (left := rule.room(leases, now_ms, request_id, costs[key])) is None:
                return None
            answer[number] = Decision(True, left, 0)
        for _, key, rule in slots:
            if costs[key]:
                rule.hold(fresh[key], request_id)
        self._put(subject, fresh)
        self._reservations.keep(subject, request_id, costs, now_ms)
        return answer

    def _asked(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int, is_known: bool) -> list[Decision]:
        """Spend all or nothing by the rules, step by step."""
        states = self._states.get(subject, _NO_STATES)
        found = [_forwarded(states, ask, now_ms) for ask in asks]
        fits = [
            is_known or not ask.cost or ask.rule.fits(state, ask.cost) for ask, state in zip(asks, found, strict=True)
        ]
        if all(fits) and not is_known:
            found = [_spent(request_id, ask, state) for ask, state in zip(asks, found, strict=True)]
            self._reservations.keep(subject, request_id, {ask.key: ask.cost for ask in asks}, now_ms)
        self._put(subject, {ask.key: state for ask, state in zip(asks, found, strict=True)})
        return [_decision(*one) for one in zip(asks, found, fits, strict=True)]

    def _put(self, subject: str, fresh: _States) -> None:
        states = self._states.get(subject)
        if states is None:
            self._states[subject] = fresh
        else:
            states.update(fresh)


_NO_STATES: Mapping[str, Any] = {}
_TO_COME = Decision(True, 0, 0)


def _forwarded(states: Mapping[str, Any], ask: Ask, now_ms: int) -> Any:
    state = states.get(ask.key)
    return ask.rule.forward(ask.rule.empty() if state is None else state, now_ms)


def _spent(request_id: str, ask: Ask, state: Any) -> Any:
    if not isinstance(ask.rule, Concurrency):
        return ask.rule.charge(state, ask.cost)
    return ask.rule.hold(state, request_id) if ask.cost else state


def _settled(request_id: str, ask: Ask, state: Any, more: int, spent_ms: int) -> Any:
    if isinstance(ask.rule, Concurrency):
        return ask.rule.release(state, request_id)
    if more == 0:
        return state
    return ask.rule.charge(state, more) if more > 0 else ask.rule.refund(state, -more, spent_ms)


def _decision(ask: Ask, state: Any, fits: bool) -> Decision:
    return Decision(fits, ask.rule.remaining(state), 0 if fits else ask.rule.wait_ms(state, ask.cost))
