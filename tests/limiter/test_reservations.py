"""How long a reservation is held, also when the clock is moved."""

from __future__ import annotations

import pytest

from quotaloop.limiter.reservations import Reservations

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
HOUR = 3_600_000


def test_a_reservation_is_held_for_its_time_and_longer_when_extended() -> None:
    held = Reservations(1_000)
    for name in ("a", "b"):
        held.keep("acme", name, {"k": 1}, NOON)
    held.extend("acme", "a", NOON + 500)
    found = [
        [held.find("acme", name, NOON + after) is not None for name in ("a", "b")] for after in (999, 1_000, 1_500)
    ]
    assert found == [[True, True], [True, False], [False, False]]


def test_one_that_was_made_before_the_clock_was_moved_back_ends_in_its_time_and_keeps_no_other() -> None:
    held = Reservations(1_000)
    held.keep("acme", "a", {"k": 1}, NOON)
    held.keep("acme", "b", {"k": 1}, NOON - HOUR)
    assert held.find("acme", "a", NOON - HOUR)
    assert held.find("acme", "a", NOON - HOUR + 1_000) is None
    assert held.find("acme", "b", NOON - HOUR + 1_000) is None


def test_one_that_has_ended_is_not_found_behind_one_that_has_not() -> None:
    held = Reservations(1_000)
    held.keep("acme", "later", {"k": 1}, NOON)
    held.keep("acme", "earlier", {"k": 1}, NOON - 600)  # another thread was slower
    assert held.find("acme", "earlier", NOON + 500) is None
    assert held.find("acme", "later", NOON + 500)


def test_a_time_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="hold_ms is above 0"):
        Reservations(0)
