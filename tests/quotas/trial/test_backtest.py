"""A policy on history: which limits hold for which attempts, what is counted, and the limiter's own decisions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from quotaloop.errors import CheckRefused
from quotaloop.limiter import Limiter, MemoryStore
from quotaloop.quotas.policy import EVERYTHING, FORMAT, KINDS, Kind, Limit, Policy, Rate, Scope, instant
from quotaloop.quotas.target import OURS, Manner, Target
from quotaloop.quotas.trial.backtest import TRIED, summed, tried
from quotaloop.quotas.trial.history import History, histories
from quotaloop.quotas.trial.replay import PASSED
from tests.quotas.conftest import HOUR, Release

WINDOWS = Target({"requests": "fixed_window", "tokens": "fixed_window"})


def limit(tenant: str, kind: Kind, amount: int, model: str = "*", api_version: str = "*") -> Limit:
    """So much a minute."""
    scope = EVERYTHING if (model, api_version) == ("*", "*") else Scope(model=model, api_version=api_version)
    return Limit(
        tenant=tenant,
        scope=scope,
        kind=kind,
        limit=amount,
        per_seconds=60,
        burst=amount,
        evidence={},
        suspended=amount == 0,
    )


def policy(*limits: Limit, safe: int = 1_000) -> Policy:
    """Valid for a day from HOUR on."""
    return Policy(
        format=FORMAT,
        epoch=1,
        release=1,
        created_at=instant(HOUR),
        valid_from=instant(HOUR),
        expires_at=instant(HOUR + 86_400_000),
        limits=limits,
        safe_capacity={kind: Rate(limit=safe, per_seconds=60, burst=safe) for kind in KINDS},
    )


def answers(release: Release, target: Target, *limits: Limit, **settings: Any) -> list[bool]:
    """Would each attempt of the one tenant pass?"""
    (found,) = histories(release.connection, [HOUR])
    return [answer == PASSED for answer in tried(found, policy(*limits, **settings), target)]


def rows(table: Any) -> list[list[int]]:
    """The numbers of a table of ``TRIED``, a row each."""
    return [[row[name] for name in TRIED.names[3:]] for row in table.to_pylist()]


def test_what_is_tried_is_counted_by_hour_tenant_and_model(release: Release) -> None:
    for tenant in ("b", "a"):
        release.event("1", 1, "ok", tenant=tenant, total_tokens=10)
        release.event("2", 2, "denied", tenant=tenant, wanted_tokens=20)
        release.event("3", 3, "ok", tenant=tenant, total_tokens=30, retry_of="2")
        release.event("4", 4, "ok", tenant=tenant, total_tokens=40, model="large")
        release.event("5", 3_601, "ok", tenant=tenant, total_tokens=50)
    limits = [limit("a", "requests", 1), limit("b", "requests", 2)]
    found = pa.concat_tables(
        summed(one, tried(one, policy(*limits), WINDOWS))
        for one in histories(release.connection, [HOUR, HOUR + 3_600_000])
    )
    assert [tuple(row[name] for name in ("tenant", "hour_ms", "model")) for row in found.to_pylist()] == [
        (tenant, hour, model)
        for tenant in ("a", "b")
        for hour, model in ((HOUR, "large"), (HOUR, "m"), (HOUR + 3_600_000, "m"))
    ]
    assert rows(found) == [
        [1, 0, 1, 40, 0, 1, 0, 0],
        [3, 1, 2, 50, 0, 2, 1, 20],
        [1, 1, 0, 0, 0, 1, 0, 0],
        [1, 0, 1, 40, 0, 1, 0, 0],
        [3, 2, 0, 0, 1, 2, 1, 20],
        [1, 1, 0, 0, 0, 1, 0, 0],
    ]


def test_limits_of_a_model_hold_beside_those_of_all_and_the_safe_capacity_where_none_does(release: Release) -> None:
    for number in range(4):
        release.event(f"l{number}", number, "ok", model="large")
        release.event(f"s{number}", number + 0.5, "ok", model="small", api_version="v2")
    large, small = limit("a", "requests", 1, "large"), limit("a", "requests", 2, "*", "v2")
    assert answers(release, WINDOWS, large) == [True, True, False, True, False, True, False, True]
    assert answers(release, WINDOWS, large, safe=3) == [True, True, False, True, False, True, False, False]
    assert answers(release, WINDOWS, large, small) == [True, True, False, True, False, False, False, False]
    both = answers(release, WINDOWS, large, limit("a", "requests", 2))
    assert both == [True, True, False, False, False, False, False, False]


def test_a_kind_that_the_target_does_not_limit_denies_nothing(release: Release) -> None:
    for number in range(3):
        release.event(str(number), number, "ok", total_tokens=10)
    assert answers(release, WINDOWS, limit("a", "tokens", 10)) == [
        True,
        False,
        False,
    ]
    assert all(answers(release, Target({"requests": "fixed_window"}), limit("a", "tokens", 10)))


def test_tokens_that_are_charged_after_the_response_let_more_pass(release: Release) -> None:
    for number in range(3):
        release.event(str(number), number, "ok", total_tokens=10, duration_ms=1_500.0)
    assert answers(release, WINDOWS, limit("a", "tokens", 10)) == [True, False, False]
    after = Target({"tokens": "fixed_window"}, Manner(together=False), frozenset({"tokens"}))
    assert answers(release, after, limit("a", "tokens", 10)) == [True, True, False]


def test_a_suspended_tenant_is_denied_everything(release: Release) -> None:
    release.event("1", 1, "ok")
    assert answers(release, OURS, limit("a", "requests", 0)) == [False]


def test_a_limit_that_cannot_be_counted_exactly_is_refused_with_its_tenant(release: Release) -> None:
    release.event("1", 1, "ok")
    with pytest.raises(CheckRefused, match=r"policy 1, a: .* cannot be counted exactly"):
        answers(release, OURS, limit("a", "tokens", 2**50))


@pytest.mark.parametrize("seed", range(10))
def test_the_backtest_of_our_limiter_decides_as_the_limiter_does(release: Release, seed: int) -> None:
    chance = random.Random(seed)
    at = 0.0
    for number in range(200):
        at += chance.choice([0, 0.001, 0.4, 2, 7])
        release.event(
            str(number),
            at,
            "ok",
            total_tokens=chance.randint(0, 60),
            gpu_ms=chance.randint(0, 5) / 1_000,
            duration_ms=chance.choice([0.0, 1.5, 900.0, 9_000.0]),
            model=chance.choice(["large", "small"]),
            api_version=chance.choice(["v1", "v2"]),
        )
    limits = [
        limit("a", "requests", chance.randint(5, 20)),
        limit("a", "tokens", chance.randint(60, 400), chance.choice(["*", "large"]), chance.choice(["*", "v2"])),
        limit("a", "concurrency", chance.randint(1, 4)),
    ]
    tested = policy(*limits, safe=chance.randint(60, 300))
    (history,) = histories(release.connection, [HOUR])
    assert [answer == PASSED for answer in tried(history, tested, OURS)] == decided(history, tested)


def decided(history: History, by: Policy) -> Sequence[bool]:
    """What the limiter says to each attempt; those that pass are settled when they have ended."""
    limiter = Limiter(MemoryStore(hold_ms=10**9), safe_capacity=by.safe_capacity)
    limiter.load(by)
    open_ones: list[tuple[int, int]] = []
    found = []
    for number, now_ms in enumerate(history.arrived_ms.tolist()):
        for end_ms, other in sorted(one for one in open_ones if one[0] <= now_ms):
            limiter.settle("a", str(other), {}, now_ms=end_ms, **of(history, other))
        open_ones = [one for one in open_ones if one[0] > now_ms]
        costs = {kind: int(history.cost(kind)[number]) for kind in KINDS}
        answer = limiter.reserve("a", str(number), costs, now_ms=now_ms, **of(history, number))
        found.append(answer.allowed)
        if answer.allowed:
            open_ones.append((max(int(history.ended_ms[number]), now_ms + 1), number))
    return found


def of(history: History, number: int) -> dict[str, str]:
    """Model and version of an attempt."""
    return {"model": history.model[number], "api_version": history.api_version[number]}
