"""Each algorithm on days small enough to work out by hand, and what holds of each for any history."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rule import EXACT, Rule
from quotaloop.limiter.rules import ALGORITHMS, rule_of
from quotaloop.limiter.store import Ask

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
MINUTE = 60_000


def decide(rule: Rule[Any], history: list[tuple[int, int]], start_ms: int = NOON) -> list[bool]:
    """Whether each (milliseconds after the start, cost) is allowed."""
    store = MemoryStore()
    return [store.spend("acme", Ask("k", rule, cost), start_ms + after).allowed for after, cost in history]


def test_a_fixed_window_counts_anew_with_each_minute_of_the_clock() -> None:
    rule = rule_of("fixed_window", 3, 60, 3)
    history = [(59_000, 2), (59_500, 2), (59_999, 1), (60_000, 3), (60_001, 1)]
    assert decide(rule, history) == [True, False, True, True, False]


def test_a_sliding_window_weighs_the_window_before_by_what_it_still_covers() -> None:
    rule = rule_of("sliding_window", 10, 60, 10)
    # 8 at 12:00; at 12:01:15 three quarters of them count, which are 6; at 12:01:30 half, which are 4, beside 4.
    history = [(0, 8), (75_000, 5), (75_000, 4), (90_000, 3), (90_000, 2), (180_000, 10)]
    assert decide(rule, history) == [True, False, True, False, True, True]


def test_a_sliding_log_lets_a_cost_go_a_minute_after_it_was_spent() -> None:
    rule = rule_of("sliding_log", 3, 60, 3)
    history = [(0, 2), (30_000, 1), (59_999, 1), (60_000, 2), (60_001, 1), (89_999, 1), (90_000, 1)]
    assert decide(rule, history) == [True, True, False, True, False, False, True]


def test_a_token_bucket_fills_by_the_millisecond() -> None:
    rule = rule_of("token_bucket", 60, 60, 5)  # one a second
    history = [(0, 5), (999, 1), (1_000, 1), (1_000, 1), (3_500, 2), (3_999, 1), (4_000, 1)]
    assert decide(rule, history) == [True, False, True, False, True, False, True]


def test_a_token_bucket_keeps_thirds_of_a_unit() -> None:
    rule = rule_of("gcra", 1, 3, 1)
    assert decide(rule, [(0, 1), (2_999, 1), (3_000, 1), (5_999, 1), (6_000, 1)]) == [True, False, True, False, True]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("cost", [-5, 0.5, 1.0, float("nan"), float("inf"), "1", None, True, 4, 10**18])
def test_a_cost_that_cannot_be_is_an_error_and_counts_nothing(algorithm: Any, cost: Any) -> None:
    store, rule = MemoryStore(), rule_of(algorithm, 3, 60, 3)
    with pytest.raises(ValueError, match="a cost is a whole number from 0 to 3"):
        store.spend("acme", Ask("k", rule, cost), NOON)
    assert store.spend("acme", Ask("k", rule, 3), NOON).allowed


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_cost_of_nothing_is_allowed_though_nothing_is_left(algorithm: Any) -> None:
    assert decide(rule_of(algorithm, 3, 60, 3), [(0, 3), (0, 0), (0, 0), (0, 1)]) == [True, True, True, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("numbers", [(0, 60, 1), (-1, 60, 1), (1, 0, 1), (1.5, 60, 2), (EXACT, 60, 1)])
def test_a_limit_that_cannot_be_counted_exactly_is_an_error(algorithm: Any, numbers: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match=r"whole number|cannot be counted exactly"):
        rule_of(algorithm, *numbers)


def test_an_algorithm_that_is_unknown_is_an_error() -> None:
    with pytest.raises(ValueError, match="'leaky' is none of fixed_window"):
        rule_of("leaky", 1, 60, 1)  # type: ignore[arg-type]


numbers = st.integers(1, 20)
histories = st.lists(st.tuples(st.sampled_from([0, 1, 10, 400, 999, 1_000, 3_000, 70_000]), st.integers(0, 20)))


def admitted(rule: Rule[Any], steps: list[tuple[int, int]], start_ms: int) -> list[tuple[int, int]]:
    """Time and cost of what is allowed, of costs at so many milliseconds after one another."""
    store, now_ms, found = MemoryStore(), start_ms, []
    for step, cost in steps:
        now_ms += step
        asked = min(cost, rule.most)
        decision = store.spend("acme", Ask("k", rule, asked), now_ms)
        if decision.allowed:
            found.append((now_ms, asked))
        else:
            assert decision.remaining < asked
            assert not fits_after(store, rule, asked, now_ms + decision.retry_after_ms - 1)
            assert fits_after(store, rule, asked, now_ms + decision.retry_after_ms)
    return found


def fits_after(store: MemoryStore, rule: Rule[Any], cost: int, at_ms: int) -> bool:
    """Would the cost be allowed then, if nothing else is asked? Nothing is spent."""
    state = deepcopy(store._states.get("acme", {}).get("k", rule.empty()))
    return rule.fits(rule.forward(state, at_ms), cost)


def spans(found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of all neighbours in time: how long from the first to the last, and what was admitted of them all."""
    return [
        (found[last][0] - found[first][0], sum(cost for _, cost in found[first : last + 1]))
        for first in range(len(found))
        for last in range(first, len(found))
    ]


@given(numbers, st.sampled_from([1, 7, 60]), numbers, histories, st.integers(0, MINUTE))
def test_no_token_bucket_admits_more_than_its_burst_and_rate(
    limit: int, per_seconds: int, burst: int, steps: list[tuple[int, int]], offset: int
) -> None:
    rule = rule_of("token_bucket", limit, per_seconds, burst)
    for span_ms, amount in spans(admitted(rule, steps, NOON + offset)):
        assert (amount - burst) * rule.period_ms <= limit * span_ms


@given(
    st.integers(1, 40),
    st.sampled_from([1, 3, 7]),
    numbers,
    st.lists(
        st.tuples(
            st.sampled_from([0, 1, 10, 400, 999, 1_000, 3_000]),
            st.integers(1, 20),
            st.integers(0, 20),
            st.integers(0, 9),
        ),
        max_size=40,
    ),
    st.integers(0, MINUTE),
)
@settings(max_examples=300)
def test_no_token_bucket_admits_more_of_what_requests_came_to_than_its_burst_and_rate(
    limit: int, per_seconds: int, burst: int, steps: list[tuple[int, int, int, int]], offset: int
) -> None:
    rule = rule_of("token_bucket", limit, per_seconds, burst)
    store, now_ms, found, waiting = MemoryStore(), NOON + offset, [], []
    for number, (step, estimate, actual, lasts) in enumerate(steps):
        now_ms += step
        for _, name, cost in [one for one in waiting if one[0] <= number]:
            store.settle("acme", name, [Ask("k", rule, cost)], now_ms)
        waiting = [one for one in waiting if one[0] > number]
        asks = [Ask("k", rule, min(estimate, burst))]
        if store.reserve("acme", str(number), asks, now_ms)[0].allowed:
            came_to = min(actual, asks[0].cost)
            found.append((now_ms, came_to))
            waiting.append((number + lasts, str(number), came_to))
    for span_ms, amount in spans(found):
        assert (amount - burst) * rule.period_ms <= limit * span_ms


@given(numbers, st.sampled_from([1, 7]), histories, st.integers(0, MINUTE))
def test_no_sliding_log_admits_more_than_its_limit_in_any_period(
    limit: int, per_seconds: int, steps: list[tuple[int, int]], offset: int
) -> None:
    rule = rule_of("sliding_log", limit, per_seconds, 1)
    for span_ms, amount in spans(admitted(rule, steps, NOON + offset)):
        assert span_ms >= rule.period_ms or amount <= limit


@given(numbers, st.sampled_from([1, 7]), histories, st.integers(0, MINUTE))
@settings(max_examples=50)
def test_no_window_of_the_clock_admits_more_than_the_limit(
    limit: int, per_seconds: int, steps: list[tuple[int, int]], offset: int
) -> None:
    for algorithm in ("fixed_window", "sliding_window"):
        rule = rule_of(algorithm, limit, per_seconds, 1)
        spent: dict[int, int] = {}
        for time_ms, cost in admitted(rule, steps, NOON + offset):
            spent[time_ms // rule.period_ms] = spent.get(time_ms // rule.period_ms, 0) + cost
        assert all(amount <= limit for amount in spent.values())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_time_stands_still_while_it_runs_back_by_less_than_a_period(algorithm: Any) -> None:
    history = [(30_000, 2), (29_000, 1), (30_000, 1), (500, 1)]
    assert decide(rule_of(algorithm, 3, 60, 3), history) == [True, True, False, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clock_that_was_moved_back_by_an_hour_refuses_nobody_for_an_hour(algorithm: Any) -> None:
    hour = 60 * MINUTE
    history = [(0, 3), (0, 1), (-hour, 0), (-hour + MINUTE, 3), (-hour + MINUTE, 1)]
    assert decide(rule_of(algorithm, 3, 60, 3), history) == [True, False, True, True, False]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clock_that_was_moved_on_by_an_hour_gives_no_more_than_one_burst(algorithm: Any) -> None:
    hour = 60 * MINUTE
    assert decide(rule_of(algorithm, 3, 60, 3), [(0, 3), (hour, 4 - 1), (hour, 1)]) == [True, True, False]
