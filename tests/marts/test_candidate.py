"""Builds between their stages: named by all that goes in, and found again as they were left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quotaloop.marts.candidate import Candidate, load, revision_of, save
from quotaloop.marts.release import Day, FileEntry, Release
from quotaloop.raw.ranges import Range
from quotaloop.storage.local import LocalStore
from tests.marts.handmade import DAY, HOUR

RANGES = [Range("t", 0, 0, 10), Range("t", 0, 10, 12), Range("u@2", 31, 5, 6)]
PARENT: dict[str, Any] = {
    "number": 4,
    "parent": 3,
    "code": "c",
    "settings": {},
    "fingerprint": "f",
    "checks": [],
    "raw": [],
    "days": {"2026-03-02": "a" * 64},
    "ledger": None,
    "waivers": [],
}
REVISION = "0123456789abcdef"


def entry(table: str, number: int, revision: str = REVISION) -> FileEntry:
    path = f"marts/{table}/date=2026-03-02/{revision}/part-{number:02d}-0.parquet"
    return FileEntry(path, number, 100, f"{number:064d}", (DAY + number * HOUR,))


def candidate() -> Candidate:
    second = "2026-03-03"
    return Candidate(
        revision=REVISION,
        fingerprint="f00d",
        parent=4,
        ranges=RANGES,
        new=RANGES[1:],
        emit=[DAY, DAY + HOUR],
        read=[DAY - HOUR, DAY, DAY + HOUR],
        sources=RANGES[:2],
        days={
            "2026-03-02": Day(
                "2026-03-02",
                "f00d",
                tables={"usage_hourly": [entry("usage_hourly", 0), entry("usage_hourly", 1, "fedcba9876543210")]},
                counted={DAY: "once", DAY + HOUR: "twice"},
                outcomes={DAY: [["t", 0, 0, 2, 0, 1]]},
            ),
            second: Day(second, "0ld", tables={"usage_hourly": [entry("usage_hourly", 24)]}, frozen=True),
        },
        ledger=FileEntry("marts/ingest_ledger/0123456789abcdef/part-0.parquet", 3, 50, "b" * 64),
    )


def test_the_revision_is_a_function_of_what_goes_in() -> None:
    parent = Release(**PARENT)
    assert revision_of("f", parent, parent.days, RANGES, None) == revision_of(
        "f", Release(**PARENT), parent.days, RANGES[::-1], None
    )
    assert len(revision_of("f", None, {}, [], None)) == 16


def test_everything_that_goes_in_makes_another_revision() -> None:
    parent = Release(**PARENT)
    found = [
        revision_of("f", parent, parent.days, RANGES, None),
        revision_of("g", parent, parent.days, RANGES, None),
        revision_of("f", None, {}, RANGES, None),
        revision_of("f", Release(**(PARENT | {"number": 5})), parent.days, RANGES, None),
        revision_of("f", parent, {"2026-03-02": "b" * 64}, RANGES, None),
        revision_of("f", None, {"2026-03-03": "a" * 64}, RANGES, None),
        revision_of("f", parent, parent.days, RANGES[:2], None),
        revision_of("f", parent, parent.days, [*RANGES[:2], Range("u@2", 31, 5, 7)], None),
        revision_of("f", parent, parent.days, [*RANGES[:2], Range("u@3", 31, 5, 6)], None),
        revision_of("f", parent, parent.days, [*RANGES[:2], Range("u@2", 32, 5, 6)], None),
        revision_of("f", parent, parent.days, RANGES, 3_600_000),
        revision_of("f", parent, parent.days, RANGES, 7_200_000),
    ]
    assert len(set(found)) == len(found)


def test_a_candidate_is_found_as_it_was_saved(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert load(store, REVISION) is None
    save(store, candidate())
    assert load(store, REVISION) == candidate()
    assert load(store, "f" * 16) is None
    assert [info.path for info in store.files("")] == [f"builds/{REVISION}/candidate.json"]


def test_the_first_to_save_a_revision_has_saved_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    save(store, candidate())
    later = candidate()
    later.parent = None
    save(store, later)
    found = load(store, REVISION)
    assert found is not None
    assert found.parent == 4


def test_a_candidate_without_a_parent_is_found_too(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    first = candidate()
    first.parent, first.days, first.emit = None, {}, []
    save(store, first)
    assert load(store, REVISION) == first


def test_files_of_other_revisions_are_not_new() -> None:
    assert candidate().new_files == {"usage_hourly": [entry("usage_hourly", 0), entry("usage_hourly", 24)]}


@pytest.mark.parametrize("table", ["exclusions", "events"])
def test_a_table_that_is_wholly_carried_over_has_no_new_files(table: str) -> None:
    made = candidate()
    made.days["2026-03-02"].tables[table] = [entry(table, 2, "fedcba9876543210")]
    assert table not in made.new_files
