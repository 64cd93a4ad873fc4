"""Limits that add up to more than the capacity, because tenants are not busy at the same time."""

from __future__ import annotations

from typing import Any

import pytest

from quotaloop.quotas.derivation.derive import derive
from quotaloop.quotas.policy import Policy
from quotaloop.settings import Settings
from tests.quotas.conftest import HOUR, Release


def derived(release: Release, **settings: Any) -> dict[str, tuple[int, str]]:
    """Of requests: limit and what bound it, at a capacity of 100 and without headroom."""
    usual = {"headroom": 1.0, "floor_requests": 1, "capacity_requests": 100, "quantile": 1.0}
    policy: Policy = derive(
        release.connection,
        hours=[HOUR],
        release=1,
        settings=Settings(**{**usual, **settings}),
        previous=None,
        as_of_ms=HOUR + 3_600_000,
    )
    return {one.tenant: (one.limit, one.evidence["bound_by"]) for one in policy.limits if one.kind == "requests"}


@pytest.fixture
def in_turn(release: Release) -> Release:
    """Two tenants that ask for 100 a minute each, in turn."""
    for minute in range(10):
        release.minute(minute, "ab"[minute % 2], "requests", 100)
    return release


def test_limits_add_up_to_the_capacity_unless_told_otherwise(in_turn: Release) -> None:
    assert derived(in_turn) == {"a": (50, "capacity"), "b": (50, "capacity")}


def test_who_is_never_busy_together_may_each_have_all_of_it(in_turn: Release) -> None:
    assert derived(in_turn, max_over_share=0.001) == {"a": (100, "want"), "b": (100, "want")}


@pytest.mark.parametrize(("share", "limit"), [(0.016, 50), (0.017, 100)])
def test_as_many_minutes_may_be_over_as_are_allowed_of_all_60(in_turn: Release, share: float, limit: int) -> None:
    for tenant in "ab":
        in_turn.minute(30, tenant, "requests", 100)
    assert {amount for amount, _ in derived(in_turn, max_over_share=share).values()} == {limit}


def test_the_most_is_found_to_the_unit(in_turn: Release) -> None:
    in_turn.minute(30, "a", "requests", 100)
    in_turn.minute(30, "b", "requests", 40)
    # in minute 30, b passes 40 at most: a may have 60; shares are equal while both are short of their wants
    found = derived(in_turn, max_over_share=0.001)
    assert found == {"a": (60, "capacity"), "b": (60, "capacity")}


def test_shares_stay_weighted(in_turn: Release) -> None:
    for tenant in "ab":
        in_turn.minute(30, tenant, "requests", 100)
    assert derived(in_turn, max_over_share=0.001, weights="a=3") == {"a": (75, "capacity"), "b": (25, "capacity")}
