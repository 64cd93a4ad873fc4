"""Limits that make the logs that the next limits are derived from, for weeks: what comes of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise

import pyarrow as pa
import pytest
from msgspec.structs import replace as changed

from quotaloop.limiter.token_bucket import TokenBucket
from quotaloop.quotas.derivation.derive import derive
from quotaloop.quotas.fair_share import weighted_max_min
from quotaloop.quotas.policy import Kind, Limit, Policy, check_push
from quotaloop.settings import Settings
from tests.quotas.conftest import HOUR as START
from tests.quotas.conftest import Release

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
TOKENS, DURATION_MS = 100, 4_000  # of every request
HOURS = range(0, 24, 6)  # of a day, in which there is a minute with demand


@dataclass(frozen=True, slots=True)
class Tenant:
    """Requests that it has to make in a busy minute of that day and hour, and how often it repeats a denied one."""

    name: str
    asks: Callable[[int, int], int]
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request under way, or once more."""

    at_ms: int
    root: int
    number: int
    passed: bool


def minute_of(tenant: Tenant, begin_ms: int, asked: int, bucket: TokenBucket) -> list[Attempt]:
    """What becomes of requests that come evenly over a minute, and a second later once more."""
    attempts, state = [], bucket.forward(bucket.empty(), begin_ms)
    coming = [(begin_ms + number * MINUTE // asked, number, 0) for number in range(asked)]
    heapify(coming)
    while coming:
        at_ms, root, number = heappop(coming)
        state = bucket.forward(state, at_ms)
        passed = bucket.fits(state, 1)
        attempts.append(Attempt(at_ms, root, number, passed))
        if passed:
            state = bucket.charge(state, 1)
        elif number < tenant.retries:
            heappush(coming, (at_ms + 1_000, root, number + 1))
    return attempts


def in_force(policy: Policy | None, tenant: str, kind: Kind) -> tuple[int, int]:
    """Limit and burst; of a tenant without one the safe capacity."""
    for limit in policy.limits if policy else ():
        if (limit.tenant, limit.kind) == (tenant, kind):
            return limit.limit, limit.burst
    safe = Settings().safe_capacity_requests
    return safe, safe


class Loop:
    """A release that grows by a day a cycle under the policy of the cycle before."""

    def __init__(self, tenants: Sequence[Tenant], settings: Settings, first: Policy | None = None) -> None:
        self.release, self.tenants, self.settings = Release(), tenants, settings
        self.policies: list[Policy] = [first] if first else []
        self.throttle: int | None = None
        self.day = 0

    def cycle(self) -> None:
        """A day goes by under the newest policy; the next is derived."""
        self.pass_day()
        self.policies.append(self.derive(self.policies[-1] if self.policies else None))

    def pass_day(self) -> None:
        """A day's logs under the newest policy."""
        minutes, peaks, events = [], [], []
        for tenant in self.tenants:
            limit, burst = in_force(self.policies[-1] if self.policies else None, tenant.name, "requests")
            if self.throttle is not None:
                limit = burst = self.throttle
            for hour in HOURS:
                begin_ms = START + self.day * DAY + hour * HOUR + 30 * MINUTE
                asked = tenant.asks(self.day, hour)
                if not asked:
                    continue
                attempts = minute_of(tenant, begin_ms, asked, TokenBucket(limit, MINUTE, burst))
                minutes += _minutes(tenant.name, begin_ms, asked, attempts)
                peaks.append(_peak(tenant.name, begin_ms, attempts))
                events += [_event(tenant.name, begin_ms, attempt) for attempt in attempts]
        for table, rows in (("minutes_written", minutes), ("usage_written", peaks), ("attempts_written", events)):
            if rows:
                new = pa.Table.from_pylist(rows)
                self.release.connection.register("new", new)
                self.release.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM new")
            begin_ms = START + (self.day + 1) * DAY - self.settings.quota_span
            time = {"usage_written": "hour_ms", "attempts_written": "ts_ms"}.get(table, "minute_ms")
            self.release.connection.execute(f"DELETE FROM {table} WHERE {time} < {begin_ms}")
        self.day += 1

    def derive(self, previous: Policy | None) -> Policy:
        """From all whole days so far."""
        end = START + self.day * DAY
        hours = range(max(START, end - self.settings.quota_span), end, HOUR)
        policy = derive(
            self.release.connection,
            hours=hours,
            release=self.day,
            settings=self.settings,
            previous=previous,
            as_of_ms=end,
        )
        check_push(policy, previous)
        return policy

    def limits(self, tenant: str, kind: Kind = "requests") -> list[int | None]:
        """Of each cycle, None where there is none."""
        of_policies = [{(one.tenant, one.kind): one.limit for one in policy.limits} for policy in self.policies]
        return [found.get((tenant, kind)) for found in of_policies]


def _minutes(tenant: str, begin_ms: int, asked: int, attempts: Sequence[Attempt]) -> Iterator[Mapping[str, object]]:
    served = {attempt.root for attempt in attempts if attempt.passed}
    for minute_ms in sorted({attempt.at_ms // MINUTE * MINUTE for attempt in attempts}):
        here = [attempt for attempt in attempts if attempt.at_ms // MINUTE * MINUTE == minute_ms]
        is_first = minute_ms == begin_ms
        passed = sum(attempt.passed for attempt in here)
        counts = (asked * is_first, passed, len(here) - passed, (asked - len(served)) * is_first)
        for kind, each in (("requests", 1), ("tokens", TOKENS)):
            amounts = zip(("demand", "admitted", "denied", "unmet"), (count * each for count in counts), strict=True)
            yield {"minute_ms": minute_ms, "tenant": tenant, "model": "m", "kind": kind, **dict(amounts)}


def _peak(tenant: str, begin_ms: int, attempts: Sequence[Attempt]) -> Mapping[str, object]:
    times = [attempt.at_ms for attempt in attempts if attempt.passed]
    most = max((place + 1 - bisect_left(times, at - DURATION_MS + 1) for place, at in enumerate(times)), default=0)
    usage = {"kind": "concurrency", "demand": most, "admitted": most, "denied": 0}
    return {"hour_ms": begin_ms // HOUR * HOUR, "tenant": tenant, **usage}


def _event(tenant: str, begin_ms: int, attempt: Attempt) -> Mapping[str, object]:
    root = f"{tenant}-{begin_ms}-{attempt.root}"
    return {
        "event_id": f"{root}-{attempt.number}" if attempt.number else root,
        "ts_ms": attempt.at_ms,
        "tenant": tenant,
        "route": "/r",
        "model": "m",
        "api_version": "v1",
        "outcome": "ok" if attempt.passed else "denied",
        "retry_of": root if attempt.number else None,
        "wanted_tokens": None if attempt.passed else TOKENS,
        "total_tokens": TOKENS if attempt.passed else 0,
        "gpu_ms": 0.0,
        "duration_ms": float(DURATION_MS if attempt.passed else 1),
    }


CAPACITY = 600
CYCLES = 40
WAVE = (10, 38, 50, 38)


@pytest.fixture(scope="module")
def mixed() -> Loop:
    """Everything at once, on a capacity that is scarce."""
    tenants = [
        Tenant("steady", lambda _day, _hour: 60),
        Tenant("noisy", lambda day, hour: 36 + (17 * day + 5 * hour) % 9),
        Tenant("wave", lambda _day, hour: WAVE[hour // 6]),
        Tenant("weekly", lambda day, _hour: 50 if day % 7 < 5 else 10),
        Tenant("growing", lambda day, _hour: round(20 * 1.03**day)),
        Tenant("flash", lambda day, _hour: 300 if day in (12, 13) else 10),
        Tenant("greedy", lambda _day, _hour: 200, retries=1),
        Tenant("visitor", lambda day, _hour: 90 if 5 <= day < 15 else 0),
        Tenant("throttled", lambda _day, _hour: 80),
    ]
    loop = Loop(tenants, replace(Settings(), capacity_requests=CAPACITY, quota_span=7 * DAY))
    loop.pass_day()
    first = loop.derive(None)
    (hard,) = (one for one in first.limits if (one.tenant, one.kind) == ("throttled", "requests"))
    loop.policies.append(changed(first, limits=(changed(hard, limit=5, burst=5),)))
    for _ in range(CYCLES):
        loop.cycle()
    return loop


def requests(policy: Policy) -> dict[str, Limit]:
    """Of each tenant."""
    return {limit.tenant: limit for limit in policy.limits if limit.kind == "requests"}


def turns(limits: Sequence[int | None]) -> int:
    """How often a limit that rose then fell, or the other way about."""
    there = [limit for limit in limits if limit is not None]
    moves = [now > before for before, now in pairwise(there) if now != before]
    return sum(now != before for before, now in pairwise(moves))


def test_limits_together_never_exceed_the_capacity(mixed: Loop) -> None:
    for policy in mixed.policies:
        for kind in ("requests", "tokens", "concurrency"):
            capacity = getattr(mixed.settings, f"capacity_{kind}")
            assert sum(limit.limit for limit in policy.limits if limit.kind == kind) <= capacity


def test_no_limit_takes_more_than_a_step_while_capacity_carries_the_steps(mixed: Loop) -> None:
    for before, after in pairwise(mixed.policies):
        for tenant, old in requests(before).items():
            if tenant in requests(after):
                assert math.ceil(old.limit / 2) <= requests(after)[tenant].limit <= 2 * old.limit


def test_nobody_starves(mixed: Loop) -> None:
    """Within four cycles everyone has the max-min share of the capacity, or what they want, but for the dead band."""
    fair = [
        weighted_max_min({name: one.evidence["want"] for name, one in requests(policy).items()}, {}, CAPACITY)
        for policy in mixed.policies[1:]
    ]
    checked = 0
    for tenant in mixed.tenants:
        for place in range(6, len(fair)):
            due = [shares.get(tenant.name, 0) for shares in fair[place - 3 : place + 1]]
            if tenant.name not in ("flash", "visitor") and min(due):
                limit = requests(mixed.policies[place + 1])[tenant.name].limit
                assert (limit + 1) * 1.05 >= min(due), (tenant.name, place)
                checked += 1
    assert checked > 200


def test_who_was_throttled_hard_from_the_start_gets_what_it_asks_for_by_steps(mixed: Loop) -> None:
    limits = mixed.limits("throttled")
    assert limits[:5] == [5, 10, 20, 40, 80]
    assert all(limit is not None and limit >= 90 for limit in limits[5:])  # of 100, as far as capacity goes


def test_a_newcomer_has_its_fair_share_at_once(mixed: Loop) -> None:
    arrived = requests(mixed.policies[6])
    assert arrived["visitor"].limit >= arrived["greedy"].limit - 1


def test_growth_is_followed(mixed: Loop) -> None:
    limits = mixed.limits("growing")
    for day, limit in enumerate(limits[1:], start=1):
        assert limit is not None
        assert 20 * 1.03**day <= limit <= 1.25 * 20 * 1.03**day + 2
    assert turns(limits) == 0


def test_a_flash_crowd_raises_a_limit_by_steps_and_it_comes_down_once_it_is_out_of_the_span(mixed: Loop) -> None:
    limits = mixed.limits("flash")
    most = max(limit for limit in limits if limit)
    assert limits[1] == limits[11] == 13
    assert 13 < most <= 13 * 2 * 2
    afterwards = limits[12 + 1 + 7 + 1 :]
    assert afterwards == afterwards[:1] * len(afterwards)
    assert 13 <= afterwards[0] <= 16  # in the dead band: 16 less a fifth
    assert turns(limits) <= 1


def test_a_tenant_that_left_is_taken_back_and_forgotten(mixed: Loop) -> None:
    limits = mixed.limits("visitor")
    assert limits[:5] == [None] * 5
    assert limits[-1] is None
    last = max(place for place, limit in enumerate(limits) if limit)
    assert last <= 15 + 7 + 2
    assert limits[last] == Settings().safe_capacity_requests


def test_demand_that_does_not_change_has_limits_that_do_not(mixed: Loop) -> None:
    for tenant in ("steady", "noisy", "wave", "weekly"):
        assert len(set(mixed.limits(tenant)[2:])) == 1
    for tenant in mixed.tenants:
        assert turns(mixed.limits(tenant.name)) <= 2, tenant.name
        assert turns(mixed.limits(tenant.name, "concurrency")) <= 2, tenant.name


def test_scarce_limits_settle_and_stay() -> None:
    tenants = [
        Tenant("greedy", lambda _day, _hour: 150, retries=1),
        Tenant("modest", lambda day, hour: 18 + (7 * day + hour) % 5),
        Tenant("noisy", lambda day, hour: 70 + (31 * day + 11 * hour) % 21),
        Tenant("heavy", lambda _day, _hour: 90),
    ]
    settings = replace(Settings(), capacity_requests=200, quota_span=3 * DAY, weights="heavy=2")
    loop = Loop(tenants, settings)
    for _ in range(40):
        loop.cycle()
    for tenant in tenants:
        limits = loop.limits(tenant.name)
        assert len(set(limits[5:])) == 1, (tenant.name, limits)
        assert turns(limits) <= 1
        bursts = [requests(policy)[tenant.name].burst for policy in loop.policies[10:]]
        assert len(set(bursts)) <= 2, (tenant.name, bursts)


def test_throttling_does_not_shrink_the_next_limits() -> None:
    tenants = [
        Tenant("a", lambda day, hour: 60 + (day + hour) % 7, retries=1),
        Tenant("b", lambda _day, hour: WAVE[hour // 6], retries=3),
    ]
    free, strict = (Loop(tenants, Settings()) for _ in range(2))
    free.throttle, strict.throttle = 1_000, 6
    for _ in range(3):
        free.pass_day()
        strict.pass_day()
    was = {(limit.tenant, limit.kind): limit for limit in free.derive(None).limits}
    found = {(limit.tenant, limit.kind): limit for limit in strict.derive(None).limits}
    assert found["a", "requests"].evidence["denied"] > found["a", "requests"].evidence["admitted"]
    assert found.keys() == was.keys()
    for key, limit in found.items():
        if key[1] == "concurrency":  # counted as slots while free, by Little's law while throttled
            assert was[key].limit * 0.8 <= limit.limit <= was[key].limit
        else:
            assert (limit.limit, limit.burst) == (was[key].limit, was[key].burst)


def test_weekends_take_nothing_away_from_a_tenant_of_weekdays() -> None:
    """2026-03-02 was a Monday."""
    tenants = [
        Tenant("weekdays", lambda day, _hour: 40 if day % 7 < 5 else 0),
        Tenant("less", lambda day, _hour: 40 if day % 7 < 5 else 8),
    ]
    loop = Loop(tenants, replace(Settings(), floor_requests=1))
    for _ in range(28):
        loop.pass_day()
    for _ in range(14):
        loop.cycle()
    assert set(loop.limits("weekdays")) == {50}
    # limits of the ends of days; the two days ahead are a weekend on Friday's alone, and reach Monday on Saturday's
    week = loop.limits("less")[-7:]
    assert week == [50, 50, 50, 50, 25, 50, 50]
