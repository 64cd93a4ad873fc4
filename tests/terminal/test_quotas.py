"""How limits are shown to people."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from quotaloop.errors import ServiceUnreachable
from quotaloop.results import Publication, Published
from quotaloop.terminal import quotas
from tests.marts.handmade import limit, policy
from tests.terminal.screen import lines

EVIDENCE: dict[str, Any] = {"quantile": 0.99, "quantile_value": 80, "active_minutes": 1_000, "headroom": 1.25}
EVIDENCE |= {"want": 100, "greatest_request": 1, "floor": 10, "cap": 1_000, "capacity": 6_000, "weight": "1"}
EVIDENCE |= {"bound_by": "want", "hours": 2, "releases": [1]}
EVIDENCE |= {"first_hour": "2026-03-02T00:00:00Z", "last_hour": "2026-03-02T01:00:00Z"}


def told(**changed: Any) -> str:
    document = {
        "kind": "requests",
        "scope": {"model": "*", "api_version": "*"},
        "limit": 100,
        "per_seconds": 60,
        "burst": 20,
        "evidence": EVIDENCE | changed,
        "changes": [{"epoch": 1, "limit": 90, "bound_by": "floor"}, {"epoch": 2, "limit": None, "bound_by": None}],
        "moment": None,
        "raw": [{"topic": "t", "partition": 0, "start": 5, "end": 9}],
    }
    story = {"tenant": "a", "policy": 2, "release": 1, "limits": [document], "safe_capacity": {}}
    return "\n".join(lines(quotas.why(story), 300))


def test_the_story_of_a_limit_is_its_arithmetic() -> None:
    text = told()
    assert "0.99 of 1,000 active minutes asked for 80 at most (refused demand in it); x 1.25 = 100 wanted" in text
    assert "t/0 [5, 9)" in text
    assert "policy 1: 90 (floor); policy 2: none (None)" in text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"want": 500, "greatest_request": 500}, "the greatest request took 500, more than that x 1.25: 500 wanted"),
        ({"want": 250, "little": 200.0}, "by Little's law 200.0 in flight x 1.25 = 250 wanted"),
        ({"rolled_back_from": 3, "rolled_back_to": 1}, "a rollback from policy 3 to 1"),
    ],
)
def test_it_says_what_else_decided(changed: dict[str, Any], said: str) -> None:
    assert said in told(**changed)


def test_a_difference_leaves_out_what_did_not_change() -> None:
    before = policy(1, limit("a", "requests", 100), limit("b", "requests", 7), limit("c", "tokens", 9))
    after = policy(2, limit("a", "requests", 150, evidence={"bound_by": "want"}), limit("b", "requests", 7))
    document = quotas.difference(after, before, message="derived", objections=["gate step: a"])
    assert [(row["tenant"], row["old_limit"], row["new_limit"], row["change"]) for row in document["changes"]] == [
        ("a", 100, 150, 0.5),
        ("c", 9, None, None),
    ]
    assert document["unchanged"] == 1
    text = "\n".join(lines(quotas.difference_text(document), 200))
    assert "+50%" in text
    assert "gate step: a" in text
    assert "api_version" not in text


def test_a_publication_says_where_it_is_in_force_and_where_not() -> None:
    sinks = (
        Published("one"),
        Published("two", ("x is missing",)),
        Published("three", error=ServiceUnreachable("gone")),
    )
    document = quotas.publication(Publication(policy(4, limit("a", "requests", 1)), sinks, True))
    assert [row["in_force"] for row in document["sinks"]] == [True, False, False]
    text = lines(quotas.publication_text(document), 100)
    assert [line.strip() for line in text[1:]] == ["one: in force", "two: 1 differences", "x is missing", "three: gone"]
    assert quotas.publication(None) == {"policy": None, "sinks": []}


def test_a_trial_is_summed_by_tenant_for_people_and_whole_as_json() -> None:
    names = ["hour_ms", "tenant", "model", "attempts", "denied", "denied_tokens", "was_denied", "was_denied_tokens"]
    rows = pa.table(
        dict(zip(names, [[0, 0], ["a", "a"], ["m", "n"], [5, 6], [1, 2], [10, 20], [3, 4], [30, 40]], strict=True))
    )
    assert quotas.tried(rows)["rows"][0][:3] == ["1970-01-01T00:00:00Z", "a", "m"]
    text = lines(quotas.tried_text("file: policy 1", rows), 100)
    assert text[0] == "file: policy 1"
    assert [cell.strip() for cell in text[-1].split("│")] == ["a", "11", "3", "7", "30", "70"]
