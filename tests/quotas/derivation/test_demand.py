"""Demand per tenant and kind, by hand: what logs say, and what replaces what they do not say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from quotaloop.quotas.derivation.demand import Demand, demands

HOUR = 1_772_409_600_000
NEXT = HOUR + 3_600_000


def measured(release: Any, *hours: int, quantile: str = "1") -> dict[str, Demand]:
    """Of tenant a, by kind."""
    found = demands(release.connection, hours or (HOUR,), quantile=Fraction(quantile))
    return {demand.kind: demand for demand in found if demand.tenant == "a"}


def test_the_models_of_a_minute_are_added_and_other_hours_are_not(release: Any) -> None:
    release.minute(0, "a", "requests", 3, 2, 4, 1, model="m")
    release.minute(0, "a", "requests", 2, 2, 0, 0, model="n")
    release.minute(59, "a", "requests", 1)
    release.minute(60, "a", "requests", 100)
    assert demands(release.connection, [HOUR], quantile=Fraction(1)) == [
        Demand("a", "requests", 2, 5, demand=6, admitted=5, denied=4, unmet=1, estimated=False)
    ]


def test_a_minute_in_which_only_retries_came_is_not_active(release: Any) -> None:
    release.minute(0, "a", "requests", 2)
    release.minute(1, "a", "requests", 0, 5, 0, 0)
    requests = measured(release, quantile="1/2")["requests"]
    assert (requests.active, requests.quantile_value, requests.admitted) == (1, 2, 7)


def test_a_kind_without_demand_is_not_there(release: Any) -> None:
    release.minute(1, "a", "requests", 0, 5, 0, 0)
    release.in_flight(0, "a", 0)
    assert measured(release) == {}


@pytest.mark.parametrize(
    ("quantile", "value"),
    [("0.1", 10), ("0.11", 20), ("0.5", 50), ("0.9", 90), ("0.91", 100), ("0.99", 100), ("1", 100)],
)
def test_the_quantile_of_ten_minutes_is_the_element_of_rank_ceil_10_q(
    busy_minutes: Any, quantile: str, value: int
) -> None:
    release = busy_minutes("a", "tokens", 100, 20, 90, 40, 60, 50, 70, 80, 30, 10)
    assert measured(release, quantile=quantile)["tokens"].quantile_value == value


def test_concurrency_is_the_quantile_of_the_hourly_peaks(release: Any) -> None:
    for number, most in enumerate([4, 9, 5]):
        release.in_flight(number, "a", most, denied=number)
    found = measured(release, HOUR, NEXT, NEXT + 3_600_000, quantile="1/2")["concurrency"]
    assert found == Demand("a", "concurrency", 3, 5, demand=9, admitted=9, denied=3, unmet=None, estimated=False)


def test_with_retries_and_amounts_in_the_logs_nothing_is_estimated(release: Any) -> None:
    release.minute(0, "a", "requests", 2, 1, 2, 1)
    release.event("e1", 0, "denied", wanted_tokens=5)
    release.event("e2", 1, "ok", retry_of="e1", total_tokens=5)
    release.event("e3", 2, "denied", wanted_tokens=7)
    requests = measured(release)["requests"]
    assert (requests.demand, requests.unmet, requests.estimated) == (2, 1, False)


def test_without_retry_of_a_key_route_model_and_minute_has_at_most_one_unmet_request(release: Any) -> None:
    release.minute(0, "a", "requests", 9, 2, 7, 7)
    release.minute(1, "a", "requests", 1, 0, 1, 1)
    others: list[dict[str, Any]] = [{"api_key_id": "other"}, {"api_key_id": None}, {"route": "/s"}, {"model": "n"}]
    for number, fields in enumerate([{}, {}, {}, *others]):
        release.event(f"e{number}", number, "denied", wanted_tokens=10, **fields)
    release.event("e8", 60, "denied", wanted_tokens=10)
    # minute 0: 2 admitted, and 5 unmet (3 attempts of one key are one); minute 1: 1 unmet
    assert measured(release)["requests"] == Demand(
        "a", "requests", 2, 7, demand=8, admitted=2, denied=8, unmet=6, estimated=True
    )


def test_the_first_attempt_of_such_a_group_gives_the_amounts(release: Any) -> None:
    release.minute(0, "a", "tokens", 100, 40, 60, 60)
    release.minute(0, "a", "compute", 9_000, 3_000, 6_000, 6_000)
    release.event("e1", 1, "denied", wanted_tokens=20, gpu_ms=2.5)
    release.event("e2", 1, "denied", wanted_tokens=30, gpu_ms=3.5)
    release.event("e0", 2, "denied", wanted_tokens=10, gpu_ms=0.0)
    release.event("ok", 3, "ok", total_tokens=40, gpu_ms=3.0)
    found = measured(release)
    assert (found["tokens"].demand, found["tokens"].unmet) == (40 + 20, 20)
    assert (found["compute"].demand, found["compute"].unmet) == (3_000 + 2_500, 2_500)
    assert found["tokens"].estimated
    assert found["compute"].estimated


def test_one_retry_of_anywhere_in_the_hours_means_that_the_tenants_logs_carry_it(release: Any) -> None:
    release.minute(0, "a", "requests", 2, 0, 2, 2)
    release.event("e1", 0, "denied", wanted_tokens=1)
    release.event("e2", 1, "denied", wanted_tokens=1)
    release.event("e9", 3_599, "ok", retry_of="elsewhere")
    assert measured(release)["requests"].demand == 2
    release.connection.execute("UPDATE attempts_written SET ts_ms = ts_ms + 3600000 WHERE event_id = 'e9'")
    assert measured(release)["requests"].demand == 1


def test_another_tenants_retry_of_does_not_speak_for_this_one(release: Any) -> None:
    release.minute(0, "a", "requests", 2, 0, 2, 2)
    release.event("e1", 0, "denied", wanted_tokens=1)
    release.event("e2", 1, "denied", wanted_tokens=1)
    release.event("e9", 2, "ok", retry_of="e1", tenant="b")
    assert measured(release)["requests"].demand == 1


def test_a_denied_request_without_an_amount_wants_the_median_the_tenant_was_admitted_for_the_model(
    release: Any,
) -> None:
    for number, tokens in enumerate([10, 40, 20, 30]):  # the lower of the two in the middle: 20
        release.event(f"m{number}", number, "ok", total_tokens=tokens)
    release.event("n", 5, "ok", total_tokens=9_000, model="n")
    release.event("b", 5, "ok", total_tokens=8_000, tenant="b")
    release.event("later", 3_600, "ok", total_tokens=7_000)
    release.event("d1", 60, "denied")
    release.event("d2", 61, "denied", retry_of="d1")
    release.event("d3", 62, "denied", wanted_tokens=0)
    release.event("d4", 63, "denied", wanted_tokens=5)
    release.event("d5", 64, "denied", model="never admitted")
    release.minute(0, "a", "tokens", 100)
    release.minute(0, "a", "requests", 4)
    release.minute(1, "a", "tokens", 5, 0, 5, 5)
    release.minute(1, "a", "requests", 4, 0, 5, 4)
    found = measured(release)
    # chains d1 (with d2), d3, d4, d5 are unmet: 20 + 0 + 5 + 0
    assert (found["tokens"].demand, found["tokens"].unmet, found["tokens"].estimated) == (125, 25, True)
    assert (found["requests"].demand, found["requests"].unmet, found["requests"].estimated) == (8, 4, False)


def test_the_first_attempt_of_a_chain_gives_its_amount_model_and_minute(release: Any) -> None:
    release.event("ok", 0, "ok", total_tokens=70)
    release.event("d1", 59, "denied")
    release.event("d0", 61, "denied", retry_of="d1", wanted_tokens=5, model="n")
    release.minute(0, "a", "tokens", 70)
    found = measured(release)["tokens"]
    assert (found.active, found.demand, found.quantile_value) == (1, 140, 140)


def test_a_denied_request_whose_retry_was_admitted_adds_nothing(release: Any) -> None:
    release.minute(0, "a", "tokens", 70, 70, 0, 0)
    release.event("d1", 0, "denied")
    release.event("r1", 30, "ok", retry_of="d1", total_tokens=70)
    assert (measured(release)["tokens"].demand, measured(release)["tokens"].estimated) == (70, True)


def test_a_minute_whose_only_demand_is_estimated_is_active(release: Any) -> None:
    release.minute(0, "a", "tokens", 70)
    release.event("ok", 0, "ok", total_tokens=70, retry_of="x")
    release.event("d", 600, "denied")  # wanted_tokens is missing: demand_minutely has no row of tokens for it
    assert measured(release)["tokens"] == Demand(
        "a", "tokens", 2, 70, demand=140, admitted=70, denied=0, unmet=70, estimated=True
    )


def test_a_tenant_that_was_never_denied_is_not_estimated(release: Any) -> None:
    release.minute(0, "a", "requests", 1)
    release.event("ok", 0, "ok")
    assert not measured(release)["requests"].estimated
