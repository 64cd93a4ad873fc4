"""Rows as files of a revision."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.spark.files import pieces, write_rows, write_table
from quotaloop.events.columns import TIME
from quotaloop.marts.release import FileEntry
from quotaloop.storage.local import LocalStore
from tests.jobs.spark.frames import DAY, HOUR, MINUTE

SCHEMA = pa.schema([pa.field("hour", TIME, False), pa.field("name", pa.string(), False)])
EARLY, LATE = (0, "a"), (23, "z")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "a store")


def table(*found: tuple[int, str]) -> pa.Table:
    rows = [{"hour": DAY + hour * HOUR, "name": name} for hour, name in found]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write(store: LocalStore, *found: tuple[int, str], hours: Collection[int] | None = None) -> list[FileEntry]:
    return write_table(store, table(*found), folder="t", revision="r1", hours=hours)


def names(store: LocalStore, entry: FileEntry) -> list[str]:
    with store.open(entry.path) as file:
        found: list[str] = pq.read_table(file, schema=SCHEMA)["name"].to_pylist()
    return found


def test_every_hour_is_one_file(store: LocalStore) -> None:
    rows = [(hour, name) for hour in (0, 23, 24) for name in ("a", "b", "c")]
    entries = write(store, *rows)
    assert [entry.path for entry in entries] == [
        "marts/t/date=2026-03-02/r1/part-00-0.parquet",
        "marts/t/date=2026-03-02/r1/part-23-0.parquet",
        "marts/t/date=2026-03-03/r1/part-00-0.parquet",
    ]
    assert [entry.hours for entry in entries] == [(DAY,), (DAY + 23 * HOUR,), (DAY + 24 * HOUR,)]
    assert [names(store, entry) for entry in entries] == [["a", "b", "c"]] * 3
    for entry in entries:
        data = store.read(entry.path)
        assert (entry.rows, entry.bytes, entry.sha256) == (3, len(data), hashlib.sha256(data).hexdigest())


def test_what_an_attempt_before_wrote_stays_and_is_listed(store: LocalStore) -> None:
    first = write(store, EARLY)
    inode = store.path(first[0].path).stat().st_ino
    assert write(store, EARLY, LATE)[0] == first[0]
    assert store.path(first[0].path).stat().st_ino == inode


def test_a_file_with_another_number_of_rows_is_not_taken_for_an_earlier_attempt(store: LocalStore) -> None:
    write_rows(store, table(EARLY), folder="t", revision="r1", moment=DAY)
    with pytest.raises(RuntimeError, match=r"part-00-0\.parquet has 1 rows where this build makes 2"):
        write_rows(store, table(EARLY, (0, "b")), folder="t", revision="r1", moment=DAY)


def test_no_rows_make_no_file(store: LocalStore) -> None:
    assert write(store) == []


def test_hours_that_are_not_asked_for_are_left_out(store: LocalStore) -> None:
    assert [entry.hours for entry in write(store, EARLY, LATE, hours=[DAY])] == [(DAY,)]


def test_minutes_lie_in_the_file_of_their_hour_and_dates_in_a_file_of_their_own(store: LocalStore) -> None:
    minutes = pa.table({"minute": pa.array([DAY, DAY + 59 * MINUTE, DAY + HOUR], pa.int64()).cast(TIME)})
    found = write_table(store, minutes, folder="m", revision="r1")
    assert [(entry.hours, entry.rows) for entry in found] == [((DAY,), 2), ((DAY + HOUR,), 1)]
    dates = pa.table({"date": pa.array([DAY // (24 * HOUR)], pa.int32()).cast(pa.date32())})
    (found_date,) = write_table(store, dates, folder="d", revision="r1")
    assert (found_date.hours, found_date.path) == ((), "marts/d/date=2026-03-02/r1/part-00-0.parquet")


def test_many_rows_of_one_hour_are_cut_into_numbered_files() -> None:
    found = pieces(table((0, "a"), (0, "b"), (0, "c"), (1, "d")), 2)
    assert [((moment - DAY) // HOUR, part, rows["name"].to_pylist()) for moment, part, rows in found] == [
        (0, 0, ["a", "b"]),
        (0, 1, ["c"]),
        (1, 0, ["d"]),
    ]


def test_rows_that_are_not_in_order_are_refused_and_not_written_over() -> None:
    with pytest.raises(ValueError, match="not in the order"):
        list(pieces(table((0, "a"), (1, "b"), (0, "c")), 10))
