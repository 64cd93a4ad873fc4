"""Holes among the stamps of gateways."""

from __future__ import annotations

from typing import Any

from .conftest import rows

COLUMNS = ("hour", "boot", "first_seq", "last_seq", "expected", "received", "missing", "duplicates")
HOUR = 3_600_000


def _stamp(boot: str, seq: int, **more: Any) -> dict[str, Any]:
    return {"host": "h", "boot": boot, "seq": seq, **more}


def test_a_hole_is_missing_in_the_hour_before_it_and_what_lacks_before_the_first_in_its_hour(workshop: Any) -> None:
    workshop.land(
        workshop.event("c", HOUR, **_stamp("b", 10)),
        workshop.event("a", 0, **_stamp("b", 3)),
        workshop.event("b", 1, **_stamp("b", 4)),
    )
    assert rows(workshop.count()["completeness_hourly"], *COLUMNS) == [
        (0, "b", 3, 4, 9, 2, 7, 0),
        (1, "b", 10, 10, 1, 1, 0, 0),
    ]


def test_a_later_boot_tells_what_lacks_at_the_end_of_the_one_before(workshop: Any) -> None:
    workshop.land(
        workshop.event("a", 0, **_stamp("b1", 1)),
        workshop.event("b", HOUR, **_stamp("b2", 1, prev_boot="b1", prev_seq=4)),
        workshop.event("c", HOUR, **_stamp("b2", 2, prev_boot="b1", prev_seq=3)),
        workshop.event("d", HOUR, **_stamp("b3", 1, prev_boot="gone", prev_seq=9)),
        workshop.event("e", HOUR, **_stamp("b2", 3, prev_boot="b2", prev_seq=9)),
        workshop.event("f", HOUR, host="other", boot="b9", seq=1, prev_boot="b1", prev_seq=99),
    )
    assert rows(workshop.count()["completeness_hourly"], *COLUMNS, host="h") == [
        (0, "b1", 1, 1, 4, 1, 3, 0),
        (1, "b2", 1, 3, 3, 3, 0, 0),
        (1, "b3", 1, 1, 1, 1, 0, 0),
    ]


def test_a_stamp_seen_twice_belongs_to_the_first_by_coordinates(workshop: Any) -> None:
    workshop.land(workshop.event("late", HOUR, **_stamp("b", 1)), partition=0, start=50)
    workshop.land(workshop.event("early", 0, **_stamp("b", 1)), workshop.event("c", 0, **_stamp("b", 2)), partition=1)
    assert rows(workshop.count()["completeness_hourly"], *COLUMNS) == [
        (0, "b", 1, 2, 1, 1, 0, 1),
        (1, "b", 1, 1, 1, 1, 0, 0),
    ]


def test_neighbours_in_hours_that_are_only_read_close_the_holes(workshop: Any) -> None:
    workshop.land(*(workshop.event(f"e{n}", n * HOUR, **_stamp("b", n + 5)) for n in range(3)))
    found = workshop.count([1], [0, 1, 2])
    assert rows(found["completeness_hourly"], *COLUMNS) == [(1, "b", 6, 6, 1, 1, 0, 0)]


def test_a_duplicate_delivery_is_no_second_stamp_and_a_quarantined_line_is_missing(workshop: Any) -> None:
    event = workshop.event("a", 0, **_stamp("b", 1))
    conflict = workshop.event("a", 0, **_stamp("b", 2))
    workshop.land(event, event, conflict, workshop.event("c", 0, **_stamp("b", 3)))
    assert rows(workshop.count()["completeness_hourly"], *COLUMNS) == [(0, "b", 1, 3, 3, 2, 1, 0)]


def test_the_greatest_stamp_there_can_be_does_not_overflow(workshop: Any) -> None:
    most = 2**63 - 1
    workshop.land(workshop.event("a", 0, **_stamp("b", most)))
    assert rows(workshop.count()["completeness_hourly"], *COLUMNS) == [(0, "b", most, most, most, 1, most - 1, 0)]
