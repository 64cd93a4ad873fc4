"""Chains of attempts: what was demanded, admitted, denied and never met."""

from __future__ import annotations

from typing import Any

from .conftest import rows

MINUTE = ("minute", "model", "demand", "admitted", "denied", "unmet")
HOUR = ("demand", "admitted", "denied", "unmet", "peak_second", "peak_minute", "demand_peak_minute")


def test_a_chain_stands_at_its_first_minute_with_the_model_and_amount_of_its_first_admitted_attempt(
    workshop: Any,
) -> None:
    denied = {"status": 429, "wanted_tokens": 100, "model": "big"}
    workshop.land(
        workshop.event("c", 180_000, retry_of="a", output_tokens=9, model="other"),
        workshop.event("b", 120_000, retry_of="a", output_tokens=7, model="small"),
        workshop.event("a", 0, **denied),
    )
    assert rows(workshop.count()["demand_minutely"], *MINUTE, kind="tokens") == [
        ("00:00", "big", 0, 0, 100, 0),
        ("00:00", "small", 7, 0, 0, 0),
        ("00:02", "small", 0, 7, 0, 0),
        ("00:03", "other", 0, 9, 0, 0),
    ]


def test_a_chain_without_an_admitted_attempt_is_unmet_by_its_first_attempt(workshop: Any) -> None:
    workshop.land(
        workshop.event("b", 60_000, status=429, wanted_tokens=50, retry_of="a"),
        workshop.event("a", 0, status=429, wanted_tokens=70),
    )
    found = workshop.count()["rate_limit_usage"]
    assert rows(found, *HOUR, kind="tokens") == [(70, 0, 120, 70, 0, 0, 70)]
    assert rows(found, *HOUR, kind="requests") == [(1, 0, 2, 1, 0, 0, 1)]
    assert rows(found, "kind", kind="compute") == []


def test_attempts_at_the_same_instant_are_in_the_order_of_their_ids(workshop: Any) -> None:
    workshop.land(
        workshop.event("z", 0, retry_of="r", output_tokens=1),
        workshop.event("B", 0, retry_of="r", output_tokens=2),
        workshop.event("a10", 0, retry_of="r", output_tokens=3),
    )
    assert rows(workshop.count()["rate_limit_usage"], "demand", kind="tokens") == [(2,)]


def test_a_retry_of_a_retry_is_a_chain_of_its_own_as_are_other_tenants_and_hours(workshop: Any) -> None:
    workshop.land(
        workshop.event("a", 0),
        workshop.event("b", 1, retry_of="a"),
        workshop.event("c", 2, retry_of="b"),
        workshop.event("d", 3, retry_of="a", tenant="b"),
        workshop.event("e", 3_600_000, retry_of="a"),
    )
    found = rows(workshop.count()["rate_limit_usage"], "hour", "tenant", "demand", "admitted", kind="requests")
    assert found == [(0, "a", 2, 3), (0, "b", 1, 1), (1, "a", 1, 1)]


def test_peaks_are_of_clock_seconds_and_minutes_over_all_models(workshop: Any) -> None:
    workshop.land(
        workshop.event("a", 59_000, model="m", gpu_ms=0.5),
        workshop.event("b", 59_999, model="n", gpu_ms=0.25),
        workshop.event("c", 60_000, gpu_ms=0.125),
    )
    assert rows(workshop.count()["rate_limit_usage"], *HOUR, kind="compute") == [(875, 875, 0, 0, 750, 750, 750)]
