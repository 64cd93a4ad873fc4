"""From demand to limits, by hand; and what becomes of a policy when no hour is fit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.derivation.derive import derive, renew
from quotaloop.quotas.policy import (
    EVERYTHING,
    FORMAT,
    KINDS,
    Limit,
    Policy,
    Rate,
    Scope,
    check_push,
    instant,
    parse,
    render,
    same_limits,
)
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
    found = (limit for limit in policy.limits if limit.kind == "requests")
    return {limit.tenant: (limit.limit, limit.evidence["bound_by"]) for limit in found}


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
        "greatest_request": 1,
        "headroom": 1.1,
        "want": 55,
        "bound_by": "want",
        "scarce": False,
        "floor": 1,
        "cap": 100_000,
        "capacity": 6_000,
        "weight": "1",
        "dead_band_up": 0.05,
        "dead_band_down": 0.2,
        "greatest_step_up": 2.0,
        "greatest_step_down": 0.5,
        "old_limit": None,
        "damped": 55,
        "least": 1,
        "old_burst": 0,
        "burst_bound_by": "period",
        "shape": "none",
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
    # c takes 20; 100 remain for weights 1 and 3
    assert requests(policy) == {"a": (25, "capacity"), "b": (75, "capacity"), "c": (20, "want")}
    assert limits(policy)["b", "requests"].evidence["weight"] == "3"


def test_nobody_has_less_than_the_floor_by_weight_when_the_capacity_carries_them(busy_minutes: Any) -> None:
    for tenant in ("a", "b"):
        release = busy_minutes(tenant, "requests", 200)
    policy = derived(release, headroom=1.0, capacity_requests=60, floor_requests=20, weights="b=19")
    assert requests(policy) == {"a": (20, "capacity"), "b": (40, "capacity")}


def test_of_a_capacity_below_the_floors_everyone_has_one_unit_at_least(busy_minutes: Any) -> None:
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
        ({"dead_band_down": 1.0}, "dead_band_down"),
        ({"dead_band_up": -0.1}, "dead_band_up"),
        ({"greatest_step_up": 1.0}, "greatest_step_up"),
        ({"greatest_step_down": 1.0}, "greatest_step_down"),
        ({"greatest_burst": 0.0}, "greatest_burst"),
        ({"suspended": "a,b c"}, "suspended"),
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


def in_force(**limits: int) -> Policy:
    """A policy with these limits of requests by tenant."""
    rates = tuple(
        Limit(tenant=tenant, scope=EVERYTHING, kind="requests", limit=limit, per_seconds=60, burst=limit, evidence={})
        for tenant, limit in limits.items()
    )
    return Policy(
        format=FORMAT,
        epoch=7,
        release=2,
        created_at=instant(HOUR),
        valid_from=instant(HOUR),
        expires_at=instant(AT),
        limits=rates,
        safe_capacity={kind: Rate(limit=60, per_seconds=60, burst=60) for kind in KINDS},
    )


@pytest.mark.parametrize(
    ("old", "want", "limit", "bound_by"),
    [
        (100, 105, 100, "dead_band"),
        (100, 106, 106, "want"),
        (100, 200, 200, "want"),
        (100, 201, 200, "step_up"),
        (100, 80, 100, "dead_band"),
        (100, 79, 79, "want"),
        (100, 50, 50, "want"),
        (100, 49, 50, "step_down"),
        (101, 1, 51, "step_down"),
        (100, 100, 100, "want"),
        (1, 2, 2, "want"),
        (2, 1, 1, "want"),
        (1, 9, 2, "step_up"),
    ],
)
def test_a_limit_stays_in_the_dead_band_and_else_moves_by_a_step_at_most(
    busy_minutes: Any, old: int, want: int, limit: int, bound_by: str
) -> None:
    policy = derived(busy_minutes("a", "requests", want), headroom=1.0, previous=in_force(a=old))
    assert requests(policy) == {"a": (limit, bound_by)}
    evidence = policy.limits[0].evidence
    assert (evidence["old_limit"], evidence["want"], evidence["damped"]) == (old, want, limit)


def test_a_step_is_never_exceeded_by_rounding_but_one_unit_is_no_step_too_far(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 50)
    steps = {"headroom": 1.0, "greatest_step_up": 1.3, "dead_band_up": 0.0}
    assert requests(derived(release, previous=in_force(a=9), **steps)) == {"a": (11, "step_up")}  # not 11.7
    assert requests(derived(release, previous=in_force(a=3), **steps)) == {"a": (4, "step_up")}  # not 3.9
    assert requests(derived(release, previous=in_force(a=2), **steps)) == {"a": (3, "step_up")}  # a unit
    down = {"headroom": 0.02, "greatest_step_down": 0.9, "dead_band_down": 0.0}
    assert requests(derived(release, previous=in_force(a=19), **down)) == {"a": (18, "step_down")}  # not 17.1
    assert requests(derived(release, previous=in_force(a=5), **down)) == {"a": (4, "step_down")}  # a unit


def test_a_limit_outside_of_a_new_floor_or_cap_does_not_stay_for_the_dead_band(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 100)
    assert requests(derived(release, cap_requests=95, previous=in_force(a=100))) == {"a": (95, "cap")}
    assert requests(derived(release, floor_requests=130, previous=in_force(a=126))) == {"a": (130, "floor")}
    assert requests(derived(release, cap_requests=10, previous=in_force(a=100))) == {"a": (50, "step_down")}


def test_an_old_limit_of_another_period_counts_at_its_rate(busy_minutes: Any) -> None:
    old = in_force(a=1)
    hourly = changed(old, limits=(changed(old.limits[0], limit=6_000, per_seconds=3_600, burst=6_000),))
    policy = derived(busy_minutes("a", "requests", 500), headroom=1.0, previous=hourly)
    assert requests(policy) == {"a": (200, "step_up")}


def test_who_had_no_limit_or_was_suspended_takes_no_step(busy_minutes: Any) -> None:
    busy_minutes("a", "requests", 500)
    release = busy_minutes("b", "requests", 500)
    old = in_force(a=1)
    stopped = changed(old, limits=(changed(old.limits[0], limit=0, burst=0, suspended=True),))
    policy = derived(release, headroom=1.0, previous=stopped)
    assert requests(policy) == {"a": (500, "want"), "b": (500, "want")}
    assert [limit.evidence["old_limit"] for limit in policy.limits] == [0, None]


def test_a_limit_of_one_model_is_not_the_limit_in_force(busy_minutes: Any) -> None:
    old = in_force(a=1)
    of_model = changed(old, limits=(changed(old.limits[0], scope=Scope(model="m", api_version="*")),))
    policy = derived(busy_minutes("a", "requests", 500), headroom=1.0, previous=of_model)
    assert requests(policy) == {"a": (500, "want")}


def test_scarce_capacity_leaves_everyone_what_a_step_leaves_and_shares_the_rest(busy_minutes: Any) -> None:
    for tenant in ("a", "b", "c"):
        release = busy_minutes(tenant, "requests", 500)
    policy = derived(release, headroom=1.0, capacity_requests=120, previous=in_force(a=120, b=10))
    # a keeps half of 120; b takes at most 20; c has what is left
    assert requests(policy) == {"a": (60, "capacity"), "b": (20, "step_up"), "c": (40, "capacity")}
    assert [limit.evidence["least"] for limit in policy.limits] == [60, 5, 1]


def test_less_capacity_than_steps_leave_is_shared_all_the_same(busy_minutes: Any) -> None:
    for tenant in ("a", "b"):
        release = busy_minutes(tenant, "requests", 500)
    policy = derived(release, capacity_requests=40, previous=in_force(a=100, b=20))
    assert requests(policy) == {"a": (20, "capacity"), "b": (20, "capacity")}


def test_a_share_that_moves_within_the_dead_band_stays_while_all_of_them_fit(busy_minutes: Any) -> None:
    for tenant in ("a", "b"):
        release = busy_minutes(tenant, "requests", 500)
    settled = derived(release, capacity_requests=120, previous=in_force(a=62, b=58))
    assert requests(settled) == {"a": (62, "dead_band"), "b": (58, "dead_band")}
    moving = derived(release, capacity_requests=120, previous=in_force(a=66, b=54))
    assert requests(moving) == {"a": (60, "capacity"), "b": (60, "capacity")}


def test_a_tenant_that_vanished_goes_down_by_steps_to_the_safe_capacity_and_is_left_out(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 40)
    policy = in_force(a=50, gone=250)
    seen = []
    for _ in range(5):
        policy = derived(release, previous=policy, safe_capacity_requests=40)
        seen.append(requests(policy).get("gone"))
    assert seen == [(125, "vanished"), (63, "vanished"), (40, "vanished"), None, None]


def test_a_tenant_without_history_has_no_limit_and_so_the_safe_capacity(busy_minutes: Any) -> None:
    policy = derived(busy_minutes("a", "requests", 40), previous=in_force(a=50))
    assert requests(policy).keys() == {"a"}
    assert policy.safe_capacity["requests"] == Rate(limit=60, per_seconds=60, burst=60)


def test_suspended_tenants_have_nothing_of_any_kind_and_take_no_share(busy_minutes: Any) -> None:
    for tenant in ("a", "b"):
        release = busy_minutes(tenant, "requests", 500)
    policy = derived(
        release, headroom=1.0, capacity_requests=300, suspended="b, unknown", previous=in_force(a=300, b=900)
    )
    found = limits(policy)
    assert found.keys() == {("a", "requests"), *((tenant, kind) for tenant in ("b", "unknown") for kind in KINDS)}
    assert requests(policy)["a"][0] == 300
    for (tenant, _), limit in found.items():
        if tenant != "a":
            assert (limit.limit, limit.burst, limit.suspended, limit.scope) == (0, 0, True, EVERYTHING)
            assert limit.evidence["bound_by"] == "suspended"
    assert found["b", "requests"].evidence["old_limit"] == 900


def weeks(release: Any, count: int, **demands: int) -> list[int]:
    """Hours of so many whole weeks from HOUR, a Monday; of tenant a minutes of weekdays at noon and of Saturdays."""
    for day in range(7 * count):
        demand = demands["weekday"] if day % 7 < 5 else demands["weekend"] if day % 7 == 5 else 0
        if demand:
            release.minute((day * 24 + 12) * 60, "a", "requests", demand)
            release.in_flight(day * 24 + 12, "a", demand // 10)
    return [HOUR + hour * 3_600_000 for hour in range(count * 168)]


def test_the_quantile_is_of_the_hours_of_the_week_in_which_the_policy_holds(release: Any) -> None:
    hours = weeks(release, 3, weekday=100, weekend=20)
    friday = HOUR + 26 * DAY  # its end
    saturday = derived(release, *hours, headroom=1.0, at=friday, policy_lifetime=DAY)
    found = limits(saturday)
    assert (found["a", "requests"].limit, found["a", "concurrency"].limit) == (20, 2)
    assert (found["a", "requests"].evidence["shape"], found["a", "requests"].evidence["active_minutes"]) == ("week", 3)
    assert (found["a", "concurrency"].evidence["shape"], found["a", "concurrency"].evidence["active_hours"]) == (
        "week",
        3,
    )
    assert found["a", "requests"].evidence["demand"] == 15 * 100 + 3 * 20
    reaching = derived(release, *hours, headroom=1.0, at=friday, policy_lifetime=2 * DAY + 13 * 3_600_000)
    assert requests(reaching)["a"] == (100, "want")


@pytest.mark.parametrize(
    ("settings", "missing"), [({"shape_weeks": 0}, 0), ({"shape_weeks": 4}, 0), ({}, 1)], ids=["off", "few", "a hole"]
)
def test_without_enough_weeks_of_every_hour_ahead_all_hours_count(
    release: Any, settings: dict[str, Any], missing: int
) -> None:
    hours = weeks(release, 3, weekday=100, weekend=20)
    holes = {HOUR + (5 * 24 + 3) * 3_600_000} if missing else set()
    policy = derived(
        release, *(hour for hour in hours if hour not in holes), at=HOUR + 26 * DAY, headroom=1.0, **settings
    )
    assert requests(policy)["a"] == (100, "want")
    assert limits(policy)["a", "requests"].evidence["shape"] == "none"


def test_a_tenant_that_sleeps_at_weekends_keeps_the_limit_of_its_weekdays(release: Any) -> None:
    hours = weeks(release, 3, weekday=100, weekend=0)
    policy = derived(release, *hours, at=HOUR + 26 * DAY, headroom=1.0)
    assert requests(policy)["a"] == (100, "want")
    assert limits(policy)["a", "requests"].evidence["shape"] == "none"


def spread(release: Any, count: int, at_once: int, **fields: Any) -> None:
    """A minute of tenant a with so many requests, so many at a time, and as many seconds between."""
    release.minute(0, "a", "requests", count)
    for number in range(count):
        release.event(f"e{number}", number // at_once * at_once, "ok", **fields)


def test_the_burst_is_the_envelope_of_the_demand_at_the_limit(release: Any) -> None:
    spread(release, 60, 5)
    found = limits(derived(release, headroom=1.0))["a", "requests"]
    # 60 a minute drains the five of each five seconds
    assert (found.limit, found.burst) == (60, 5)
    evidence = {name: found.evidence[name] for name in ("envelope", "greatest_cost", "burst_bound_by")}
    assert evidence == {"envelope": 5, "greatest_cost": 1, "burst_bound_by": "envelope"}


def test_a_burst_is_at_most_so_many_periods_worth_and_at_least_one(release: Any) -> None:
    spread(release, 60, 60)
    half = limits(derived(release, headroom=0.5, greatest_burst=0.55))["a", "requests"]
    assert (half.limit, half.burst, half.evidence["envelope"]) == (30, 16, 60)
    assert half.evidence["burst_bound_by"] == "greatest_burst"
    least = limits(derived(release, headroom=0.5, greatest_burst=0.001))["a", "requests"]
    assert least.burst == 1
    before = in_force(a=30)
    before = changed(before, limits=(changed(before.limits[0], burst=18),))
    above = limits(derived(release, headroom=0.5, greatest_burst=0.55, previous=before))["a", "requests"]
    assert (above.burst, above.evidence["burst_bound_by"]) == (16, "greatest_burst")  # 18 is in the dead band


@pytest.mark.parametrize(
    ("old", "burst", "bound_by"),
    [(19, 20, "envelope"), (20, 20, "envelope"), (25, 25, "dead_band"), (26, 20, "envelope"), (130, 20, "envelope")],
)
def test_a_burst_stays_in_the_dead_band_too(release: Any, old: int, burst: int, bound_by: str) -> None:
    spread(release, 60, 20)
    before = in_force(a=60)
    before = changed(before, limits=(changed(before.limits[0], burst=old),))
    found = limits(derived(release, headroom=1.0, previous=before))["a", "requests"]
    assert (found.limit, found.burst, found.evidence["burst_bound_by"]) == (60, burst, bound_by)
    assert found.evidence["old_burst"] == old


def test_the_greatest_request_fits_into_the_burst_however_low_the_rate(release: Any) -> None:
    for number in range(9):
        release.minute(number, "a", "tokens", 100)
    release.minute(10, "a", "tokens", 7_000)
    release.event("many", 0, "ok", total_tokens=7_000)
    release.event("more", 0, "ok", total_tokens=50)
    policy = {"headroom": 1.0, "quantile": 0.5, "floor_tokens": 1, "cap_tokens": 100}
    found = limits(derived(release, **policy))["a", "tokens"]
    assert (found.limit, found.burst, found.evidence["envelope"]) == (100, 7_000, 7_050)
    assert found.evidence["burst_bound_by"] == "greatest_cost"
    scarce = limits(derived(release, capacity_tokens=5_000, **policy))["a", "tokens"]
    assert (scarce.burst, scarce.evidence["burst_bound_by"]) == (5_000, "greatest_cost")


def test_a_limit_is_no_less_than_the_greatest_request_which_windows_would_never_let_through(release: Any) -> None:
    for number in range(9):
        release.minute(number, "a", "tokens", 100)
    release.minute(10, "a", "tokens", 7_000)
    release.event("served", 0, "ok", total_tokens=6_000)
    release.event("denied", 60, "denied", total_tokens=0, wanted_tokens=10**9, retry_of="served")
    found = limits(derived(release, headroom=1.0, quantile=0.5))["a", "tokens"]
    assert (found.limit, found.evidence["bound_by"], found.evidence["greatest_request"]) == (6_000, "request", 6_000)
    assert found.evidence["greatest_cost"] == 6_000  # not what somebody says that they want
    capped = limits(derived(release, headroom=1.0, quantile=0.5, cap_tokens=5_500))["a", "tokens"]
    assert (capped.limit, capped.evidence["bound_by"]) == (5_500, "cap")


def test_a_policy_does_not_expire_before_the_one_that_it_replaces(busy_minutes: Any) -> None:
    release = busy_minutes("a", "requests", 10)
    renewed = changed(derived(release), epoch=7, expires_at=instant(AT + 9 * DAY))
    assert derived(release, previous=renewed).expires_at == instant(AT + 9 * DAY)


def test_a_burst_has_the_headroom_too(release: Any) -> None:
    for number in range(4):
        release.minute(number, "a", "requests", 4)
        for place in range(4):
            release.event(f"e{number}-{place}", number * 60, "ok")
    found = limits(derived(release, headroom=1.5))["a", "requests"]
    assert (found.limit, found.evidence["envelope"], found.burst) == (6, 4, 6)


def test_a_burst_that_would_never_let_the_greatest_request_through_does_not_stay(release: Any) -> None:
    release.minute(0, "a", "tokens", 5_000)
    release.event("e", 0, "ok", total_tokens=5_000)
    before = in_force(a=1)
    before = changed(before, limits=(changed(before.limits[0], kind="tokens", limit=5_000, burst=4_990),))
    assert limits(derived(release, headroom=1.0, previous=before))["a", "tokens"].burst == 5_000


def test_concurrency_is_littles_law_where_a_limit_kept_it_from_being_seen(release: Any) -> None:
    release.minute(0, "a", "requests", 120, 6, 114, 114)
    for number in range(6):
        release.event(f"e{number}", number * 10, "ok", duration_ms=1_500.0)
    release.event("late", 59, "error", duration_ms=1_500.001)
    release.event("no", 59, "denied", duration_ms=90_000.0, retry_of="e0", wanted_tokens=1)
    release.in_flight(0, "a", 1)
    found = limits(derived(release, headroom=1.5))["a", "concurrency"]
    # 2 a second for 1.500001 s (rounded up from 1.50000014) are 3.000002 in flight; with half more 5
    assert (found.limit, found.burst) == (5, 5)
    evidence = ("quantile_value", "requests_quantile", "served", "mean_duration_us", "little", "want")
    assert [found.evidence[name] for name in evidence] == [1, 120, 7, 1_500_001, 3.0, 5]


def test_concurrency_is_the_peak_where_that_is_more_than_littles_law_says(release: Any) -> None:
    release.minute(0, "a", "requests", 60)
    release.event("e", 0, "ok", duration_ms=1_000.0)
    release.in_flight(0, "a", 8)
    found = limits(derived(release))["a", "concurrency"]
    assert (found.limit, found.evidence["little"], found.evidence["quantile_value"]) == (10, 1.0, 8)


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
