"""How long a reservation is held, also when the clock is moved."""

from __future__ import annotations

import pytest

from quotaloop.limiter.reservations import Reservations

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
HOUR = 3_600_000


def test_a_reservation_is_held_for_its_time_and_longer_when_extended() -> None:
    held = Reservations(1_000, 100)
    for name in ("a", "b"):
        held.keep("acme", name, {"k": 1}, NOON)
    held.extend("acme", "a", NOON + 500)
    found = [
        [held.find("acme", name, NOON + after) is not None for name in ("a", "b")] for after in (999, 1_000, 1_500)
    ]
    assert found == [[True, True], [True, False], [False, False]]


def test_one_that_was_made_before_the_clock_was_moved_back_ends_in_its_time_and_keeps_no_other() -> None:
    held = Reservations(1_000, 100)
    held.keep("acme", "a", {"k": 1}, NOON)
    held.keep("acme", "b", {"k": 1}, NOON - HOUR)
    assert held.find("acme", "a", NOON - HOUR)
    assert held.find("acme", "a", NOON - HOUR + 1_000) is None
    assert held.find("acme", "b", NOON - HOUR + 1_000) is None


def test_one_that_has_ended_is_not_found_behind_one_that_has_not() -> None:
    held = Reservations(1_000, 100)
    held.keep("acme", "later", {"k": 1}, NOON)
    held.keep("acme", "earlier", {"k": 1}, NOON - 600)  # another thread was slower
    assert held.find("acme", "earlier", NOON + 500) is None
    assert held.find("acme", "later", NOON + 500)


def test_a_time_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="hold_ms is above 0 and settled_ms not below, not 0 and 100"):
        Reservations(0, 100)


def test_that_a_request_was_settled_is_remembered_for_a_while_and_never_longer_than_it_was_held() -> None:
    held = Reservations(1_000, 100)
    held.keep("acme", "a", {"k": 1}, NOON)
    held.keep("acme", "b", {"k": 1}, NOON + 50)
    held.settle("acme", "a", NOON + 300)
    found = [held.find("acme", "a", NOON + after) for after in (300, 399, 400)]
    assert [one is not None and one.is_settled for one in found] == [True, True, False]
    held.settle("acme", "b", NOON + 1_000)
    assert [held.find("acme", "b", NOON + after) is not None for after in (1_049, 1_050)] == [True, False]


def test_those_that_are_settled_do_not_pile_up_also_after_the_clock_was_moved_back() -> None:
    held = Reservations(1_000, 100)
    for start_ms in (NOON, NOON - HOUR):
        for number in range(1_000):
            now_ms = start_ms + number
            held.keep("acme", f"{now_ms}", {"k": 1}, now_ms)
            held.settle("acme", f"{now_ms}", now_ms)
        assert len(held._settled) == 100
        assert held.is_idle


def test_a_clock_that_runs_back_a_little_forgets_nothing_that_is_settled() -> None:
    held = Reservations(1_000, 100)
    held.keep("acme", "a", {"k": 1}, NOON)
    held.settle("acme", "a", NOON)
    held.keep("acme", "b", {"k": 1}, NOON - 100)
    assert held.find("acme", "a", NOON + 99)
    assert held.find("acme", "a", NOON + 100) is None
