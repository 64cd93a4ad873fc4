"""Table ``rate_limit_usage``."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from jobs.spark.transforms.attempts import attempts, contributions
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.demand_minutely import minutely
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from quotaloop.marts.tables import RATE_LIMIT_USAGE
from tests.jobs.spark.frames import HOUR, MINUTE, Event, denied, event, of, rows


def usage(spark: SparkSession, *events: Event, kind: str) -> list[tuple[Any, ...]]:
    """hour, demand, admitted, denied, unmet, peak_second, peak_minute, demand_peak_minute."""
    frame = of(spark, *events)
    one = attempts(frame)
    found = rate_limit_usage(minutely(contributions(one)), one, concurrency(frame))
    assert found.columns == RATE_LIMIT_USAGE.schema.names
    return rows(found.where(f"kind = '{kind}'").drop("tenant", "kind"))


def test_peaks_are_of_the_clock_second_and_minute_over_all_models(spark: SparkSession) -> None:
    events = (
        event("e1", 999, output_tokens=10),
        event("e2", 1000, output_tokens=20, model="m"),
        event("e3", 1999, output_tokens=5),
        event("e4", MINUTE - 1, output_tokens=1, model="n"),
        event("e5", MINUTE, output_tokens=30),
        denied("d", 1500, wanted_tokens=500),
    )
    assert usage(spark, *events, kind="tokens") == [(0, 566, 66, 500, 500, 30, 36, 536)]
    assert usage(spark, *events, kind="requests") == [(0, 6, 5, 1, 1, 2, 4, 5)]


def test_an_hour_in_which_all_is_denied_has_demand_and_no_peak(spark: SparkSession) -> None:
    assert usage(spark, denied("d", 0, wanted_tokens=9), kind="tokens") == [(0, 9, 0, 9, 9, 0, 0, 9)]


def test_compute_is_in_microseconds(spark: SparkSession) -> None:
    assert usage(spark, event("e", 0, gpu_ms=1.0005), kind="compute") == [(0, 1000, 1000, 0, 0, 1000, 1000, 1000)]


def test_concurrency_is_the_most_in_flight_also_in_hours_where_nothing_began(spark: SparkSession) -> None:
    events = (
        event("long", 0, duration_ms=2 * HOUR),
        event("short", 5, duration_ms=10),
        denied("d", 6, denied_by="concurrency"),
        denied("other", 6, denied_by="tokens"),
    )
    nothing = (None,) * 4
    assert usage(spark, *events, kind="concurrency") == [(0, 2, 2, 1, *nothing), (1, 1, 1, 0, *nothing)]


def test_denials_by_concurrency_alone_still_have_a_row(spark: SparkSession) -> None:
    events = (denied("d", 0, denied_by="concurrency"), denied("d2", HOUR))
    assert usage(spark, *events, kind="concurrency") == [(0, 0, 0, 1, *(None,) * 4)]
