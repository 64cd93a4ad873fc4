"""Gates: what they refuse, by hand, with the tenant and the number in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from quotaloop.quotas.policy import Policy
from quotaloop.quotas.trial.gate import Objection, backtest, step
from quotaloop.quotas.trial.minutes import UNMET
from quotaloop.settings import Settings
from tests.marts.handmade import limit, policy

POLICY = policy(1, limit("z", "requests", 1))
SETTINGS = replace(Settings(), capacity_requests=100, cap_requests=80, max_denied_share=0.05)


def objections(before: Any, after: Any, **settings: Any) -> list[str]:
    return [str(one) for one in step(policy(2, after), policy(1, before), replace(Settings(), **settings))]


@pytest.mark.parametrize("new", [50, 200, 100, 51])
def test_a_limit_may_move_by_the_greatest_step(new: int) -> None:
    assert objections(limit("a", "requests", 100), limit("a", "requests", new)) == []


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (49, "gate step: a, requests: 100 to 49 is less than 0.5 times (greatest_step_down)"),
        (201, "gate step: a, requests: 100 to 201 is more than 2.0 times (greatest_step_up)"),
    ],
)
def test_a_limit_that_moves_further_is_refused_with_its_numbers(new: int, told: str) -> None:
    assert objections(limit("a", "requests", 100), limit("a", "requests", new)) == [told]


def test_the_step_is_of_rates_whatever_the_period() -> None:
    assert objections(limit("a", "requests", 100), limit("a", "requests", 7_200, per_seconds=3_600)) == []
    assert len(objections(limit("a", "requests", 100), limit("a", "requests", 100, per_seconds=3_600))) == 1


def test_a_limit_can_always_move_by_one_unit_and_new_and_suspended_ones_take_no_step() -> None:
    assert objections(limit("a", "requests", 1), limit("a", "requests", 2), greatest_step_up=1.1) == []
    assert objections(limit("a", "requests", 0, suspended=True), limit("a", "requests", 900)) == []
    assert objections(limit("a", "requests", 900), limit("a", "requests", 0, suspended=True)) == []
    assert objections(limit("a", "requests", 900), limit("b", "requests", 1)) == []


def minutes(*rows: tuple[int, str, int, int], kind: str = "requests") -> pa.Table:
    """Minute, tenant, demand and what of it is unmet."""
    return pa.Table.from_pylist(
        [{"minute": row[0], "tenant": row[1], "kind": kind, "demand": row[2], "unmet": row[3]} for row in rows], UNMET
    )


def refused(
    after: pa.Table, before: pa.Table | None = None, settings: Settings = SETTINGS, by: Policy = POLICY
) -> list[Objection]:
    return list(backtest({"edge": after}, {"edge": before} if before is not None else {}, by, settings))


def test_a_share_that_is_allowed_passes_and_a_unit_more_is_refused() -> None:
    assert refused(minutes((0, "a", 60, 3), (1, "a", 40, 2))) == []  # 5 of 100
    (found,) = refused(minutes((0, "a", 60, 4), (1, "a", 40, 2)))
    assert (found.gate, found.tenant, found.kind) == ("backtest", "a", "requests")
    assert found.text == "sink edge would deny 6, 6.0% of 100 that capacity could carry; max_denied_share is 0.05"


def test_what_capacity_could_not_carry_is_no_reason() -> None:
    # 80 + 60 asked of 100: shares of 50; of a's 80, 50 could be carried, and 30 of its unmet is capacity's
    table = minutes((0, "a", 80, 30), (0, "b", 60, 10))
    assert refused(table) == []
    (found,) = refused(minutes((0, "a", 80, 33), (0, "b", 60, 10)))
    assert found.text.startswith("sink edge would deny 3, 6.0% of 50 ")


def test_shares_are_weighted_and_capped_and_minutes_stand_for_themselves() -> None:
    # of 100, a (weight 3) could have 75, b 25; alone, in another minute, b is bound by its cap of 80
    settings = replace(SETTINGS, weights="a=3")
    table = minutes((1, "b", 90, 10), (0, "a", 80, 5), (0, "b", 60, 35))
    assert refused(table, settings=settings) == []
    (found,) = refused(minutes((1, "b", 90, 20), (0, "a", 80, 5), (0, "b", 60, 35)), settings=settings)
    assert found.text.startswith("sink edge would deny 10, 9.5% of 105 ")


def test_a_policy_that_denies_no_more_than_the_one_in_force_is_an_improvement() -> None:
    before = minutes((0, "a", 60, 30))
    assert refused(minutes((0, "a", 60, 30)), before) == []
    assert refused(minutes((0, "a", 60, 29)), before) == []
    assert len(refused(minutes((0, "a", 60, 31)), before)) == 1


def test_a_suspended_tenant_is_denied_on_purpose() -> None:
    suspended = policy(1, limit("a", "requests", 0, suspended=True))
    assert refused(minutes((0, "a", 60, 60)), by=suspended) == []


def test_a_limit_that_capacity_bound_denies_what_is_above_it_on_purpose() -> None:
    bound = policy(1, limit("a", "requests", 30, evidence={"scarce": True}))
    assert refused(minutes((0, "a", 60, 30)), by=bound) == []
    (found,) = refused(minutes((0, "a", 60, 32)), by=bound)
    assert found.text.startswith("sink edge would deny 2, 6.7% of 30 ")
    wanted = policy(1, limit("a", "requests", 30, evidence={"scarce": False}))
    assert len(refused(minutes((0, "a", 60, 30)), by=wanted)) == 1


def test_a_limit_on_its_way_up_is_held_against_the_old_one_by_the_same_measure() -> None:
    # capacity was raised: the old limit of 30 was all that there was, the new one of 60 is a step towards 100
    stepped = policy(2, limit("a", "requests", 60, evidence={"scarce": False, "bound_by": "step_up"}))
    before, after = minutes((0, "a", 100, 70)), minutes((0, "a", 100, 40))
    assert (
        refused(after, before, settings=replace(SETTINGS, capacity_requests=6_000, cap_requests=100), by=stepped) == []
    )


def test_of_every_kind_as_much_is_carried_as_the_scarcest_allows() -> None:
    # half of the 60 requests have to be refused, and with them half of the tokens
    bound = policy(1, limit("a", "requests", 30, evidence={"scarce": True}))
    tokens = pa.concat_tables([minutes((0, "a", 60, 30)), minutes((0, "a", 6_000, 3_000), kind="tokens")])
    assert refused(tokens, by=bound) == []
    more = pa.concat_tables([minutes((0, "a", 60, 30)), minutes((0, "a", 6_000, 3_151), kind="tokens")])
    (found,) = refused(more, by=bound)
    assert (found.kind, found.text[:27]) == ("tokens", "sink edge would deny 151, 5")


def test_each_kind_and_each_sink_is_judged() -> None:
    both = pa.concat_tables([minutes((0, "a", 6, 0)), minutes((0, "a", 60, 60), kind="tokens")])
    (found,) = backtest({"one": minutes((0, "a", 60, 0)), "two": both}, {}, POLICY, SETTINGS)
    assert (found.kind, found.text[:9]) == ("tokens", "sink two ")
    assert refused(minutes()) == []
