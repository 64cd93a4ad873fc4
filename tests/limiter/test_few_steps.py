"""What the store in memory answers in few steps comes to what the rules come to step by step, to the unit."""

from __future__ import annotations

import random
from typing import Any

import pytest

from quotaloop.limiter.concurrency import Concurrency, Leases
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rules import rule_of
from quotaloop.limiter.store import Ask
from quotaloop.limiter.token_bucket import Debt, TokenBucket, drained

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms


class Plain(TokenBucket):
    """The bucket as it is defined, which the store knows no short way for."""

    def forward(self, state: Debt, now_ms: int) -> Debt:
        """The debt at that time."""
        debt, at_ms = drained(state[0], state[1], now_ms, self.limit, self.period_ms)
        if at_ms < state[1]:
            return debt, at_ms, 0, 0
        steps = at_ms // self.period_ms - state[1] // self.period_ms
        if steps == 0:
            return debt, at_ms, min(state[2], debt), state[3]
        return debt, at_ms, debt, min(state[2], debt) if steps == 1 else debt

    def refund(self, state: Debt, amount: int, spent_ms: int) -> Debt:
        """The debt as if less had been spent at that time."""
        debt, at_ms, least, before = state
        steps = at_ms // self.period_ms - spent_ms // self.period_ms
        known = least if steps <= 0 else min(least, before) if steps == 1 else 0
        alone = amount * self.period_ms - max(at_ms - spent_ms, 0) * self.limit
        given = max(min(amount * self.period_ms, max(known, alone)), 0)
        return max(debt - given, 0), at_ms, max(least - given, 0), max(before - given, 0)


class PlainSlots(Concurrency):
    """Slots that are all looked at each time."""

    def forward(self, state: Leases, now_ms: int) -> Leases:
        """The leases that hold at that time."""
        latest = now_ms + self.hold_ms
        state.held = {name: min(until, latest) for name, until in state.held.items() if until > now_ms}
        state.at_ms = now_ms
        return state


def stores() -> tuple[MemoryStore, MemoryStore]:
    """Two, in which a request is held for 90 ms and one that is settled for 40."""
    return MemoryStore(hold_ms=90, settled_ms=40), MemoryStore(hold_ms=90, settled_ms=40)


def asks(rules: tuple[Any, ...], amounts: tuple[Any, ...], which: int) -> list[Ask]:
    """Of those rules whose bit is set."""
    named = zip(("first", "second", "slots"), rules, amounts, strict=True)
    return [Ask(name, rule, amount) for bit, (name, rule, amount) in enumerate(named) if which >> bit & 1]


def step(chance: random.Random) -> tuple[str, str, tuple[Any, ...], int]:
    """A verb, the id of a request, costs and of which rules."""
    verb = chance.choice(["reserve", "reserve", "reserve", "settle", "settle", "extend", "spend"])
    wrong = [chance.choice([-1, 0.5, True, 10**18])] if chance.random() < 0.02 else []
    most = chance.choice([3, 12, 60])
    amounts = [chance.randint(0, most), *(wrong or [chance.randint(0, most)]), chance.choice([0, 1, 1, 1, 1, 2])]
    return verb, str(chance.randint(0, 12)), tuple(amounts), chance.randint(1, 7)


def answer(store: MemoryStore, rules: tuple[Any, ...], asked: tuple[Any, ...], now_ms: int) -> Any:
    """What a store says, an error as its text."""
    verb, name, amounts, which = asked
    try:
        if verb == "spend":
            return store.spend("acme", Ask("first", rules[0], amounts[1]), now_ms)
        return getattr(store, verb)("acme", name, asks(rules, amounts, which), now_ms)
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("seed", range(60))
def test_few_steps_come_to_what_all_of_them_come_to(seed: int) -> None:
    chance = random.Random(seed)
    limit, burst, other_burst = (chance.randint(1, 60) for _ in range(3))
    period, slots, hold = chance.choice([5, 60, 1_000]), chance.randint(1, 4), chance.randint(5, 150)
    few: Any = (TokenBucket(limit, period, burst), TokenBucket(7, 100, other_burst), Concurrency(slots, hold))
    all_of_them: Any = (Plain(limit, period, burst), Plain(7, 100, other_burst), PlainSlots(slots, hold))
    (quick, plain), now_ms = stores(), NOON + chance.randint(0, 1_000)
    for _ in range(300):
        now_ms += chance.choice([0, 0, 0, 1, 1, 2, 5, 9, 30, 61, -1, -2] if chance.random() < 0.97 else [-1_500, 2_500])
        asked = step(chance)
        assert answer(quick, few, asked, now_ms) == answer(plain, all_of_them, asked, now_ms), (asked, now_ms - NOON)
        found, expected = (store._states.get("acme", {}) for store in (quick, plain))
        for key in ("first", "second"):
            assert found.get(key) == expected.get(key), (asked, now_ms - NOON)


def test_a_cost_that_cannot_be_among_others_that_fit_spends_nothing() -> None:
    store, bucket = MemoryStore(), rule_of("gcra", 60, 60, 10)
    slots = Concurrency(1, 60_000)
    for wrong in (-1, 11, 1.0, True):
        with pytest.raises(ValueError, match="a cost is a whole number from 0 to 10"):
            store.reserve("acme", "a", [Ask("s", slots, 1), Ask("k", bucket, 5), Ask("l", bucket, wrong)], NOON)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a key is asked for twice: s, s"):
        store.reserve("acme", "a", [Ask("s", slots, 1), Ask("s", slots, 1)], NOON)
    (left,) = store.reserve("acme", "b", [Ask("k", bucket, 0)], NOON)
    (slot,) = store.reserve("acme", "c", [Ask("s", slots, 1)], NOON)
    assert (left.remaining, slot.allowed) == (10, True)


def test_slots_are_looked_at_one_by_one_only_when_the_first_may_be_free() -> None:
    slots = Concurrency(3, 1_000)
    leases = slots.hold(slots.forward(slots.empty(), NOON), "a")
    slots.hold(slots.forward(leases, NOON + 600), "b")
    held = leases.held
    assert slots.forward(leases, NOON + 999).held is held
    assert slots.forward(leases, NOON + 1_000).held == {"b": NOON + 1_600}
    assert (leases.first_ms, leases.last_ms) == (NOON + 1_600, NOON + 1_600)
