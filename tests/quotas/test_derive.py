"""From demand to limits, by hand; and what becomes of a policy when no hour is fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.derive import derive, renew
from quotaloop.quotas.policy import Limit, Policy, check_push, instant, parse, render, same_limits
from quotaloop.settings import Settings

HOUR = 1_772_409_600_000
AT = HOUR + 2 * 3_600_000
DAY = 86_400_000


def derived(release: Any, *hours: int, at: int = AT, previous: Policy | None = None, **settings: Any) -> Policy:
    policy = derive(
        release.connection,
        hours=hours or (HOUR,),
        release=3,
        settings=replace(Settings(), **{"floor_requests": 1, **settings}),
        previous=previous,
        as_of_ms=at,
    )
    check_push(policy, previous)
    return policy


def limits(policy: Policy) -> dict[tuple[str, str], Limit]:
    return {(limit.tenant, limit.kind): limit for limit in policy.limits}


def requests(policy: Policy) -> dict[str, tuple[int, str]]:
    """Of each tenant: the limit of requests and what it is bound by."""
    return {limit.tenant: (limit.limit, limit.evidence["bound_by"]) for limit in policy.limits}


def test_a_limit_is_the_quantile_of_active_minutes_with_headroom_rounded_up(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 10, 50, 20, 60)
    release.minute(5, "a", "requests", 3, 1, 4, 2)
    policy = derived(release, quantile=0.75, headroom=1.1)
    # 3 10 20 50 60: rank ceil(3.75) = 4, 50 * 1.1 = 55 (in floating point 55.00000000000001)
    assert [(limit.tenant, limit.kind, limit.limit, limit.per_seconds, limit.burst) for limit in policy.limits] == [
        ("a", "requests", 55, 60, 55)
    ]
    assert policy.limits[0].evidence == {
        "active_minutes": 5,
        "quantile": 0.75,
        "quantile_value": 50,
        "headroom": 1.1,
        "want": 55,
        "bound_by": "want",
        "floor": 1,
        "cap": 100_000,
        "capacity": 6_000,
        "weight": "1",
        "estimated": False,
        "demand": 143,
        "admitted": 141,
        "denied": 4,
        "unmet": 2,
        "first_hour": "2026-03-02T00:00:00Z",
        "last_hour": "2026-03-02T00:00:00Z",
        "hours": 1,
        "releases": [3],
        "derived_at": "2026-03-02T02:00:00Z",
        "epoch": 1,
    }


def test_the_quantile_is_the_decimal_that_was_written(busy_minutes: Any) -> None:
    # the double 0.1 is a little more than a tenth, which would be rank 2 of 10
    policy = derived(busy_minutes("a", "requests", *range(1, 11)), quantile=0.1)
    assert policy.limits[0].evidence["quantile_value"] == 1


def test_each_kind_has_its_own_unit_and_concurrency_is_slots(release: Any) -> None:
    release.minute(0, "a", "tokens", 4_000)
    release.minute(0, "a", "compute", 8_000_000)
    release.in_flight(0, "a", 8)
    found = limits(derived(release))
    assert {kind: (limit.limit, limit.per_seconds) for (_, kind), limit in found.items()} == {
        "compute": (10_000_000, 60),
        "concurrency": (10, 1),
        "tokens": (5_000, 60),
    }
    concurrency = found["a", "concurrency"].evidence
    assert (concurrency["active_hours"], concurrency["unmet"], "active_minutes" in concurrency) == (1, None, False)


def test_floors_and_caps_bound_what_is_wanted(busy_minutes: Any) -> None:
    for tenant, demand in (("low", 4), ("mid", 40), ("high", 400)):
        release = busy_minutes(tenant, "requests", demand)
    policy = derived(release, headroom=1.0, floor_requests=10, cap_requests=100)
    assert requests(policy) == {"low": (10, "floor"), "mid": (40, "want"), "high": (100, "cap")}
    assert {limit.evidence["want"] for limit in policy.limits} == {4, 40, 400}


def test_a_capacity_too_small_for_all_is_shared_max_min_by_weight(busy_minutes: Any) -> None:
    for tenant, demand in (("a", 200), ("b", 200), ("c", 20)):
        release = busy_minutes(tenant, "requests", demand)
    policy = derived(release, headroom=1.0, capacity_requests=120, weights="b=3")
    # one each first; of the other 117, c takes 19; 98 remain for weights 1 and 3: 24.5 and 73.5, rounded up by name
    assert requests(policy) == {"a": (26, "capacity"), "b": (74, "capacity"), "c": (20, "want")}
    assert limits(policy)["b", "requests"].evidence["weight"] == "3"


def test_floors_come_before_weights_when_the_capacity_carries_them(busy_minutes: Any) -> None:
    for tenant in ("a", "b"):
        release = busy_minutes(tenant, "requests", 200)
    policy = derived(release, headroom=1.0, capacity_requests=60, floor_requests=20, weights="b=19")
    assert requests(policy) == {"a": (21, "capacity"), "b": (39, "capacity")}


def test_a_capacity_below_the_floors_is_shared_with_one_unit_for_everyone_first(busy_minutes: Any) -> None:
    for tenant in ("a", "b", "c"):
        release = busy_minutes(tenant, "requests", 200)
    policy = derived(release, floor_requests=10, capacity_requests=13, weights="c=98")
    assert requests(policy) == {"a": (1, "capacity"), "b": (1, "capacity"), "c": (11, "capacity")}
    with pytest.raises(CheckRefused, match="capacity_requests=2 is below one unit for each of 3 tenants"):
        derived(release, capacity_requests=2)


def test_times_and_epoch_come_from_the_arguments(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 5)
    first = derived(release)
    assert (first.epoch, first.release, first.created_at, first.valid_from) == (1, 3, instant(AT), instant(AT))
    assert first.expires_at == instant(AT + 2 * DAY)
    assert derived(release, previous=first).epoch == 2
    assert render(derived(release)) == render(first)
    assert parse(render(first)) == first


def test_a_second_derivation_from_the_same_hours_has_the_same_limits(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 5)
    first = derived(release)
    second = derived(release, previous=first, at=AT + 60 * DAY)
    assert same_limits(first, second)
    release.minute(9, "a", "requests", 50)
    assert not same_limits(first, derived(release))


def test_hours_older_than_the_span_before_the_newest_do_not_count(release: Any) -> None:
    for number, demand in ((0, 100), (60, 20), (120, 8)):
        release.minute(number, "a", "requests", demand)
    hours = (HOUR + 2 * 3_600_000, HOUR, HOUR + 3_600_000)
    policy = derived(release, *hours, quota_span=2 * 3_600_000, headroom=1.0)
    assert requests(policy) == {"a": (20, "want")}
    evidence = policy.limits[0].evidence
    assert (evidence["hours"], evidence["first_hour"]) == (2, "2026-03-02T01:00:00Z")


def test_no_fit_hour_and_no_demand_are_refused(release: Any) -> None:
    with pytest.raises(CheckRefused, match="no demand in 1 fit hours"):
        derived(release)
    with pytest.raises(CheckRefused, match="no demand in 0 fit hours"):
        derive(release.connection, hours=[], release=3, settings=Settings(), previous=None, as_of_ms=AT)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"quantile": 0.0}, "quantile"),
        ({"quantile": 1.01}, "quantile"),
        ({"headroom": 0.0}, "headroom"),
        ({"floor_requests": 5, "cap_requests": 4}, "floor_requests"),
        ({"safe_capacity_tokens": 0}, "safe_capacity_tokens"),
        ({"weights": "a=x"}, "weights"),
    ],
)
def test_settings_that_make_no_sense_are_a_wrong_call(busy_minutes: Any, settings: dict[str, Any], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        derived(busy_minutes("a", "requests", 5), **settings)


def test_safe_capacity_comes_from_the_settings(busy_minutes: Any) -> None:
    safe = derived(busy_minutes("a", "requests", 5)).safe_capacity
    assert {kind: (rate.limit, rate.per_seconds, rate.burst) for kind, rate in safe.items()} == {
        "requests": (60, 60, 60),
        "tokens": (20_000, 60, 20_000),
        "compute": (6_000_000, 60, 6_000_000),
        "concurrency": (4, 1, 4),
    }


def test_a_renewed_policy_has_the_same_limits_and_a_new_epoch_and_expiry(busy_minutes: Any) -> None:
    first = derived(busy_minutes("a", "requests", 5))
    renewal = renew(first, as_of_ms=AT + DAY, settings=Settings())
    assert renewal.warning is None
    assert renewal.policy is not None
    assert renewal.policy.limits == first.limits
    assert (renewal.policy.epoch, renewal.policy.valid_from) == (2, instant(AT + DAY))
    assert renewal.policy.expires_at == instant(AT + 3 * DAY)
    check_push(renewal.policy, first)


def test_renewing_warns_from_half_the_greatest_age_and_ends_after_it(busy_minutes: Any) -> None:
    policy = derived(busy_minutes("a", "requests", 5))
    settings = replace(Settings(), max_policy_age=14 * DAY)
    assert renew(policy, as_of_ms=AT + 7 * DAY - 1, settings=settings).warning is None
    half = renew(policy, as_of_ms=AT + 7 * DAY, settings=settings)
    assert half.policy is not None
    assert half.warning is not None
    assert "last derived at 2026-03-02T02:00:00Z: they can be renewed until 2026-03-16T02:00:00Z" in half.warning
    assert renew(half.policy, as_of_ms=AT + 14 * DAY, settings=settings).policy is not None
    too_old = renew(half.policy, as_of_ms=AT + 14 * DAY + 1, settings=settings)
    assert too_old.policy is None
    assert too_old.warning is not None
    assert "too old to renew, safe capacity holds after 2026-03-11T02:00:00Z" in too_old.warning


def test_limits_written_by_hand_age_from_when_their_policy_was_created(busy_minutes: Any) -> None:
    policy = derived(busy_minutes("a", "requests", 5))
    by_hand = changed(policy, limits=(changed(policy.limits[0], evidence={"reason": "agreed"}),))
    renewed = renew(by_hand, as_of_ms=AT + 10 * DAY, settings=Settings()).policy
    assert renewed is not None
    assert renewed.limits[0].evidence == {"reason": "agreed", "derived_at": "2026-03-02T02:00:00Z", "epoch": 1}
    assert renewed.created_at - by_hand.created_at == timedelta(days=10)
    assert renew(renewed, as_of_ms=AT + 15 * DAY, settings=Settings()).policy is None


@pytest.mark.parametrize("derived_at", [None, 5, "yesterday", "2026-03-02T02:00:00"])
def test_a_time_of_derivation_that_is_none_is_refused(busy_minutes: Any, derived_at: object) -> None:
    policy = derived(busy_minutes("a", "requests", 5))
    odd = changed(policy, limits=(changed(policy.limits[0], evidence={"derived_at": derived_at}),))
    with pytest.raises(CheckRefused, match="derived_at"):
        renew(odd, as_of_ms=AT, settings=Settings())
