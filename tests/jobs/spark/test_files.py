"""Frames as files of a revision."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.spark.files import pieces, write_frame, write_rows
from jobs.spark.transforms.attempts import attempts, contributions
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from quotaloop.events.columns import TIME
from quotaloop.marts.release import FileEntry
from quotaloop.marts.tables import DEMAND_MINUTELY
from quotaloop.storage.local import LocalStore
from tests.jobs.spark.frames import DAY, HOUR, MINUTE, event, of

SCHEMA = pa.schema([pa.field("hour", TIME, False), pa.field("name", pa.string(), False)])
EARLY, LATE = (0, "a"), (23, "z")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "a store")


def table(*found: tuple[int, str]) -> pa.Table:
    rows = [{"hour": DAY + hour * HOUR, "name": name} for hour, name in found]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write(spark: SparkSession, store: LocalStore, *found: tuple[int, str], order: Any = None) -> list[FileEntry]:
    return write_frame(
        spark.createDataFrame(table(*found)),
        store_url=store.url,
        folder="t",
        revision="r1",
        schema=SCHEMA,
        order=order or ("hour", "name"),
        time="hour",
    )


def names(store: LocalStore, entry: FileEntry) -> list[str]:
    with store.open(entry.path) as file:
        found: list[str] = pq.read_table(file, schema=SCHEMA)["name"].to_pylist()
    return found


def test_every_hour_is_one_file_with_its_rows_in_order(spark: SparkSession, store: LocalStore) -> None:
    rows = [(hour, name) for hour in (24, 23, 0) for name in ("c", "a", "b")]
    entries = write(spark, store, *rows)
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


def test_what_an_attempt_before_wrote_stays_and_is_listed(spark: SparkSession, store: LocalStore) -> None:
    first = write(spark, store, EARLY)
    inode = store.path(first[0].path).stat().st_ino
    assert write(spark, store, EARLY, LATE)[0] == first[0]
    assert store.path(first[0].path).stat().st_ino == inode


def test_a_file_with_another_number_of_rows_is_not_taken_for_an_earlier_attempt(store: LocalStore) -> None:
    write_rows(store, table(EARLY), folder="t", revision="r1", moment=DAY)
    with pytest.raises(RuntimeError, match=r"part-00-0\.parquet has 1 rows where this build makes 2"):
        write_rows(store, table(EARLY, (0, "b")), folder="t", revision="r1", moment=DAY)


def test_an_empty_frame_makes_no_file(spark: SparkSession, store: LocalStore) -> None:
    assert write(spark, store) == []


def test_minutes_lie_in_the_file_of_their_hour(spark: SparkSession, store: LocalStore) -> None:
    events = of(spark, event("b", 59 * MINUTE), event("a", 0), event("c", HOUR))
    entries = write_frame(
        demand_minutely(minutely(contributions(attempts(events)))),
        store_url=store.url,
        folder="demand_minutely",
        revision="r1",
        schema=DEMAND_MINUTELY.schema,
        order=DEMAND_MINUTELY.grain,
        time="minute",
    )
    assert [(entry.hours, entry.rows) for entry in entries] == [((DAY,), 2), ((DAY + HOUR,), 1)]


def test_many_rows_of_one_hour_are_cut_into_numbered_files() -> None:
    batches = [table((0, "a"), (0, "b")), table((0, "c"), (1, "d")), table((1, "e"), (1, "f"), (1, "g"))]
    found = pieces([batch for piece in batches for batch in piece.to_batches()], "hour", 3)
    assert [((moment - DAY) // HOUR, part, rows["name"].to_pylist()) for moment, part, rows in found] == [
        (0, 0, ["a", "b", "c"]),
        (1, 0, ["d", "e", "f", "g"]),
    ]
    cut = pieces(table(*((0, name) for name in "abcd")).to_batches(max_chunksize=1), "hour", 2)
    assert [(part, rows["name"].to_pylist()) for _, part, rows in cut] == [(0, ["a", "b"]), (1, ["c", "d"])]
