"""Most requests in flight at one instant, also over the ends of hours."""

from __future__ import annotations

from typing import Any

from .conftest import rows

COLUMNS = ("hour", "tenant", "admitted", "demand", "denied", "unmet", "peak_second")


def _flights(found: Any) -> list[tuple[Any, ...]]:
    return rows(found["rate_limit_usage"], *COLUMNS[:3], "denied", kind="concurrency")


def test_a_request_that_begins_when_another_ends_is_not_beside_it(workshop: Any) -> None:
    workshop.land(workshop.event("a", 0, duration_ms=10), workshop.event("b", 10, duration_ms=10))
    assert rows(workshop.count()["rate_limit_usage"], *COLUMNS, kind="concurrency") == [(0, "a", 1, 1, 0, None, None)]


def test_a_request_without_duration_is_in_flight_for_a_microsecond(workshop: Any) -> None:
    workshop.land(workshop.event("a", 0, duration_ms=0), workshop.event("b", 0, duration_ms=0))
    assert _flights(workshop.count()) == [(0, "a", 2, 0)]


def test_a_long_request_counts_in_every_hour_it_reaches_and_not_in_one_it_ends_at(workshop: Any) -> None:
    hour = 3_600_000
    workshop.land(
        workshop.event("a", hour - 1, duration_ms=hour * 2 + 1),
        workshop.event("b", hour, duration_ms=5),
        workshop.event("c", hour * 2 - 1, duration_ms=1),
    )
    assert _flights(workshop.count()) == [(0, "a", 1, 0), (1, "a", 2, 0), (2, "a", 1, 0)]


def test_an_hour_that_is_only_read_gives_its_flights_but_no_rows(workshop: Any) -> None:
    workshop.land(workshop.event("a", 0, duration_ms=3_600_001))
    found = workshop.count([1], [0, 1])
    assert _flights(found) == [(1, "a", 1, 0)]
    assert found["usage_hourly"].num_rows == found["outcomes"].num_rows == 0


def test_denied_attempts_are_never_in_flight_but_counted_when_denied_by_concurrency(workshop: Any) -> None:
    workshop.land(
        workshop.event("a", 0, status=429, denied_by="concurrency", duration_ms=4_000_000),
        workshop.event("b", 0, status=429, denied_by="tokens"),
        workshop.event("c", 0, status=429, tenant="b"),
    )
    assert _flights(workshop.count()) == [(0, "a", 0, 1)]


def test_tenants_are_counted_apart(workshop: Any) -> None:
    events = [workshop.event(f"e{n}", n, duration_ms=100, tenant="ab"[n % 2]) for n in range(6)]
    workshop.land(*events)
    assert _flights(workshop.count()) == [(0, "a", 3, 0), (0, "b", 3, 0)]
