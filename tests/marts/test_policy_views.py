"""``quota_decisions`` and ``rate_limit_against_policy``: stored policies beside the tables of a release."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from quotaloop.marts.tables import RATE_LIMIT_USAGE
from quotaloop.marts.views import open_views, query
from quotaloop.quotas.policy import Policy, Scope, store_policy
from tests.marts.handmade import DAY, HOUR, Handmade, Row, at, limit, policy

ONE_MODEL = Scope(model="m", api_version="*")
ALL_SCOPE = '{"api_version": "*", "model": "*"}'
DECISIONS = "SELECT * FROM quota_decisions ORDER BY policy_epoch, tenant, scope, kind"
IN_FORCE = 'SELECT policy_epoch, "limit", utilisation FROM rate_limit_against_policy ORDER BY hour, tenant, kind'


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    return Handmade(tmp_path)


def used(hour: int, tenant: str, kind: str = "requests", **more: Any) -> Row:
    """A row of ``rate_limit_usage``."""
    return {"hour": at(hour), "tenant": tenant, "kind": kind, **more}


def seen(made: Handmade, statement: str, *known: Policy, rows: tuple[Row, ...] = ()) -> list[tuple[Any, ...]]:
    """What a SELECT finds with these policies and rows of ``rate_limit_usage``."""
    for one in known:
        assert store_policy(made.store, one)
    if rows:
        made.add("rate_limit_usage", *rows, hours=[DAY])
    with open_views(made.store, made.release()) as connection:
        return query(connection, statement).fetchall()


def test_decisions_say_from_what_to_what_and_why(made: Handmade) -> None:
    why = {"bound_by": "cap", "want": 7}
    first = policy(1, limit("a", "requests", 5, evidence=why), limit("b", "requests", 8))
    second = policy(2, limit("a", "requests", 6), limit("a", "tokens", 100))
    third = policy(3, limit("a", "requests", 6), limit("b", "requests", 9))
    assert seen(made, DECISIONS, first, second, third) == [
        (1, "a", ALL_SCOPE, "requests", None, 5, "cap", json.dumps(why)),
        (1, "b", ALL_SCOPE, "requests", None, 8, "", "{}"),
        (2, "a", ALL_SCOPE, "requests", 5, 6, "", "{}"),
        (2, "a", ALL_SCOPE, "tokens", None, 100, "", "{}"),
        (3, "a", ALL_SCOPE, "requests", 6, 6, "", "{}"),
        (3, "b", ALL_SCOPE, "requests", None, 9, "", "{}"),  # it had none in between
    ]


def test_decisions_have_the_columns_of_the_contract(made: Handmade) -> None:
    with open_views(made.store, made.release()) as connection:
        columns = query(connection, "SELECT * FROM quota_decisions").columns
    assert columns == ["policy_epoch", "tenant", "scope", "kind", "old_limit", "new_limit", "reason", "evidence"]


def test_decisions_tell_scopes_apart(made: Handmade) -> None:
    first = policy(1, limit("a", "requests", 5), limit("a", "requests", 2, scope=ONE_MODEL))
    second = policy(2, limit("a", "requests", 6), limit("a", "requests", 3, scope=ONE_MODEL))
    scoped = '{"api_version": "*", "model": "m"}'
    found = seen(made, DECISIONS, first, second)
    assert [(row[0], row[2], row[4], row[5]) for row in found] == [
        (1, ALL_SCOPE, None, 5),
        (1, scoped, None, 2),
        (2, ALL_SCOPE, 5, 6),
        (2, scoped, 2, 3),
    ]


def test_usage_stands_beside_its_limit(made: Handmade) -> None:
    rows = (
        used(0, "a", peak_minute=30, admitted=900),
        used(0, "a", "tokens", peak_minute=150),
        used(0, "a", "concurrency", admitted=3, demand=3),
        used(0, "b", peak_minute=30),
    )
    limits = (limit("a", "requests", 60, burst=90), limit("a", "tokens", 100), limit("a", "concurrency", 4))
    statement = """
        SELECT tenant, kind, "limit", per_seconds, burst, policy_epoch, utilisation
        FROM rate_limit_against_policy ORDER BY tenant, kind"""
    assert seen(made, statement, policy(1, *limits), rows=rows) == [
        ("a", "concurrency", 4, 1, 4, 1, 0.75),
        ("a", "requests", 60, 60, 90, 1, 0.5),
        ("a", "tokens", 100, 60, 100, 1, 1.5),
        ("b", "requests", None, None, None, 1, None),
    ]


def test_usage_keeps_its_columns_and_gets_those_of_the_contract(made: Handmade) -> None:
    with open_views(made.store, made.release()) as connection:
        columns = query(connection, "SELECT * FROM rate_limit_against_policy").columns
    added = ["limit", "per_seconds", "burst", "policy_epoch", "utilisation"]
    assert columns == [column.name for column in RATE_LIMIT_USAGE.columns] + added


def test_the_policy_is_that_in_force_when_the_hour_begins(made: Handmade) -> None:
    rows = tuple(used(hour, "a", peak_minute=6) for hour in (0, 1, 2, 3, 4))
    first = policy(1, limit("a", "requests", 12), valid=(1, 4))
    second = policy(2, limit("a", "requests", 24), valid=(3, 4))
    assert seen(made, IN_FORCE, first, second, rows=rows) == [
        (None, None, None),
        (1, 12, 0.5),
        (1, 12, 0.5),
        (2, 24, 0.25),  # from the beginning of its first hour on
        (None, None, None),  # expired at the very beginning
    ]


def test_a_tenant_without_a_limit_in_the_newest_policy_has_none(made: Handmade) -> None:
    first = policy(1, limit("a", "requests", 12))
    second = policy(2, limit("b", "requests", 5))
    assert seen(made, IN_FORCE, first, second, rows=(used(1, "a", peak_minute=6),)) == [(2, None, None)]


def test_limits_of_one_model_do_not_double_the_usage_of_all(made: Handmade) -> None:
    scopes = (ONE_MODEL, Scope(model="*", api_version="v1"), Scope(model="m", api_version="v1"))
    scoped = [limit("a", "requests", 3, scope=scope) for scope in scopes]
    everything = policy(1, limit("a", "requests", 12), *scoped, limit("b", "requests", 2, scope=ONE_MODEL))
    rows = (used(0, "a", peak_minute=6), used(0, "b", peak_minute=6))
    assert seen(made, IN_FORCE, everything, rows=rows) == [(1, 12, 0.5), (1, None, None)]


def test_a_policy_of_scoped_limits_alone_is_in_force(made: Handmade) -> None:
    first = policy(1, limit("a", "requests", 12))
    second = policy(2, limit("a", "requests", 3, scope=ONE_MODEL))
    assert seen(made, IN_FORCE, first, second, rows=(used(1, "a", peak_minute=6),)) == [(2, None, None)]


def test_a_policy_that_was_replaced_does_not_come_back(made: Handmade) -> None:
    """After the expiry of the newest, limiters use safe capacity (contract, section 5)."""
    first = policy(1, limit("a", "requests", 12), valid=(0, 48))
    second = policy(2, limit("a", "requests", 24), valid=(1, 3))
    assert seen(made, IN_FORCE, first, second, rows=(used(5, "a", peak_minute=6),)) == [(None, None, None)]


def test_the_utilisation_of_a_suspended_tenant_is_a_number_or_none(made: Handmade) -> None:
    suspended = policy(1, limit("a", "requests", 0, suspended=True))
    ((epoch, most, utilisation),) = seen(made, IN_FORCE, suspended, rows=(used(0, "a", peak_minute=6),))
    assert (epoch, most) == (1, 0)
    assert utilisation is None or math.isfinite(utilisation)


def test_an_hour_of_another_table_gets_no_policy_of_its_own(made: Handmade) -> None:
    """Hours without usage have no row, whatever is in force."""
    made.add("usage_hourly", {"hour": at(5), "tenant": "a"}, hours=[DAY + 5 * HOUR])
    assert seen(made, IN_FORCE, policy(1, limit("a", "requests", 12))) == []
