"""History once more: decision by decision as the limiter's own stores, and the manners of other targets by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rules import rule_of
from quotaloop.limiter.store import Ask
from quotaloop.quotas.target import Manner
from quotaloop.quotas.trial.replay import NOT_SENT, PASSED, Attempts, Counter, replay

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms


def attempts(
    rows: Sequence[tuple[float, float, int]], *, chain: Sequence[int] = (), denied: Sequence[bool] = ()
) -> Attempts:
    """Of (seconds after noon, seconds it took, cost)."""
    arrived = np.array([NOON + int(at * 1_000) for at, _, _ in rows], dtype=np.int64)
    took = np.array([int(seconds * 1_000) for _, seconds, _ in rows], dtype=np.int64)
    return Attempts(
        arrived,
        arrived + took,
        np.array([[cost for *_, cost in rows]], dtype=np.int64),
        np.array(chain or [-1] * len(rows), dtype=np.int64),
        np.array(denied or [False] * len(rows), dtype=np.bool_),
    )


def passed(found: Any) -> list[bool]:
    """Did it pass?"""
    return [answer == PASSED for answer in found]


@pytest.mark.parametrize("seed", range(60))
def test_a_replay_decides_as_the_limiter_does(seed: int) -> None:
    chance = random.Random(seed)
    units, count = chance.choice([1, 1_000_000]), 500
    words = chance.sample(["token_bucket", "fixed_window", "sliding_window", "sliding_log"], chance.randint(1, 4))
    limits: list[Any] = [(word, chance.randint(1, 40) * units, chance.choice([1, 7, 60])) for word in words]
    counters = [Counter(word, limit, period * 1_000, 9 * units) for word, limit, period in limits]
    rules: list[Any] = [rule_of(word, limit, period, 9 * units) for word, limit, period in limits]
    slots = Concurrency(chance.randint(1, 6), 10**9)
    most = min(rule.most for rule in rules)
    arrived = np.cumsum([chance.choice([0, 0, 1, 5, 90, 999, 5_000]) for _ in range(count)]) + NOON
    ended = arrived + [chance.choice([0, 1, 40, 3_000, 20_000]) for _ in range(count)]
    costs = [[chance.randint(0, most) for _ in arrived] for _ in limits] + [[1] * count]
    history = Attempts(arrived, ended, np.array(costs), np.full(count, -1), np.zeros(count, np.bool_))
    found = replay(history, [*counters, Counter("concurrency", slots.limit, 1, slots.limit)])

    store, in_flight = MemoryStore(hold_ms=10**9), set[tuple[int, str]]()
    for number, now_ms in enumerate(arrived.tolist()):
        for end_ms, name in [ending for ending in sorted(in_flight) if ending[0] <= now_ms]:
            store.settle("acme", name, [Ask("slots", slots, 0)], end_ms)
            in_flight.remove((end_ms, name))
        asks = [Ask(words[place], rule, costs[place][number]) for place, rule in enumerate(rules)]
        decisions = store.reserve("acme", str(number), [*asks, Ask("slots", slots, 1)], now_ms)
        refused = [place for place, decision in enumerate(decisions) if not decision.allowed]
        assert found[number] == (refused[0] if refused else PASSED), (number, asks)
        if not refused:
            in_flight.add((max(int(ended[number]), now_ms + 1), str(number)))


def test_a_window_from_the_first_request_begins_when_that_comes() -> None:
    history = attempts([(50, 0, 2), (70, 0, 1), (109, 0, 1), (110, 0, 2), (120, 0, 1)])
    counter = Counter("window_from_first", 2, 60_000, 2)
    assert passed(replay(history, [counter])) == [True, False, False, True, False]


def test_what_is_charged_after_the_response_lets_pass_until_then() -> None:
    history = attempts([(0, 10, 5), (5, 1, 5), (8, 1, 1), (10, 1, 0), (60, 0, 9), (60, 1, 1), (61, 1, 1)])
    counter = Counter("fixed_window", 4, 60_000, 4, after=True)
    # The 5 of the second are charged at second 6, of the first at 10; the fifth, of 9, is charged a millisecond later.
    assert passed(replay(history, [counter])) == [True, True, False, False, True, True, False]


def test_a_target_that_counts_what_it_refuses_keeps_refusing() -> None:
    history = attempts([(0, 0, 2), (1, 0, 2), (2, 0, 1), (60, 0, 1)])
    counter = Counter("fixed_window", 3, 60_000, 3)
    assert passed(replay(history, [counter], Manner(counts_refused=True, together=False))) == [True, False, False, True]
    assert passed(replay(history, [counter])) == [True, False, True, True]


def two_limits(tokens: list[int]) -> tuple[Attempts, list[Counter]]:
    """A request each second under 3 requests and 10 tokens a minute."""
    rows = attempts([(second, 0, 1) for second in range(len(tokens))])
    costs = np.array([[1] * len(tokens), tokens], dtype=np.int64)
    history = Attempts(rows.arrived_ms, rows.ended_ms, costs, rows.chain, rows.was_denied)
    return history, [Counter("fixed_window", 3, 60_000, 3), Counter("fixed_window", 10, 60_000, 10)]


def test_what_one_limit_refuses_is_charged_by_the_others_where_each_counts_by_itself() -> None:
    history, counters = two_limits([10, 5, 0, 0])
    assert replay(history, counters).tolist() == [PASSED, 1, PASSED, PASSED]
    assert replay(history, counters, Manner(together=False)).tolist() == [PASSED, 1, PASSED, 0]


def test_each_replica_counts_by_itself() -> None:
    history = attempts([(second, 0, 1) for second in range(8)])
    found = passed(replay(history, [Counter("fixed_window", 2, 60_000, 2)], Manner(replicas=3)))
    assert found == [True] * 6 + [False] * 2


def test_a_retry_of_what_was_denied_is_not_sent_where_that_passes() -> None:
    rows = [(0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 0, 1)]
    history = attempts(rows, chain=[0, 1, 0, 1, -1], denied=[True, False, False, False, False])
    for limit, last in ((5, PASSED), (3, 0)):
        found = replay(history, [Counter("fixed_window", limit, 60_000, limit)])
        assert found.tolist() == [PASSED, PASSED, NOT_SENT, PASSED, last]


def test_a_retry_is_sent_where_what_it_repeats_is_refused_here_too() -> None:
    history = attempts([(0, 0, 5), (1, 0, 2)], chain=[0, 0], denied=[True, False])
    assert replay(history, [Counter("fixed_window", 4, 60_000, 4)]).tolist() == [0, PASSED]


def test_a_suspended_limit_refuses_all_but_what_costs_nothing() -> None:
    history = attempts([(0, 0, 1), (1, 0, 0)])
    for word in ("token_bucket", "fixed_window", "window_from_first", "sliding_window", "sliding_log", "concurrency"):
        assert passed(replay(history, [Counter(word, 0, 60_000, 0)])) == [False, True]  # type: ignore[arg-type]


def test_slots_are_free_when_their_requests_have_ended() -> None:
    history = attempts([(0, 10, 1), (1, 2, 1), (2, 1, 1), (3, 5, 1), (9, 2, 1), (9.999, 1, 1), (10, 1, 1)])
    counter = Counter("concurrency", 2, 1, 2)
    assert passed(replay(history, [counter])) == [True, True, False, True, True, False, True]


@pytest.mark.parametrize("word", ["token_bucket", "fixed_window", "window_from_first", "sliding_window", "sliding_log"])
@pytest.mark.parametrize("is_after", [False, True])
def test_a_cost_that_no_limit_could_hold_is_refused_or_spends_all(word: Any, is_after: bool) -> None:
    history = attempts([(0, 0, 10**15), (1, 0, 1), (2, 0, 1)])
    counter = Counter(word, 10**6, 60_000, 10**6, after=is_after)
    assert passed(replay(history, [counter])) == ([True, False, False] if is_after else [False, True, True])


def test_a_manner_that_cannot_be_is_an_error() -> None:
    for wrong in ({"replicas": 0}, {"counts_refused": True}):
        with pytest.raises(ValueError, match="replicas are above 0"):
            Manner(**wrong)  # type: ignore[arg-type]


def test_attempts_out_of_order_and_counters_that_cannot_be_are_errors() -> None:
    with pytest.raises(ValueError, match="in the order of their arrival"):
        replay(attempts([(1, 0, 1), (0, 0, 1)]), [Counter("fixed_window", 1, 1_000, 1)])
    with pytest.raises(ValueError, match="'leaky' is none of token_bucket"):
        Counter("leaky", 1, 1_000, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be counted exactly"):
        Counter("fixed_window", 2**52, 1_000, 1)


def test_nothing_happened_and_nothing_is_limited() -> None:
    assert replay(attempts([]), [Counter("fixed_window", 1, 1_000, 1)]).tolist() == []
    one = attempts([(0, 0, 1)])
    unlimited = Attempts(one.arrived_ms, one.ended_ms, np.zeros((0, 1), np.int64), one.chain, one.was_denied)
    assert replay(unlimited, []).tolist() == [PASSED]
