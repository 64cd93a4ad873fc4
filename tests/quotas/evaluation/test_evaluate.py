"""Is a quota any good: figures worked out by hand, and limits that never know the day they are judged on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_field

from quotaloop.errors import CheckRefused
from quotaloop.quotas.evaluation.baselines import METHODS, Known, Method, as_they_were, equal_split, weekly_p99
from quotaloop.quotas.evaluation.enforced import DAY_MS, Minutes, first_come, minutes, read_day, under_policy
from quotaloop.quotas.evaluation.evaluate import FIRST_COME, Evaluation, evaluate, walk
from quotaloop.quotas.evaluation.figures import Figures, Judged, Totals, add_day, carriable, fair_shares, jain
from quotaloop.quotas.policy import EVERYTHING, FORMAT, KINDS, Kind, Limit, Policy, Rate, Scope, instant
from quotaloop.quotas.target import Target
from quotaloop.quotas.trial.replay import Longs
from quotaloop.settings import Settings
from tests.quotas.conftest import HOUR, Release

WINDOWS = Target({"requests": "fixed_window", "tokens": "fixed_window", "concurrency": "concurrency"})
DAY_MINUTES = 1_440
SETTINGS = Settings(capacity_requests=10, capacity_tokens=1_000, safe_capacity_requests=5, safe_capacity_tokens=500)


def longs(*rows: Sequence[int]) -> Longs:
    """A row a tenant, a column a minute."""
    return np.array(rows, dtype=np.int64)


def day_of(demand: Longs, admitted: Longs, refused: Longs) -> Minutes:
    """All that is unmet was refused by the limit of a rate."""
    return Minutes(demand, admitted, refused, refused)


def figures_of(tenants: str, capacity: Mapping[Kind, int], days: Mapping[Kind, Minutes]) -> dict[Kind, Figures]:
    """Of one day, tenants with one letter each."""
    fair = {kind: fair_shares(day.demand, tuple(tenants), {}, capacity[kind]) for kind, day in days.items()}
    totals = {kind: Totals() for kind in days}
    add_day(totals, Judged(tuple(tenants), days, fair, capacity))
    return {kind: of_kind.figures() for kind, of_kind in totals.items()}


def requests_of(tenants: str, capacity: int, demand: Longs, admitted: Longs, refused: Longs) -> Figures:
    """As ``figures_of``, of requests alone."""
    return figures_of(tenants, {"requests": capacity}, {"requests": day_of(demand, admitted, refused)})["requests"]


def test_minutes_over_capacity_and_how_much() -> None:
    demand = longs([6, 6, 4], [5, 4, 9])
    found = requests_of("ab", 10, demand, demand, longs([0, 0, 0], [0, 0, 0]))
    assert (found.minutes_over, found.over) == (2, 1 + 3)
    assert (found.demand, found.denied, found.jain, found.worst_tenant) == (34, 0, None, None)


def test_what_is_denied_counts_up_to_the_capacity_that_was_left() -> None:
    demand, refused = longs([8, 8, 8], [1, 1, 9]), longs([5, 0, 3], [0, 1, 4])
    found = requests_of("ab", 10, demand, demand - refused, refused)
    assert found.denied == 13
    assert found.denied_while_free == 5 + 1 + 0  # 4, 8 and 10 were admitted
    assert found.denied_while_free_share == 6 / 35


def test_a_minute_that_is_over_its_capacity_has_nothing_left() -> None:
    found = requests_of("ab", 10, longs([12], [3]), longs([12], [0]), longs([0], [3]))
    assert (found.minutes_over, found.over, found.denied_while_free) == (1, 2, 0)


def test_room_is_what_the_scarcest_kind_leaves() -> None:
    refused: dict[Kind, Longs] = {"requests": longs([4, 4, 4, 0]), "tokens": longs([100, 100, 100, 0])}
    free: dict[Kind, Longs] = {"requests": longs([2, 9, 3, 0]), "tokens": longs([100, 30, 60, 0])}
    found = carriable(refused, free)
    assert found["requests"].tolist() == [[2, 1, 2, 0]]  # a half; 30 %, of 4 rounded down; 60 %, as 75 % is more
    assert found["tokens"].tolist() == [[50, 30, 60, 0]]


def test_room_is_exact_where_products_do_not_fit_64_bits() -> None:
    huge = 2**40
    refused: dict[Kind, Longs] = {"tokens": longs([huge]), "compute": longs([huge])}
    found = carriable(refused, {"tokens": longs([huge]), "compute": longs([huge // 2])})
    assert found["tokens"].tolist() == [[huge // 2]]


def test_what_is_denied_to_those_within_their_share() -> None:
    demand, refused = longs([3, 9], [20, 9]), longs([2, 4], [5, 0])
    found = requests_of("ab", 10, demand, demand - refused, refused)
    assert found.denied_within_share == 2  # 3 is a's share of the first minute; in the second each has 5 and wants more


def test_to_be_within_the_share_is_to_be_within_that_of_every_kind() -> None:
    demand, refused = longs([3], [3]), longs([1], [1])
    requests = day_of(demand, demand - refused, refused)
    tokens = day_of(longs([900], [300]), longs([600], [200]), longs([300], [100]))
    found = figures_of("ab", {"requests": 10, "tokens": 1_000}, {"requests": requests, "tokens": tokens})
    assert [found["requests"].denied_within_share, found["tokens"].denied_within_share] == [1, 100]  # b alone


def test_fair_shares_are_the_demand_until_capacity_is_short() -> None:
    demand = longs([1, 2, 0], [4, 9, 0], [5, 9, 12])
    assert fair_shares(demand, "abc", {}, 10).tolist() == [[1, 2, 0], [4, 4, 0], [5, 4, 10]]
    assert fair_shares(demand, "abc", {"c": Fraction(3)}, 10).tolist() == [[1, 2, 0], [4, 2, 0], [5, 6, 10]]


def test_jains_index_of_known_shares() -> None:
    assert (jain([1, 1, 1, 1]), jain([1, 0, 0, 0]), jain([3, 1]), jain([])) == (1.0, 0.25, 16 / 20, None)


def test_jains_index_is_of_served_over_fair_of_those_that_were_short() -> None:
    demand, refused = longs([8, 1], [8, 1], [1, 1]), longs([2, 0], [6, 0], [0, 0])
    found = requests_of("abc", 9, demand, demand - refused, refused)
    assert found.jain == jain([6, 2])  # of a fair share of 4 each; c was not short


def test_the_worst_tenant_is_the_one_that_capacity_would_have_carried() -> None:
    demand, refused = longs([9, 0], [1, 1], [0, 2]), longs([4, 0], [0, 1], [0, 1])
    found = requests_of("abc", 10, demand, demand - refused, refused)
    assert (found.worst_tenant, found.worst_share) == ("b", 0.5)
    assert requests_of("ab", 0, longs([1], [1]), longs([0], [0]), longs([1], [1])).worst_tenant is None


def test_change_is_what_moved_over_what_was_for_those_with_both() -> None:
    totals = Totals()
    totals.add_change({"a": 10, "b": 30, "gone": 7}, {"a": 16, "b": 28, "new": 9})
    totals.add_change({"a": 16}, {"a": 16})
    assert totals.figures().change == 8 / 56
    assert Totals().figures().change is None


def policy(limits: Mapping[tuple[str, Kind], int], known: Known | None = None, safe: int = 1_000) -> Policy:
    """So much a minute."""
    return Policy(
        format=FORMAT,
        epoch=known.previous.epoch + 1 if known and known.previous else 1,
        release=1,
        created_at=instant(HOUR),
        valid_from=instant(HOUR),
        expires_at=instant(HOUR + DAY_MS),
        limits=tuple(_limit(tenant, kind, amount) for (tenant, kind), amount in limits.items()),
        safe_capacity={kind: Rate(limit=safe, per_seconds=60, burst=safe) for kind in KINDS},
    )


def _limit(tenant: str, kind: Kind, amount: int) -> Limit:
    return Limit(tenant=tenant, scope=EVERYTHING, kind=kind, limit=amount, per_seconds=60, burst=amount, evidence={})


def amounts(found: Longs) -> list[list[int]]:
    """The first three minutes; nothing is in any other."""
    assert not found[:, 3:].any()
    kept: list[list[int]] = found[:, :3].tolist()
    return kept


def test_a_chain_is_wanted_once_where_it_began(release: Release) -> None:
    release.event("1", 1, "denied", wanted_tokens=50)
    release.event("2", 61, "ok", total_tokens=40, retry_of="1")
    release.event("3", 62, "ok", total_tokens=30)
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    passing = under_policy(day, policy({("a", "requests"): 5}), WINDOWS)
    tokens = minutes(day, passing, "tokens", WINDOWS)
    assert amounts(tokens.demand) == [[40, 30, 0]]
    assert amounts(tokens.admitted) == [[50, 30, 0]]  # the retry was never sent
    assert not tokens.unmet.any()


def test_what_passes_later_is_admitted_there_and_not_unmet(release: Release) -> None:
    for second in (0, 1):
        release.event(f"{second}", second, "ok", total_tokens=10)
    release.event("late", 61, "ok", total_tokens=20, retry_of="1")
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    one_a_minute = under_policy(day, policy({("a", "requests"): 1}), WINDOWS)
    requests = minutes(day, one_a_minute, "requests", WINDOWS)
    assert (amounts(requests.demand), amounts(requests.admitted)) == ([[2, 0, 0]], [[1, 1, 0]])
    assert not requests.unmet.any()


def test_of_a_chain_that_was_admitted_twice_the_first_counts(release: Release) -> None:
    release.event("1", 1, "denied", wanted_tokens=50)
    release.event("2", 2, "ok", total_tokens=20, retry_of="1")
    release.event("3", 3, "ok", total_tokens=30, retry_of="1")
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    tokens = minutes(day, under_policy(day, policy({}), WINDOWS), "tokens", WINDOWS)
    assert amounts(tokens.demand) == [[20, 0, 0]]


def test_what_no_attempt_of_a_chain_gets_is_unmet_where_it_began(release: Release) -> None:
    release.event("0", 0, "ok", total_tokens=10)
    release.event("1", 1, "denied", wanted_tokens=7)
    release.event("2", 2, "denied", wanted_tokens=7, retry_of="1")
    release.event("b", 3, "ok", total_tokens=900, tenant="b")
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    answers = under_policy(day, policy({("a", "requests"): 1}, safe=899), WINDOWS)
    tokens = minutes(day, answers, "tokens", WINDOWS)
    assert amounts(tokens.demand) == [[17, 0, 0], [900, 0, 0]]
    assert amounts(tokens.admitted) == [[10, 0, 0], [0, 0, 0]]
    assert amounts(tokens.unmet) == amounts(tokens.refused) == [[7, 0, 0], [900, 0, 0]]  # b by the safe capacity


def test_what_concurrency_refuses_is_unmet_but_not_for_lack_of_a_rate(release: Release) -> None:
    for second in (0, 1):
        release.event(f"{second}", second, "ok", duration_ms=5_000.0)
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    requests = minutes(day, under_policy(day, policy({("a", "concurrency"): 1}), WINDOWS), "requests", WINDOWS)
    assert (amounts(requests.unmet), amounts(requests.refused)) == ([[1, 0, 0]], [[0, 0, 0]])


def test_first_come_first_served_is_all_tenants_under_one_counter_a_minute(release: Release) -> None:
    for name, tenant, second in (("1", "b", 1), ("2", "a", 2), ("3", "a", 58), ("4", "b", 59), ("5", "a", 60)):
        release.event(name, second, "ok", tenant=tenant, total_tokens=10)
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    answers = first_come(day, {"requests": 3, "tokens": 1_000, "concurrency": 9}, WINDOWS)
    requests = minutes(day, answers, "requests", WINDOWS)
    assert day.tenants == ("a", "b")
    assert (amounts(requests.admitted), amounts(requests.refused)) == ([[2, 1, 0], [1, 0, 0]], [[0, 0, 0], [1, 0, 0]])
    tokens = minutes(day, first_come(day, {"requests": 9, "tokens": 25, "concurrency": 9}, WINDOWS), "tokens", WINDOWS)
    assert amounts(tokens.admitted) == [[10, 10, 0], [10, 0, 0]]


def test_first_come_first_served_keeps_the_chains_of_every_tenant_apart(release: Release) -> None:
    for tenant in "ab":
        release.event(f"{tenant}1", 1, "denied", tenant=tenant, wanted_tokens=5)
        release.event(f"{tenant}2", 2, "ok", tenant=tenant, total_tokens=5, retry_of=f"{tenant}1")
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    answers = first_come(day, {"requests": 1, "tokens": 1_000, "concurrency": 9}, WINDOWS)
    requests = minutes(day, answers, "requests", WINDOWS)
    assert amounts(requests.demand) == [[1, 0, 0], [1, 0, 0]]
    assert amounts(requests.admitted) == [[1, 0, 0], [0, 0, 0]]  # a's retry is not sent, b's is in vain
    assert amounts(requests.refused) == [[0, 0, 0], [1, 0, 0]]


def test_limits_of_single_models_are_refused(release: Release) -> None:
    release.event("1", 1, "ok")
    day = read_day(release.connection, HOUR, [HOUR], WINDOWS)
    of_model = replace_scope(policy({("a", "requests"): 5}))
    with pytest.raises(ValueError, match="single models"):
        under_policy(day, of_model, WINDOWS)


def replace_scope(whole: Policy) -> Policy:
    """The same limits for one model."""
    scope = Scope(model="m", api_version="*")
    return with_field(whole, limits=tuple(with_field(limit, scope=scope) for limit in whole.limits))


def busiest_minute(known: Known) -> Policy:
    """The most that each tenant asked for in a minute that is known."""
    rows = known.connection.execute(
        "SELECT tenant, max(demand) FROM demand_minutely WHERE kind = 'requests'"
        " AND epoch_ms(minute) // 3600000 * 3600000 IN (SELECT unnest($hours::BIGINT[])) GROUP BY tenant",
        {"hours": list(known.hours)},
    ).fetchall()
    if not rows:
        raise CheckRefused("nothing is known")
    return policy({(tenant, "requests"): most for tenant, most in rows}, known)


@pytest.fixture
def growing(release: Release) -> Release:
    """Tenant a asks 2 requests in the first minute of the first day, 4 of the second, 8 of the third."""
    for day, count in enumerate((2, 4, 8)):
        release.minute(day * DAY_MINUTES, "a", "requests", count)
        for number in range(count):
            release.event(f"{day}-{number}", day * 86_400 + number, "ok", total_tokens=1)
    return release


HOURS = [HOUR + day * DAY_MS for day in range(3)]


def evaluated(release: Release, methods: Mapping[str, Method], **changed: Any) -> Evaluation:
    """Over all hours that there are."""
    arguments: dict[str, Any] = {"hours": HOURS, "settings": SETTINGS, "target": WINDOWS} | changed
    return evaluate(release.connection, methods=methods, **arguments)


def test_a_day_is_judged_on_limits_that_know_only_the_days_before(growing: Release) -> None:
    found = evaluated(growing, {"busiest": busiest_minute})
    assert (found.days, found.tenants) == (("2026-03-03", "2026-03-04"), 1)
    of_requests = found.methods["busiest"]["requests"]
    assert (of_requests.demand, of_requests.denied, of_requests.denied_while_free) == (12, 2 + 4, 6)
    assert of_requests.change == (4 - 2) / 2
    assert (found.methods[FIRST_COME]["requests"].denied, found.capacity["requests"]) == (0, 10)


def test_nothing_of_the_day_or_after_it_moves_its_limits(growing: Release) -> None:
    def limits() -> list[tuple[int, int]]:
        steps = walk(growing.connection, hours=HOURS, settings=SETTINGS, methods={"busiest": busiest_minute})
        return [(step.day_ms, step.policies["busiest"].limits[0].limit) for step in steps]

    assert limits() == [(HOURS[1], 2), (HOURS[2], 4)]
    growing.minute(2 * DAY_MINUTES + 5, "a", "requests", 1_000)
    assert limits() == [(HOURS[1], 2), (HOURS[2], 4)]


def test_every_method_sees_its_own_policy_of_the_day_before(growing: Release) -> None:
    seen: list[tuple[str, tuple[int, ...], int | None]] = []

    def telling(name: str, amount: int) -> Method:
        def method(known: Known) -> Policy:
            seen.append((name, known.hours, known.previous.limits[0].limit if known.previous else None))
            return policy({("a", "requests"): amount}, known)

        return method

    list(walk(growing.connection, hours=HOURS, settings=SETTINGS, methods={"x": telling("x", 1), "y": telling("y", 2)}))
    first, both = tuple(HOURS[:1]), tuple(HOURS[:2])
    assert seen == [("x", first, None), ("y", first, None), ("x", both, 1), ("y", both, 2)]


def test_a_method_that_refuses_keeps_its_limits_and_without_any_the_day_is_not_judged(growing: Release) -> None:
    def once(known: Known) -> Policy:
        if len(known.hours) != 2:
            raise CheckRefused("no")
        return policy({("a", "requests"): 3}, known)

    hours = [*HOURS, HOUR + 3 * DAY_MS]
    steps = list(walk(growing.connection, hours=hours, settings=SETTINGS, methods={"once": once, "b": busiest_minute}))
    assert [(step.day_ms, step.policies["once"].epoch) for step in steps] == [(hours[2], 1), (hours[3], 1)]


def test_one_day_alone_cannot_be_judged(growing: Release) -> None:
    with pytest.raises(CheckRefused, match="two UTC days"):
        evaluated(growing, {"busiest": busiest_minute}, hours=HOURS[:1])


def test_all_methods_are_judged_on_the_same_demand_and_the_result_is_json(growing: Release) -> None:
    found = evaluated(growing, METHODS)
    assert set(found.methods) == {*METHODS, FIRST_COME}
    assert {of_method["requests"].demand for of_method in found.methods.values()} == {12}
    assert json.loads(json.dumps(asdict(found)))["methods"]["ours"]["tokens"]["demand"] == 12


def known(release: Release, hours: Sequence[int], day_ms: int) -> Known:
    """Without limits so far."""
    return Known(release.connection, tuple(hours), day_ms, SETTINGS, None)


def given(found: Policy, kind: Kind) -> dict[str, int]:
    """Limits by tenant."""
    return {limit.tenant: limit.limit for limit in found.limits if limit.kind == kind}


def test_the_split_is_equal_among_those_seen_so_far(release: Release) -> None:
    for tenant in "abc":
        release.minute(0, tenant, "requests", 1)
    release.minute(60, "later", "requests", 1)
    found = equal_split(known(release, [HOUR], HOUR + DAY_MS))
    assert given(found, "requests") == dict.fromkeys("abc", 3)
    assert given(found, "tokens") == dict.fromkeys("abc", 333)
    assert found.safe_capacity["requests"].limit == 5


def test_limits_by_hand_are_last_weeks_99th_percentile_times_1_2(release: Release) -> None:
    for number in range(200):
        release.minute(number, "a", "requests", number + 51, number + 1, 50, 50)  # admitted: 1 to 200
    release.minute(201, "a", "requests", 9, 0, 9, 9)
    release.in_flight(0, "a", 7)
    hours = [HOUR + number * 3_600_000 for number in range(4)]
    found = weekly_p99(known(release, hours, HOUR + DAY_MS))
    assert given(found, "requests") == {"a": 238}  # the 198th of 200, and 1.2 * 198 = 237.6
    assert given(found, "concurrency") == {"a": 9}
    later = weekly_p99(known(release, hours, HOUR + 7 * DAY_MS + 3_600_000))
    assert given(later, "requests") == {"a": 239}  # the first hour is out: of 140 minutes the 139th, 199
    assert given(later, "concurrency") == {}


def test_limits_that_are_left_are_the_first(growing: Release) -> None:
    before = policy({("a", "requests"): 3})
    assert as_they_were(replace(known(growing, HOURS[:1], HOURS[1]), previous=before)) is before
