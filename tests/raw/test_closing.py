"""Hours are closed by records, in all topics that may still bring something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quotaloop.raw import closing
from quotaloop.raw.closing import Closing, bound
from quotaloop.storage.local import LocalStore

HOUR = 3_600_000
NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
GRACE = 70 * 60_000


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def declare(store: LocalStore, topic: str, source: str = "kafka") -> None:
    store.write_if_absent(f"raw/{topic}/_topic.json", json.dumps({"source": source}).encode())


def record(store: LocalStore, topic: str, bound_ms: int, **ends: int) -> bool:
    numbered = {int(name.removeprefix("p")): end for name, end in ends.items()}
    return closing.close(store, topic, Closing(bound_ms, bound_ms + GRACE + 5, bound_ms + GRACE, numbered))


@pytest.mark.parametrize(
    ("watermark", "expected"),
    [
        (NOON, NOON - 2 * HOUR),  # 10:50 is not over
        (NOON + 10 * 60_000 - 1, NOON - 2 * HOUR),
        (NOON + 10 * 60_000, NOON - HOUR),  # 11:00 and 70 minutes: hours before 11:00
        (NOON + GRACE, NOON),
    ],
)
def test_an_hour_is_closed_when_its_end_and_the_grace_are_over(watermark: int, expected: int) -> None:
    assert bound(watermark, GRACE) == expected


def test_a_record_is_made_only_where_it_closes_something(store: LocalStore) -> None:
    assert record(store, "t", NOON, p0=5)
    assert not record(store, "t", NOON, p0=9)
    assert not record(store, "t", NOON - HOUR, p0=9)
    assert record(store, "t", NOON + HOUR, p0=9)
    assert closing.bounds(store, "t") == [NOON, NOON + HOUR]


def test_an_hour_was_closed_by_the_first_record_beyond_it(store: LocalStore) -> None:
    record(store, "t", NOON, p0=5)
    record(store, "t", NOON + 2 * HOUR, p0=9, p1=1)
    hours = [NOON + step * HOUR for step in (-9, -1, 0, 1, 2)]
    found = closing.of_hours(store, "t", hours)
    ends = [found[hour].ends if hour in found else None for hour in hours]
    assert ends == [{0: 5}, {0: 5}, {0: 9, 1: 1}, {0: 9, 1: 1}, None]
    assert closing.of_hours(store, "u", hours) == {}


def test_files_hold_no_hour_open(store: LocalStore) -> None:
    declare(store, "f", "files")
    assert closing.closed_before(store) is None


def test_the_topic_that_lags_most_holds_hours_open(store: LocalStore) -> None:
    for topic in ("t", "u"):
        declare(store, topic)
    record(store, "t", NOON)
    assert closing.closed_before(store) == 0  # of the other topic nothing is known
    record(store, "u", NOON - 3 * HOUR)
    assert closing.closed_before(store) == NOON - 3 * HOUR


def test_a_topic_that_ended_holds_no_hour_open(store: LocalStore) -> None:
    for topic in ("t", "u"):
        declare(store, topic)
    record(store, "t", NOON)
    assert closing.end(store, "u", {0: 3}, NOON)
    assert not closing.end(store, "u", {0: 9}, NOON)
    assert closing.closed_before(store) == NOON


def test_the_end_of_a_topic_closes_what_was_open_so_that_what_comes_later_is_known(store: LocalStore) -> None:
    record(store, "t", NOON, p0=5)
    closing.end(store, "t", {0: 7, 1: 2}, NOON + HOUR)
    assert not record(store, "t", NOON + 9 * HOUR, p0=50)  # it was landed from all the same
    found = closing.of_hours(store, "t", [NOON - HOUR, NOON, NOON + 3 * HOUR])
    assert {hour: one.ends for hour, one in found.items()} == {
        NOON - HOUR: {0: 5},
        NOON: {0: 7, 1: 2},
        NOON + 3 * HOUR: {0: 7, 1: 2},
    }


def test_a_topic_that_was_made_again_holds_no_hour_open_under_its_first_name(store: LocalStore) -> None:
    for topic in ("t", "t@2"):
        declare(store, topic)
    record(store, "t@2", NOON)
    assert closing.open_topics(store) == ["t@2"]
    assert closing.closed_before(store) == NOON
