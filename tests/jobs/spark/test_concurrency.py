"""Most requests in flight at one instant."""

from __future__ import annotations

from jobs.spark.transforms.concurrency import concurrency
from tests.jobs.spark.frames import DAY, HOUR, Event, denied, event, of, rows


def peaks(*events: Event) -> list[tuple[object, ...]]:
    hours = [DAY + hour * HOUR for hour in range(3)]
    return rows(concurrency(of(*events), hours), "hour", "tenant", "peak")


def test_what_ends_as_another_begins_is_not_in_flight_with_it() -> None:
    assert peaks(event("a", 0, duration_ms=10), event("b", 10, duration_ms=10)) == [(0, "a", 1)]
    assert peaks(event("a", 0, duration_ms=10.001), event("b", 10, duration_ms=10)) == [(0, "a", 2)]


def test_a_request_of_no_duration_is_in_flight_for_a_microsecond() -> None:
    events = (event("a", 5, duration_ms=0), event("b", 5, duration_ms=0), event("c", 0, duration_ms=5))
    assert peaks(*events) == [(0, "a", 2)]


def test_a_request_counts_in_every_hour_that_it_reaches_into_and_no_further() -> None:
    assert peaks(event("a", HOUR - 1, duration_ms=HOUR + 1)) == [(0, "a", 1), (1, "a", 1)]
    assert peaks(event("a", HOUR - 1, duration_ms=HOUR + 1.001)) == [(0, "a", 1), (1, "a", 1), (2, "a", 1)]


def test_those_still_in_flight_are_there_when_the_next_hour_begins() -> None:
    long = [event(f"long-{n}", HOUR - 10 - n, duration_ms=HOUR) for n in range(3)]
    assert peaks(*long, event("e", HOUR, duration_ms=1)) == [(0, "a", 3), (1, "a", 4)]


def test_denied_requests_were_never_in_flight() -> None:
    assert peaks(denied("d", 0, duration_ms=50), event("e", 0, status=500)) == [(0, "a", 1)]


def test_tenants_are_apart() -> None:
    events = [event(f"{tenant}{n}", 0, tenant=tenant, duration_ms=5) for tenant in ("7", "007") for n in range(2)]
    assert peaks(*events, event("x", 0, tenant="7")) == [(0, "007", 2), (0, "7", 3)]


def test_hours_that_are_not_asked_for_are_left_out() -> None:
    flight = of(event("a", HOUR - 1, duration_ms=2 * HOUR))
    assert rows(concurrency(flight, [DAY + HOUR])) == [(1, "a", 1)]
    assert rows(concurrency(flight, [DAY + 5 * HOUR])) == []
