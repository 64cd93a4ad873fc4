"""Which hours new raw touches, worked out by hand over a few notes."""

from __future__ import annotations

from quotaloop.marts.plan import hours_of_boots, index, touched
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range
from tests.marts.handmade import DAY, HOUR

MIDNIGHT = 24
NONE: frozenset[int] = frozenset()


def hours(*numbers: int) -> frozenset[int]:
    """Hours counted from ``DAY``, in epoch ms."""
    return frozenset(DAY + number * HOUR for number in numbers)


def note(reach: dict[int, int], stamps: dict[tuple[str, str, int], int] | None = None, *prior: tuple[str, int]) -> Note:
    """Hours and how far their attempts reach; stamps by host, boot, hour; ``prior``: a boot, and when h/b names it."""
    return Note(
        hours={DAY + hour * HOUR: (1, DAY + last * HOUR) for hour, last in reach.items()},
        stamps=[(host, boot, DAY + hour * HOUR, seq, seq) for (host, boot, hour), seq in (stamps or {}).items()],
        prior=[("h", "b", DAY + hour * HOUR, boot, 9) for boot, hour in prior],
    )


def item(start: int, topic: str = "t") -> Range:
    return Range(topic, 0, start, start + 10)


OLD, NEW = item(0), item(10)


def test_new_events_touch_their_hours_and_all_that_they_are_in_flight_in() -> None:
    found = touched({OLD: note({1: 1, 20: 22}), NEW: note({5: 7})}, [NEW], NONE)
    assert (found.events, found.rates) == (hours(5), hours(5, 6, 7))


def test_an_attempt_in_flight_over_midnight_touches_the_next_day() -> None:
    found = touched({NEW: note({23: MIDNIGHT + 1})}, [NEW], NONE)
    assert found.events == hours(23)
    assert found.rates == hours(23, MIDNIGHT, MIDNIGHT + 1)


def test_older_attempts_of_a_touched_hour_are_counted_anew_as_far_as_they_reach() -> None:
    """A new line may be the first of two with one id, and take another's place."""
    found = touched({OLD: note({5: 8, 6: 12}), NEW: note({5: 5})}, [NEW], NONE)
    assert (found.events, found.rates) == (hours(5), hours(5, 6, 7, 8))


def test_attempts_that_only_reach_into_a_touched_hour_touch_no_more() -> None:
    found = touched({OLD: note({3: 9}), NEW: note({5: 5})}, [NEW], NONE)
    assert found.rates == hours(5)


def test_frozen_hours_are_never_touched() -> None:
    found = touched({NEW: note({3: 6, 5: 5})}, [NEW], hours(3, 6))
    assert (found.events, found.rates) == (hours(5), hours(5))
    reaching = touched({NEW: note({4: 6})}, [NEW], hours(5))
    assert (reaching.events, reaching.rates) == (hours(4), hours(4, 6))


def test_nothing_new_touches_nothing() -> None:
    found = touched({OLD: note({5: 7}, {("h", "b", 5): 1}, ("a", 5))}, [], NONE)
    assert (found.events, found.rates, found.boots) == (NONE, NONE, frozenset())


def test_boots_of_a_touched_hour_and_those_they_speak_of_change() -> None:
    notes = {
        OLD: note({5: 5, 6: 6}, {("h", "old", 5): 1, ("h", "away", 6): 1}, ("before", 5), ("not", 6)),
        NEW: note({5: 5}, {("h", "b", 5): 2}, ("a", 5)),
    }
    assert touched(notes, [NEW], NONE).boots == {("h", "old"), ("h", "before"), ("h", "b"), ("h", "a")}
    assert touched(notes, [NEW], hours(5)).boots == frozenset()


def test_hours_that_reach_into_another_hold_an_attempt_in_flight_there() -> None:
    notes = {OLD: note({1: 3, 2: 2, 4: 4}), NEW: note({22: MIDNIGHT, 3: 9})}
    assert index(notes).reaching_into(hours(3)) == hours(1, 3)
    assert index(notes).reaching_into(hours(4)) == hours(3, 4)
    assert index(notes).reaching_into(hours(MIDNIGHT)) == hours(22)
    assert index(notes).reaching_into(hours(10)) == index(notes).reaching_into(NONE) == NONE


def test_what_one_file_hides_another_shows() -> None:
    assert index({OLD: note({1: 1}), NEW: note({1: 3})}).reaching_into(hours(3)) == hours(1)


def test_ranges_that_hold_an_hour_are_found_in_order() -> None:
    notes = {NEW: note({5: 5}), item(0, "u"): note({5: 9, 6: 6}), OLD: note({4: 6, 6: 6}), item(20): note({})}
    assert index(notes).holding(hours(6)) == [OLD, item(0, "u")]
    assert index(notes).holding(hours(5, 6)) == [OLD, NEW, item(0, "u")]
    assert index(notes).holding(hours(9)) == index(notes).holding(NONE) == []  # in flight there is not an event of it


def test_hours_of_a_boot_are_those_of_its_stamps_and_of_what_later_boots_say_of_it() -> None:
    notes = {
        OLD: note({}, {("h", "b", 5): 1, ("h", "b", MIDNIGHT): 2, ("h", "c", 6): 1, ("other", "b", 7): 1}),
        NEW: note({}, {("h", "b", 8): 1}, ("b", 9), ("c", 10)),
    }
    assert hours_of_boots(notes, frozenset({("h", "b")})) == hours(5, 8, 9, MIDNIGHT)
    assert hours_of_boots(notes, frozenset({("other", "b")})) == hours(7)
    assert hours_of_boots(notes, frozenset({("h", "c"), ("h", "none")})) == hours(6, 10)
    assert hours_of_boots(notes, frozenset()) == NONE
