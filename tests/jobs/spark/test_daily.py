"""The daily siblings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from jobs.spark.transforms.daily import daily
from jobs.spark.transforms.latency import latency_cells, latency_hourly, latency_summary
from quotaloop.marts import tables
from tests.jobs.spark.frames import DAY, HOUR, event, of, rows


def merged(table: tables.Table, *found: dict[str, Any]) -> pa.Table:
    """A daily table from rows of its hourly one.

    ``hour`` is a number; what is not given is 0, ``x`` or, where it may be, null.
    """
    hourly, rows = tables.DAILY[table], []
    for given in found:
        row: dict[str, Any] = {}
        for column in hourly.columns:
            usual = None if column.nullable else "x" if column.type == pa.string() else 0
            row[column.name] = given.get(column.name, usual)
        rows.append(row | {"hour": datetime.fromtimestamp(DAY / 1000 + 3600 * given["hour"], UTC)})
    db = of()
    db.register(hourly.name, pa.Table.from_pylist(rows, schema=hourly.schema))
    return daily(db, table)


def test_amounts_of_a_day_are_added_up_to_its_last_hour() -> None:
    given = [
        {"hour": hour, "requests": 1, "ok": 1, "bytes_in": hour, "gpu_ms": ms}
        for hour, ms in ((0, 0.1), (23, 0.2), (24, 5.0))
    ]
    found = merged(tables.USAGE_DAILY, *given)
    assert rows(found, "date", "requests", "ok", "bytes_in", "gpu_ms") == [(2, 2, 2, 23, 0.3), (3, 1, 1, 24, 5.0)]


def test_peaks_of_a_day_are_its_greatest() -> None:
    given = [
        {"kind": "tokens", "hour": 0, "demand": 5, "admitted": 4, "denied": 1, "unmet": 1, "peak_second": 2},
        {"kind": "tokens", "hour": 1, "demand": 7, "admitted": 7, "denied": 0, "unmet": 0, "peak_second": 1},
    ]
    given[0] |= {"peak_minute": 3, "demand_peak_minute": 4}
    given[1] |= {"peak_minute": 6, "demand_peak_minute": 2}
    found = merged(tables.RATE_LIMIT_USAGE_DAILY, *given)
    assert rows(found) == [(2, "x", "tokens", 12, 11, 1, 1, 2, 6, 4)]


def test_of_concurrency_the_greatest_counts_and_denials_are_added() -> None:
    given = [
        {"kind": "concurrency", "hour": hour, "demand": peak, "admitted": peak, "denied": 2}
        for hour, peak in ((0, 3), (1, 9), (2, 4))
    ]
    found = merged(tables.RATE_LIMIT_USAGE_DAILY, *given)
    assert rows(found) == [(2, "x", "concurrency", 9, 9, 6, None, None, None, None)]


def test_completeness_of_a_day_has_its_first_and_last_stamp() -> None:
    given = [
        {"hour": 1, "first_seq": 5, "last_seq": 9, "expected": 6, "received": 5, "missing": 1, "duplicates": 0},
        {"hour": 0, "first_seq": 2, "last_seq": 4, "expected": 3, "received": 3, "missing": 0, "duplicates": 2},
    ]
    found = merged(tables.COMPLETENESS_DAILY, *given)
    assert rows(found) == [(2, "x", "x", 2, 9, 9, 8, 1, 2)]


def test_quantiles_of_a_day_come_from_its_histogram_and_are_not_averaged() -> None:
    """99 fast ones in one hour, one slow one in another: averaging would say 500 ms."""
    fast = [event(f"f{number}", number, duration_ms=2) for number in range(99)]
    slow = event("slow", 5 * HOUR, duration_ms=998.5)
    db = of(*fast, slow, event("error", 0, status=500, duration_ms=80_000))
    latency_cells(db)
    db.register("latency_hourly", latency_hourly(db))
    db.register("latency_summary", latency_summary(db))
    found = daily(db, tables.LATENCY_SUMMARY_DAILY)
    assert rows(found, "date", "metric", "count", "min_ms", "max_ms", "sum_ms", "p50_ms", "p99_ms") == [
        (2, "duration", 100, 2.0, 998.5, 1196.5, pytest.approx(2, rel=0.01), pytest.approx(2, rel=0.01))
    ]
