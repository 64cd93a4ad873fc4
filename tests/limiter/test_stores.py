"""What every store of counts does: all or nothing, settled once, slots that are free again. Times are in seconds."""

from __future__ import annotations

from typing import Any

import pytest

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.rule import EXACT
from quotaloop.limiter.rules import ALGORITHMS, Algorithm, rule_of
from quotaloop.limiter.store import Ask, CounterStore

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
REQUESTS = rule_of("fixed_window", 3, 60, 3)
SLOTS = Concurrency(2, 30_000)


def tokens(algorithm: Algorithm = "token_bucket") -> Any:
    """1,000 tokens a minute."""
    return rule_of(algorithm, 1_000, 60, 1_000)


class Gateway:
    """Who asks a store for one tenant, so many seconds after noon, under a rule of tokens."""

    def __init__(self, store: CounterStore, rule: Any) -> None:
        self.store, self.rule = store, rule

    def reserve(self, name: str, cost: int, at: float = 0) -> bool:
        """Is an estimate of tokens allowed?"""
        return self.store.reserve("acme", name, [Ask("tokens", self.rule, cost)], ms(at))[0].allowed

    def settle(self, name: str, cost: int, at: float = 0) -> bool:
        """Was anything reserved?"""
        return self.store.settle("acme", name, [Ask("tokens", self.rule, cost)], ms(at))

    def left(self, at: float = 0) -> int:
        """The greatest cost that fits."""
        return self.store.spend("acme", Ask("tokens", self.rule, 0), ms(at)).remaining


def ms(seconds: float) -> int:
    """Milliseconds since the epoch."""
    return NOON + int(seconds * 1_000)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_reserved_and_not_used_is_given_back(counters: CounterStore, algorithm: Algorithm) -> None:
    gateway = Gateway(counters, tokens(algorithm))
    assert gateway.reserve("a", 900)
    assert not gateway.reserve("b", 200)
    assert gateway.settle("a", 300)
    assert gateway.left() == 700
    assert gateway.reserve("b", 200)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_was_used_beyond_the_estimate_is_spent_though_it_does_not_fit(
    counters: CounterStore, algorithm: Algorithm
) -> None:
    gateway = Gateway(counters, tokens(algorithm))
    assert gateway.reserve("a", 600)
    assert gateway.reserve("b", 400)
    assert gateway.settle("a", 1_500)
    assert gateway.left() == 0
    assert not gateway.reserve("c", 1)
    assert gateway.reserve("c", 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_is_settled_once(counters: CounterStore, algorithm: Algorithm) -> None:
    gateway = Gateway(counters, tokens(algorithm))
    assert gateway.reserve("a", 900)
    assert [gateway.settle("a", 100), gateway.settle("a", 0), gateway.settle("a", 999)] == [True] * 3
    assert gateway.left() == 900


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_request_that_asks_again_under_its_id_is_allowed_and_spends_nothing(
    counters: CounterStore, algorithm: Algorithm
) -> None:
    gateway = Gateway(counters, tokens(algorithm))
    assert [gateway.reserve("a", 900), gateway.reserve("a", 900)] == [True, True]
    assert gateway.left() == 100
    assert gateway.settle("a", 800)
    assert gateway.reserve("a", 900)
    assert gateway.left() == 200


def test_a_request_that_was_refused_may_ask_again(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens())
    assert gateway.reserve("a", 1_000)
    assert not gateway.reserve("b", 500)
    assert not gateway.settle("b", 500)
    assert gateway.reserve("b", 500, at=30)


def test_what_drained_meanwhile_is_not_given_back_twice(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens())
    assert gateway.reserve("a", 600)
    assert gateway.settle("a", 0, at=60)
    assert gateway.left(at=60) == 1_000


def test_what_others_have_spent_meanwhile_is_not_given_back(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens())
    for minute in range(9):
        assert gateway.reserve(str(minute), 1_000, at=60 * minute)
    passed = 0
    for minute in range(9):
        gateway.settle(str(minute), 0, at=540)
        passed += gateway.reserve(f"late {minute}", 1_000, at=540)
    assert passed == 1
    assert gateway.reserve("half", 600, at=660)
    assert gateway.settle("half", 0, at=666)
    assert gateway.left(at=666) == 1_000


def test_of_a_busy_bucket_an_estimate_is_given_back_whole_though_as_much_has_drained(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens())
    assert gateway.reserve("busy", 600, at=-10)
    assert gateway.reserve("a", 400)  # on top of 433.3
    assert gateway.reserve("b", 490, at=30)  # on top of 333.3: 500 have drained
    assert gateway.left(at=30) == 176
    assert gateway.settle("a", 100, at=30)
    assert gateway.left(at=30) == 476
    assert gateway.settle("b", 90, at=33)  # of the 400, 50 may have drained
    assert gateway.left(at=33) == 876


def test_what_a_bucket_held_at_least_is_given_back_once(counters: CounterStore) -> None:
    gateway = Gateway(counters, rule_of("gcra", 60, 60, 100))  # one a second
    assert gateway.reserve("first", 100, at=-90)
    assert gateway.reserve("a", 20, at=-20)  # on top of 30
    assert gateway.reserve("b", 20, at=-20)
    assert gateway.reserve("c", 60, at=30)  # on top of 20, which are all that can be of a and b
    assert gateway.settle("a", 0, at=30)
    assert gateway.left(at=30) == 40
    assert gateway.settle("b", 0, at=30)
    assert gateway.left(at=30) == 40


def test_a_limit_that_was_lowered_holds_for_what_was_spent_before(counters: CounterStore) -> None:
    wide, narrow = rule_of("gcra", 600, 1, 600), rule_of("gcra", 1, 1, 600)
    assert counters.spend("acme", Ask("k", wide, 600), NOON).allowed
    denied = counters.spend("acme", Ask("k", narrow, 600), NOON)
    assert (denied.allowed, denied.retry_after_ms) == (False, 600_000)


def test_a_window_that_is_over_takes_nothing_back_and_what_came_to_more_is_spent_now(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens("fixed_window"))
    assert gateway.reserve("a", 600)
    assert gateway.reserve("b", 300)
    assert gateway.settle("a", 0, at=61)
    assert gateway.settle("b", 500, at=61)
    assert gateway.left(at=61) == 800


def test_a_sliding_window_takes_back_from_the_window_before(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens("sliding_window"))
    assert gateway.reserve("a", 600)
    assert gateway.left(at=90) == 700
    assert gateway.settle("a", 200, at=90)
    assert gateway.left(at=90) == 900


def test_a_sliding_log_takes_back_from_when_it_was_spent(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens("sliding_log"))
    assert gateway.reserve("a", 600)
    assert gateway.reserve("b", 100, at=10)
    assert gateway.settle("a", 200, at=50)
    assert [gateway.left(at=50), gateway.left(at=59.999), gateway.left(at=60), gateway.left(at=70)] == [
        700,
        700,
        900,
        1_000,
    ]


def test_all_limits_are_spent_or_none(counters: CounterStore) -> None:
    asks = [Ask("requests", REQUESTS, 1), Ask("tokens", tokens(), 600), Ask("slots", SLOTS, 1)]
    decisions = [counters.reserve("acme", name, asks, NOON) for name in ("a", "b")]
    assert [[found.allowed for found in some] for some in decisions] == [[True] * 3, [True, False, True]]
    assert [found.remaining for found in decisions[1]] == [2, 400, 1]
    assert [found.retry_after_ms for found in decisions[1]] == [0, 12_000, 0]


def test_a_slot_is_free_when_its_request_is_settled(counters: CounterStore) -> None:
    asks = [Ask("slots", SLOTS, 1)]
    assert [counters.reserve("acme", name, asks, NOON)[0].allowed for name in "abc"] == [True, True, False]
    assert counters.settle("acme", "a", asks, NOON)
    assert [counters.reserve("acme", name, asks, NOON)[0].allowed for name in "cd"] == [True, False]


def test_a_slot_whose_holder_crashed_is_free_when_its_lease_ends_and_an_extended_one_later(
    counters: CounterStore,
) -> None:
    asks = [Ask("slots", SLOTS, 1)]
    for name in "ab":
        assert counters.reserve("acme", name, asks, ms(0))[0].allowed
    assert counters.extend("acme", "a", asks, ms(20))
    (denied,) = counters.reserve("acme", "c", asks, ms(29.999))
    assert (denied.allowed, denied.retry_after_ms) == (False, 1)
    assert [counters.reserve("acme", name, asks, ms(30))[0].allowed for name in "cd"] == [True, False]
    assert counters.reserve("acme", "d", asks, ms(50))[0].allowed


def test_what_is_not_reserved_can_be_neither_settled_nor_extended(counters: CounterStore) -> None:
    asks = [Ask("tokens", tokens(), 10)]
    assert not counters.settle("acme", "a", asks, NOON)
    assert not counters.extend("acme", "a", asks, NOON)
    assert counters.reserve("acme", "a", asks, NOON)[0].allowed
    assert not counters.settle("globex", "a", asks, NOON)
    assert counters.settle("acme", "a", asks, NOON)
    assert not counters.extend("acme", "a", asks, NOON)


def test_a_key_that_was_not_reserved_is_passed_over(counters: CounterStore) -> None:
    gateway = Gateway(counters, tokens())
    assert gateway.reserve("a", 100)
    asks = [Ask("tokens", tokens(), 200), Ask("requests", REQUESTS, 3)]
    assert counters.settle("acme", "a", asks, NOON)
    assert counters.spend("acme", Ask("requests", REQUESTS, 0), NOON).remaining == 3


def test_subjects_and_keys_are_counted_apart(counters: CounterStore) -> None:
    assert counters.spend("acme", Ask("requests", REQUESTS, 3), NOON).allowed
    assert counters.spend("globex", Ask("requests", REQUESTS, 3), NOON).allowed
    assert counters.spend("acme", Ask("others", REQUESTS, 3), NOON).allowed
    assert not counters.spend("acme", Ask("requests", REQUESTS, 1), NOON).allowed


def test_a_limit_that_is_changed_goes_on_from_what_was_spent(counters: CounterStore) -> None:
    assert counters.spend("acme", Ask("k", rule_of("gcra", 60, 60, 60), 60), NOON).allowed
    wider = Ask("k", rule_of("gcra", 600, 60, 100), 1)
    assert counters.spend("acme", wider, NOON).remaining == 39
    assert counters.spend("acme", wider, NOON + 100).remaining == 39


@pytest.mark.parametrize("cost", [-5, 0.5, float("nan"), 10**18, "1", True])
def test_a_cost_that_cannot_be_is_an_error_everywhere_and_changes_nothing(counters: CounterStore, cost: Any) -> None:
    gateway = Gateway(counters, tokens())
    assert gateway.reserve("a", 100)
    for ask in (
        lambda: gateway.reserve("b", cost),
        lambda: gateway.settle("a", cost),
        lambda: counters.spend("acme", Ask("tokens", tokens(), cost), NOON),
    ):
        with pytest.raises(ValueError, match="a cost is a whole number"):
            ask()
    assert gateway.left() == 900


def test_one_key_is_asked_for_once_a_request(counters: CounterStore) -> None:
    with pytest.raises(ValueError, match="a key is asked for twice"):
        counters.reserve("acme", "a", [Ask("k", tokens(), 1), Ask("k", tokens(), 1)], NOON)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_came_to_the_greatest_cost_there_is_keeps_counts_exact(
    counters: CounterStore, algorithm: Algorithm
) -> None:
    gateway = Gateway(counters, tokens(algorithm))
    for name in "abc":
        assert gateway.reserve(name, 1)
    assert [gateway.settle(name, EXACT) for name in "abc"] == [True] * 3
    assert gateway.left() == 0
    assert gateway.left(at=10**10) == 1_000
