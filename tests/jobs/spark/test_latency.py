"""Tables ``latency_hourly`` and ``latency_summary``."""

from __future__ import annotations

import pytest

from jobs.spark.sql import Connection
from jobs.spark.transforms.latency import latency_cells, latency_hourly, latency_summary
from tests.jobs.spark.frames import HOUR, denied, event, of, rows, where

CELL = ("hour", "outcome", "metric", "bucket", "count")
QUANTILES = ("p50_ms", "p90_ms", "p95_ms", "p99_ms")


def cells(db: Connection) -> Connection:
    """With the cells made."""
    latency_cells(db)
    return db


def test_each_outcome_and_metric_has_its_own_histogram() -> None:
    events = of(
        event("e", 0, duration_ms=20),
        event("stream", 0, duration_ms=120000.5, ttft_ms=100.5, input_tokens=5, output_tokens=11),
        event("again", HOUR - 1, duration_ms=20),
        event("later", HOUR, duration_ms=20),
        denied("denied", 0, duration_ms=10),
    )
    assert rows(latency_hourly(cells(events)), *CELL) == [
        (0, "denied", "duration", 461, 1),
        (0, "ok", "duration", 496, 2),
        (0, "ok", "duration", 931, 1),
        (0, "ok", "itl", 815, 1),
        (0, "ok", "ttft", 576, 1),
        (1, "ok", "duration", 496, 1),
    ]


def test_the_gap_between_tokens_needs_two_of_them_and_counts_reasoning() -> None:
    events = of(
        event("one", 0, duration_ms=30, ttft_ms=10, output_tokens=1),
        event("no ttft", 0, duration_ms=30, output_tokens=9) | {"event_id": "no-ttft"},
        event("two", 0, duration_ms=30, ttft_ms=10, output_tokens=1, reasoning_tokens=1),
    )
    found = where(latency_summary(cells(events)), "metric", "itl")
    assert rows(found, "count", "min_ms", "max_ms", "sum_ms") == [(1, 20.0, 20.0, 20.0)]


def test_the_summary_is_of_what_was_ok_alone() -> None:
    events = of(
        event("e", 0, duration_ms=4),
        event("f", 0, duration_ms=6.001),
        event("error", 0, status=500, duration_ms=9000),
        denied("denied", 0, duration_ms=1),
        event("cancelled", 0, status=499, duration_ms=9000),
    )
    found = latency_summary(cells(events))
    assert rows(found, "metric", "count", "min_ms", "max_ms", "sum_ms") == [("duration", 2, 4.0, 6.001, 10.001)]


def test_a_quantile_is_the_bucket_of_the_element_by_rank_within_a_hundredth() -> None:
    events = of(*(event(str(number), number, duration_ms=number * 10) for number in range(1, 101)))
    ((*found,),) = rows(latency_summary(cells(events)), *QUANTILES)
    assert found == [pytest.approx(wanted, rel=0.01) for wanted in (500, 900, 950, 990)]
    assert found != [500.0, 900.0, 950.0, 990.0]


def test_the_rank_is_rounded_up() -> None:
    """Of 3 the median is the second; of 11 the 90 % quantile is the tenth."""
    three = of(*(event(str(number), 0, duration_ms=number) for number in (5, 10, 1000)))
    eleven = of(*(event(str(number), 0, duration_ms=10**6 if number == 10 else 7) for number in range(11)))
    assert rows(latency_summary(cells(three)), "p50_ms") == [(pytest.approx(10, rel=0.01),)]
    assert rows(latency_summary(cells(eleven)), "p90_ms") == [(7.0,)]


def test_quantiles_stay_between_the_extremes() -> None:
    """The bucket of 1000 ms stands for 994.9 ms, that of 0 for a little more than nothing."""
    one, nothing = of(event("e", 0, duration_ms=1000)), of(event("e", 0, duration_ms=0))
    assert rows(latency_summary(cells(one)), *QUANTILES) == [(1000.0,) * 4]
    assert rows(latency_summary(cells(nothing)), *QUANTILES) == [(0.0,) * 4]
