"""The smallest bucket that would have passed a demand, by hand and against the limiter itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotaloop.limiter.token_bucket import TokenBucket
from quotaloop.quotas.derivation.envelope import Envelope, demanded, envelopes, first_attempts, greatest_debt
from quotaloop.quotas.policy import Kind
from quotaloop.quotas.trial.history import histories

HOUR = 1_772_409_600_000
MINUTE = 60_000


def debt(*attempts: tuple[int, int], limit: int = 60) -> int:
    """In units of 1/60000, of (ms, cost)."""
    times, costs = (np.array(column, np.int64) for column in zip(*attempts, strict=True))
    return greatest_debt(HOUR + times, costs, limit, MINUTE)


def test_what_comes_at_once_adds_up_and_drains_at_the_rate() -> None:
    # 60 a minute is one a second: 3 at once, 1.5 drained, 4 more: 5.5
    assert debt((0, 1), (0, 2), (1_500, 4)) == 5 * MINUTE + MINUTE // 2
    assert debt((0, 3), (3_000, 4)) == 4 * MINUTE
    assert debt((0, 3), (10_000, 2)) == 3 * MINUTE


def test_no_attempt_has_no_debt() -> None:
    assert greatest_debt(np.array([], np.int64), np.array([], np.int64), 1, MINUTE) == 0


def test_one_unit_less_of_burst_would_have_refused_something() -> None:
    times, costs = [0, 100, 100, 5_000, 5_100], [7, 1, 9, 3, 12]
    burst = -(-debt(*zip(times, costs, strict=True)) // MINUTE)
    assert refused(times, costs, 60, burst) == []
    assert refused(times, costs, 60, burst - 1) != []


@given(st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 50)), min_size=1, max_size=40), st.integers(1, 3_000))
def test_it_is_the_smallest_burst_with_which_the_limiter_passes_all(
    attempts: list[tuple[int, int]], limit: int
) -> None:
    times, costs = zip(*sorted(attempts), strict=True)
    burst = -(-debt(*sorted(attempts), limit=limit) // MINUTE)
    assert burst >= max(costs)
    assert refused(times, costs, limit, max(burst, 1)) == []
    if burst > 1:
        assert refused(times, costs, limit, burst - 1) != []


def refused(times: Any, costs: Any, limit: int, burst: int) -> list[int]:
    """Places of the attempts that the limiter's own bucket does not pass."""
    bucket = TokenBucket(limit, MINUTE, burst)
    state, places = bucket.empty(), []
    for place, (at, cost) in enumerate(zip(times, costs, strict=True)):
        state = bucket.forward(state, HOUR + at)
        if bucket.fits(state, cost):
            state = bucket.charge(state, cost)
        else:
            places.append(place)
    return places


@given(
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 2**40)), min_size=1, max_size=30),
    st.integers(1, 2**53 - 1),
)
def test_numbers_that_64_bits_do_not_hold_are_exact_too(attempts: list[tuple[int, int]], limit: int) -> None:
    greatest = level = before = 0
    for at, cost in sorted(attempts):
        level = max(level - (at - before) * limit, 0) + cost * MINUTE
        greatest, before = max(greatest, level), at
    assert debt(*sorted(attempts), limit=limit) == greatest


def test_debts_beyond_64_bits_go_on_from_one_part_to_the_next() -> None:
    times = np.arange(200, dtype=np.int64)
    # one unit of 1/60000 drains a millisecond
    assert greatest_debt(times, np.full(200, 2**40), 1, MINUTE) == 200 * 2**40 * MINUTE - 199


def test_a_chain_counts_once_at_its_first_attempt_with_what_was_served() -> None:
    chain = np.array([0, -1, 0, 0, 4, 4])
    was_denied = np.array([True, False, False, False, True, True])
    costs = np.array([5, 1, 7, 9, 3, 4])
    assert first_attempts(chain).tolist() == [True, True, False, False, True, False]
    assert demanded(costs, chain, was_denied).tolist() == [7, 1, 7, 9, 3, 4]


def found(release: Any, **limits: int) -> dict[Kind, Envelope]:
    """Of tenant a, by kind, at these limits."""
    rates: Any = {"a": limits}
    return {kind: one for (_, kind), one in envelopes(histories(release.connection, [HOUR]), rates).items()}


def test_retries_do_not_widen_the_envelope(release: Any) -> None:
    release.event("e1", 0, "denied", wanted_tokens=50)
    for number in range(9):
        release.event(f"r{number}", 0.1 * number, "denied", retry_of="e1", wanted_tokens=50)
    release.event("ok", 1, "ok", retry_of="e1", total_tokens=70)
    release.event("e2", 0.5, "ok", total_tokens=10)
    # at 600 tokens a minute, 10 a second: 70 at first, 5 drained, 10 more
    assert found(release, requests=60, tokens=600, concurrency=3) == {
        "requests": Envelope(2, 1),
        "tokens": Envelope(75, 70),
    }


def test_without_retry_of_the_denied_attempts_of_a_key_in_a_minute_are_one(release: Any) -> None:
    for number in range(9):
        release.event(f"d{number}", number / 10, "denied", wanted_tokens=10)
    release.event("ok", 2, "ok", total_tokens=10)
    assert found(release, requests=1)["requests"] == Envelope(2, 1)


def test_a_kind_without_cost_or_without_a_limit_has_none(release: Any) -> None:
    release.event("ok", 2, "ok")
    assert found(release, requests=1, tokens=5, compute=5) == {"requests": Envelope(1, 1)}
    assert found(release) == {}


@pytest.mark.parametrize("compute_ms", [0.001, 12.5])
def test_compute_is_counted_in_microseconds(release: Any, compute_ms: float) -> None:
    release.event("ok", 2, "ok", gpu_ms=compute_ms)
    cost = round(compute_ms * 1000)
    assert found(release, compute=10) == {"compute": Envelope(cost, cost)}
