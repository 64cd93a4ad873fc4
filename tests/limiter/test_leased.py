"""Units that are taken many at a time: nothing is admitted that was not taken before."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.leased_store import LeasedStore
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import Decision
from quotaloop.limiter.rules import rule_of
from quotaloop.limiter.store import Ask

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
RULE = rule_of("token_bucket", 60, 60, 100)  # one a second


class Counted(MemoryStore):
    """How often the shared store was asked."""

    asked = 0

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit."""
        self.asked += 1
        return super().spend(subject, ask, now_ms)


def spend(store: LeasedStore, cost: int, after_ms: int = 0) -> bool:
    """Is it allowed?"""
    return store.spend("acme", Ask("k", RULE, cost), NOON + after_ms).allowed


def test_one_round_trip_serves_many_decisions() -> None:
    shared = Counted()
    store = LeasedStore(shared, units=20, lease_ms=1_000)
    assert all(spend(store, 1) for _ in range(40))
    assert shared.asked == 2


def test_what_is_left_is_taken_where_it_is_less_than_a_lease() -> None:
    shared = Counted()
    store = LeasedStore(shared, units=70, lease_ms=1_000)
    assert [spend(store, 60), spend(store, 35)] == [True, True]
    asked = shared.asked
    assert spend(store, 5)
    assert shared.asked == asked
    assert not spend(store, 1)


def test_no_more_than_a_lease_is_kept_of_what_is_given_back() -> None:
    shared = MemoryStore()
    store = LeasedStore(shared, units=10, lease_ms=60_000)
    assert store.reserve("acme", "a", [Ask("k", RULE, 60)], NOON)[0].allowed
    assert store.settle("acme", "a", [Ask("k", RULE, 0)], NOON)
    assert store.spend("acme", Ask("k", RULE, 0), NOON).remaining == 10


def test_instances_together_admit_no_more_than_the_shared_store_gave() -> None:
    shared = MemoryStore()
    stores = [LeasedStore(shared, units=30, lease_ms=1_000) for _ in range(4)]
    assert sum(spend(store, 1) for _ in range(50) for store in stores) == 100


def test_units_that_were_not_spent_in_time_are_void() -> None:
    store = LeasedStore(MemoryStore(), units=100, lease_ms=500)
    assert spend(store, 1)
    assert [spend(store, 2, 500), spend(store, 1, 1_000)] == [False, True]


def test_a_refusal_is_remembered_until_something_may_have_come_back() -> None:
    shared = Counted()
    store = LeasedStore(shared, units=100, lease_ms=60_000)
    assert spend(store, 100)
    assert not spend(store, 5)
    asked = shared.asked
    assert not any(spend(store, 5, after) for after in range(0, 5_000, 100))
    assert shared.asked == asked
    assert spend(store, 5, 5_000)


def test_what_a_request_came_to_is_settled_with_the_units_here() -> None:
    shared = MemoryStore()
    store = LeasedStore(shared, units=40, lease_ms=60_000)
    asks = [Ask("k", RULE, 30)]
    assert store.reserve("acme", "a", asks, NOON)[0] == Decision(True, 10, 0)
    assert store.reserve("acme", "a", asks, NOON)[0].allowed  # nothing more is spent
    assert store.settle("acme", "a", [Ask("k", RULE, 5)], NOON)
    assert store.settle("acme", "a", [Ask("k", RULE, 0)], NOON)
    assert store.spend("acme", Ask("k", RULE, 0), NOON).remaining == 35
    assert store.reserve("acme", "b", asks, NOON)[0].remaining == 5
    assert store.settle("acme", "b", [Ask("k", RULE, 65)], NOON)  # 30 more than there are
    assert shared.spend("acme", Ask("k", RULE, 0), NOON).remaining == 60
    assert store.reserve("acme", "c", asks, NOON)[0].remaining == 0
    assert shared.spend("acme", Ask("k", RULE, 0), NOON).remaining == 0


def test_what_was_of_a_lease_that_is_void_is_not_given_back() -> None:
    shared = MemoryStore()
    store = LeasedStore(shared, units=30, lease_ms=1_000)
    for number in range(3):
        assert store.reserve("acme", str(number), [Ask("k", RULE, 30)], NOON + number)[0].allowed
    late = NOON + 300_000
    found = 0
    for number in range(20):
        store.settle("acme", str(number), [Ask("k", RULE, 0)], late)
        found += store.reserve("acme", f"late {number}", [Ask("k", RULE, 30)], late)[0].allowed
    assert found * 30 <= 100 + 30


def test_a_refusal_and_units_do_not_outlast_a_clock_that_was_moved_back() -> None:
    shared = MemoryStore()
    store = LeasedStore(shared, units=100, lease_ms=5_000)
    assert spend(store, 100)
    assert not spend(store, 50)
    other = LeasedStore(Counted(), units=10, lease_ms=5_000)
    assert [spend(other, 1), spend(other, 1, -3_600_000)] == [True, True]
    assert isinstance(other.shared, Counted)
    assert other.shared.asked == 2
    assert not spend(store, 50, -3_600_000)  # asked again: nothing has come back yet
    assert spend(store, 50, -3_600_000 + 60_000)


def test_a_request_without_a_slot_settles_without_asking_the_shared_store() -> None:
    class Slotless(MemoryStore):
        def settle(self, subject: str, request_id: str, asks: object, now_ms: int) -> bool:  # noqa: ARG002
            raise AssertionError("it was asked")

    store = LeasedStore(Slotless(), units=40, lease_ms=60_000)
    slots = Ask("slots", Concurrency(1, 60_000), 0)
    assert store.reserve("acme", "a", [Ask("k", RULE, 30)], NOON)[0].allowed
    assert store.settle("acme", "a", [Ask("k", RULE, 5), slots], NOON)


def test_a_subject_waits_for_no_other() -> None:
    class Slow(MemoryStore):
        def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
            if subject == "slow":
                asked.set()
                assert go_on.wait(20)
            return super().spend(subject, ask, now_ms)

    asked, go_on = threading.Event(), threading.Event()
    store = LeasedStore(Slow(), units=10, lease_ms=1_000)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(store.spend, "slow", Ask("k", RULE, 1), NOON)
        try:
            assert asked.wait(20)
            assert spend(store, 1)
        finally:
            go_on.set()
        assert waiting.result().allowed


def test_slots_are_leased_by_the_shared_store_and_all_is_reserved_or_nothing() -> None:
    shared = MemoryStore()
    stores = [LeasedStore(shared, units=10, lease_ms=1_000) for _ in range(2)]
    slots = Ask("slots", Concurrency(1, 60_000), 1)
    asks = [Ask("k", RULE, 10), slots]
    assert [found.allowed for found in stores[0].reserve("acme", "a", asks, NOON)] == [True, True]
    assert [found.allowed for found in stores[1].reserve("acme", "b", asks, NOON)] == [True, False]
    assert stores[1].spend("acme", Ask("k", RULE, 0), NOON).remaining == 10
    assert stores[0].extend("acme", "a", asks, NOON + 50_000)
    assert not stores[1].reserve("acme", "b", asks, NOON + 60_000)[1].allowed
    assert stores[0].settle("acme", "a", asks, NOON + 60_000)
    assert stores[1].reserve("acme", "b", asks, NOON + 60_000)[1].allowed
    assert not stores[1].reserve("acme", "c", [Ask("k", RULE, 100), slots], NOON + 60_000)[0].allowed


@pytest.mark.parametrize("units", [0, -1])
def test_a_lease_of_nothing_is_an_error(units: int) -> None:
    with pytest.raises(ValueError, match="units and lease_ms are above 0"):
        LeasedStore(MemoryStore(), units=units, lease_ms=1_000)


@given(
    st.integers(1, 60),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 300, 2_000]), st.integers(0, 100)), max_size=60),
)
def test_no_more_is_admitted_than_burst_and_rate_and_a_lease_of_each_instance(
    units: int, steps: list[tuple[int, int, int]]
) -> None:
    shared = MemoryStore()
    stores = [LeasedStore(shared, units=units, lease_ms=5_000) for _ in range(3)]
    found, after_ms = [], 0
    for instance, step, cost in steps:
        after_ms += step
        if spend(stores[instance], cost, after_ms):
            found.append((after_ms, cost))
    for first in range(len(found)):
        for last in range(first, len(found)):
            amount = sum(cost for _, cost in found[first : last + 1])
            assert amount <= 100 + (found[last][0] - found[first][0]) / 1_000 + 3 * units
