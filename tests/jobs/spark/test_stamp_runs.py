"""Runs of stamps, and what later boots say."""

from __future__ import annotations

from jobs.spark.transforms.stamp_runs import prior_stamps, stamp_runs
from tests.jobs.spark.frames import HOUR, Event, event, of, rows


def stamped(seq: int, ts: int = 0, boot: str = "b", copy: int = 0, **fields: object) -> Event:
    return event(f"{boot}-{seq}-{copy}", ts, host="h", boot=boot, seq=seq, **fields)


def runs(*events: Event) -> list[tuple[object, ...]]:
    return rows(stamp_runs(of(*events)), "hour", "boot", "first_seq", "last_seq", "events")


def test_a_hole_ends_a_run_and_a_second_event_of_a_stamp_does_not() -> None:
    events = (stamped(2), stamped(1), stamped(4), stamped(5), stamped(5, copy=1), stamped(6), stamped(9))
    assert runs(*events) == [(0, "b", 1, 2, 2), (0, "b", 4, 6, 4), (0, "b", 9, 9, 1)]


def test_hours_and_boots_have_runs_of_their_own() -> None:
    events = (stamped(1), stamped(2, HOUR), stamped(3), stamped(2, boot="c"), event("none", 0))
    assert runs(*events) == [(0, "b", 1, 1, 1), (0, "b", 3, 3, 1), (0, "c", 2, 2, 1), (1, "b", 2, 2, 1)]


def test_no_stamps_make_no_runs() -> None:
    assert runs(event("e", 0)) == []


def test_of_what_is_said_of_a_boot_before_the_greatest_counts() -> None:
    events = (
        stamped(1, boot="c", prev_boot="b", prev_seq=7),
        stamped(2, boot="c", prev_boot="b", prev_seq=9),
        stamped(3, HOUR, boot="c", prev_boot="b", prev_seq=8),
        stamped(1),
    )
    found = prior_stamps(of(*events))
    assert rows(found, "hour", "boot", "prev_boot", "prev_seq") == [(0, "c", "b", 9), (1, "c", "b", 8)]
