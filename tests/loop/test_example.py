"""The worked example through the whole loop: both engines give the tables that were worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.loop.stores import EXAMPLE, Loop, Row

EXPECTED: dict[str, list[Row]] = json.loads((EXAMPLE / "expected.json").read_text("utf-8"), parse_float=Decimal)
SUMMARY = "latency_summary"
EXACT = ("usage_hourly", "latency_hourly", "rate_limit_usage", "completeness_hourly")
MINUTELY = ("demand", "admitted", "denied", "unmet")


@pytest.fixture(scope="module")
def loop(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001 - the loop finds the session
    """The example, landed and released."""
    loop = Loop(tmp_path_factory.mktemp("example") / "store")
    loop.land_file(EXAMPLE / "events.jsonl", "example")
    assert loop.run().released
    return loop


@pytest.mark.parametrize("table", EXACT)
def test_spark_gives_the_expected_rows(loop: Loop, table: str) -> None:
    assert _plain(loop.rows(table)) == _sorted(EXPECTED[table])


@pytest.mark.parametrize("table", EXACT)
def test_mapreduce_gives_the_expected_rows(loop: Loop, table: str) -> None:
    assert _plain(loop.recounted()[table].to_pylist()) == _sorted(_in_micros(row) for row in EXPECTED[table])


def test_the_summary_is_exact_but_for_quantiles_which_lie_within_a_hundredth(loop: Loop) -> None:
    expected = _sorted(EXPECTED[f"{SUMMARY}_exact_quantiles"])
    found = _plain(loop.rows(SUMMARY))
    assert [_without_quantiles(row) for row in found] == [_without_quantiles(row) for row in expected]
    for row, exact in zip(found, expected, strict=True):
        for name in ("p50_ms", "p90_ms", "p95_ms", "p99_ms"):
            assert abs(row[name] - exact[name]) <= exact[name] / 100, (row, name)
            assert row["min_ms"] <= row[name] <= row["max_ms"], (row, name)


def test_mapreduce_gives_the_integers_of_the_summary(loop: Loop) -> None:
    expected = _sorted(_in_micros(_without_quantiles(row)) for row in EXPECTED[f"{SUMMARY}_exact_quantiles"])
    assert _plain(loop.recounted()[SUMMARY].to_pylist()) == expected


def test_the_ledger_says_what_became_of_each_of_the_thirteen_lines(loop: Loop) -> None:
    reasons = {"reasons": [("truncated", 1)], "unknown_fields": []}
    assert loop.rows("ingest_ledger") == [row | reasons for row in EXPECTED["ingest_ledger"]]


def test_mapreduce_has_the_same_ledger(loop: Loop) -> None:
    recounted = loop.recounted()
    (expected,) = EXPECTED["ingest_ledger"]
    (lines,) = recounted["lines"].to_pylist()
    outcomes = recounted["outcomes"].to_pylist()
    assert (lines["lines"], lines["late"], lines["reasons"]) == (expected["lines"], 0, [("truncated", 1)])
    assert sum(row["accepted"] for row in outcomes) == expected["accepted"]
    assert sum(row["duplicate"] for row in outcomes) == expected["duplicate"]
    assert sum(row["conflicting"] for row in outcomes) == 0


def test_minutes_add_up_to_the_expected_hours_in_both_engines(loop: Loop) -> None:
    expected = {
        (row["hour"][11:13], row["tenant"], row["kind"]): [row[name] for name in MINUTELY]
        for row in EXPECTED["rate_limit_usage"]
        if row["kind"] != "concurrency"
    }
    assert _by_hour(loop.rows("demand_minutely")) == expected
    assert _by_hour(loop.recounted()["demand_minutely"].to_pylist()) == expected


def test_a_day_adds_up_its_hours_and_keeps_their_greatest_peaks(loop: Loop) -> None:
    found = {(row["tenant"], row["kind"]): row for row in loop.rows("rate_limit_usage_daily")}
    requests, in_flight = found["a", "requests"], found["b", "concurrency"]
    assert [requests[name] for name in (*MINUTELY, "peak_second", "peak_minute", "demand_peak_minute")] == [
        *(6, 5, 4, 2),
        *(1, 2, 2),
    ]
    assert [in_flight[name] for name in MINUTELY] == [1, 1, 0, None]


def test_every_hour_was_counted_twice_also_those_with_nothing_but_a_request_in_flight(loop: Loop) -> None:
    assert loop.hours("twice") == [0, 1, 2, 3]
    assert loop.hours("once") == []


def test_a_second_run_changes_nothing(loop: Loop) -> None:
    before = loop.bytes()
    again = loop.run()
    assert (again.released, again.release and again.release.number) == (False, 1)
    assert loop.bytes() == before
    loop.check_whole()


def test_the_same_bytes_landed_again_change_nothing(loop: Loop, tmp_path: Path) -> None:
    before = loop.bytes()
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((EXAMPLE / "events.jsonl").read_bytes())
    assert loop.land_file(copy, "example").skipped
    assert not loop.run().released
    assert loop.bytes() == before


def _plain(rows: Iterable[Row]) -> list[Row]:
    """Rows without nulls, times as text, doubles as the shortest decimals that they are read from."""
    return _sorted({name: _value(value) for name, value in row.items() if value is not None} for row in rows)


def _value(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    return Decimal(repr(value)) if isinstance(value, float) else value


def _sorted(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: [str(value) for value in row.values()])


def _in_micros(row: Row) -> Row:
    """A row of published columns as the recount has it: whole microseconds."""
    return {
        name.replace("_ms", "_us"): int(value * 1000) if name.endswith("_ms") else value for name, value in row.items()
    }


def _without_quantiles(row: Row) -> Row:
    return {name: value for name, value in row.items() if not name.startswith("p") or name == "protocol"}


def _by_hour(rows: Iterable[Row]) -> dict[tuple[str, str, str], list[Any]]:
    """Sums of the minutes of every hour, tenant and kind."""
    sums: dict[tuple[str, str, str], list[Any]] = {}
    for row in rows:
        amounts = sums.setdefault((f"{row['minute']:%H}", row["tenant"], row["kind"]), [0] * len(MINUTELY))
        sums[f"{row['minute']:%H}", row["tenant"], row["kind"]] = [
            total + row[name] for total, name in zip(amounts, MINUTELY, strict=True)
        ]
    return sums
