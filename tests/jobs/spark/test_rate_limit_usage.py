"""Table ``rate_limit_usage``."""

from __future__ import annotations

from typing import Any

from jobs.spark.transforms.attempts import attempts, chains
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.demand_minutely import minutely
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from quotaloop.marts.tables import RATE_LIMIT_USAGE
from tests.jobs.spark.frames import DAY, HOUR, MINUTE, Event, denied, event, of, rows, where


def usage(*events: Event, kind: str) -> list[tuple[Any, ...]]:
    """hour, demand, admitted, denied, unmet, peak_second, peak_minute, demand_peak_minute."""
    db = of(*events)
    attempts(db)
    chains(db)
    minutely(db)
    db.register("in_flight", concurrency(db, [DAY, DAY + HOUR]))
    found = rate_limit_usage(db)
    assert found.schema == RATE_LIMIT_USAGE.schema
    return rows(where(found, "kind", kind, "tenant"))


def test_peaks_are_of_the_clock_second_and_minute_over_all_models() -> None:
    events = (
        event("e1", 999, output_tokens=10),
        event("e2", 1000, output_tokens=20, model="m"),
        event("e3", 1999, output_tokens=5),
        event("e4", MINUTE - 1, output_tokens=1, model="n"),
        event("e5", MINUTE, output_tokens=30),
        denied("d", 1500, wanted_tokens=500),
    )
    assert usage(*events, kind="tokens") == [(0, 566, 66, 500, 500, 30, 36, 536)]
    assert usage(*events, kind="requests") == [(0, 6, 5, 1, 1, 2, 4, 5)]


def test_an_hour_in_which_all_is_denied_has_demand_and_no_peak() -> None:
    assert usage(denied("d", 0, wanted_tokens=9), kind="tokens") == [(0, 9, 0, 9, 9, 0, 0, 9)]


def test_compute_is_in_microseconds() -> None:
    assert usage(event("e", 0, gpu_ms=1.0005), kind="compute") == [(0, 1000, 1000, 0, 0, 1000, 1000, 1000)]


def test_concurrency_is_the_most_in_flight_also_in_hours_where_nothing_began() -> None:
    events = (
        event("long", 0, duration_ms=2 * HOUR),
        event("short", 5, duration_ms=10),
        denied("d", 6, denied_by="concurrency"),
        denied("other", 6, denied_by="tokens"),
    )
    nothing = (None,) * 4
    assert usage(*events, kind="concurrency") == [(0, 2, 2, 1, *nothing), (1, 1, 1, 0, *nothing)]


def test_denials_by_concurrency_alone_still_have_a_row() -> None:
    events = (denied("d", 0, denied_by="concurrency"), denied("d2", HOUR))
    assert usage(*events, kind="concurrency") == [(0, 0, 0, 1, *(None,) * 4)]
