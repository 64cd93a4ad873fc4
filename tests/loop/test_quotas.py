"""Limits by the command line: what would change, what was tried, what is in force, why, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.loop.stores import HOUR, MINUTE, Event, Loop, Said, event

SINKS = json.dumps({"edge": {"type": "file", "path": "edge.json", "algorithms": {"tokens": "fixed_window"}}})


def day(number: int, tokens: int) -> Iterator[Event]:
    """An hour a day in which ``a`` asks for so many tokens each minute, in ten requests; ``b`` is quiet."""
    for minute in range(60):
        for place in range(10):
            ts = number * 24 * HOUR + minute * MINUTE + place * 6_000
            yield event(f"a{number}-{minute}-{place}", ts, input_tokens=tokens // 10)
        yield event(f"b{number}-{minute}", number * 24 * HOUR + minute * MINUTE, tenant="b", input_tokens=10)


@pytest.fixture(scope="module")
def loop(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Loop:  # noqa: ARG001 - runs find it
    """Two days, a release and a policy each; on the second, ``a`` asks for half as much again."""
    made = Loop(tmp_path_factory.mktemp("quotas") / "store", sinks=SINKS, headroom=1.0, shape_weeks=0)
    made.land("t", *day(0, 2_000))
    made.run()
    made.land("t", *day(1, 3_000))
    made.run()
    return made


@pytest.fixture
def copied(loop: Loop, tmp_path: Any) -> Loop:
    """A store of its own."""
    return loop.copy(tmp_path / "copy", **loop.changed)


def answered(said: Said) -> Any:
    assert said.code == 0, said.err
    return said.json


def change(document: Any, tenant: str, kind: str) -> dict[str, Any]:
    (row,) = (row for row in document["changes"] if (row["tenant"], row["kind"]) == (tenant, kind))
    return dict(row)


def test_a_diff_shows_what_the_newest_policy_changed(loop: Loop) -> None:
    for words in ((), ("1", "2")):
        document = answered(loop.call("quotas", "diff", "--json", *words))
        assert (document["policy"], document["before"]) == (2, 1)
        row = change(document, "a", "tokens")
        assert (row["old_limit"], row["new_limit"], row["bound_by"]) == (2_000, 3_000, "want")
        assert row["change"] == pytest.approx(0.5)
    assert "2,000" in loop.call("quotas", "diff").out


def test_what_would_be_derived_is_shown_and_not_made(copied: Loop) -> None:
    copied.land("t", *day(2, 9_000))
    for stage in ("build", "recount", "audit", "release"):
        assert copied.call(stage).code == 0
    document = answered(copied.call("quotas", "diff", "--json"))
    row = change(document, "a", "tokens")
    assert (document["policy"], row["new_limit"], row["bound_by"]) == (3, 6_000, "step_up")
    assert answered(copied.call("quotas", "derive", "--dry-run", "--json"))["new"] is False
    assert not copied.store.exists("policies/0000000003.json")


def test_a_backtest_shows_the_policy_beside_the_one_in_force_and_the_past(loop: Loop) -> None:
    words = ("--what-if", "tenant=a,limit=1500,burst=1500", "--sink", "edge", "--since", "2026-03-03T00:00:00Z")
    document = answered(loop.call("quotas", "backtest", "--json", *words))
    assert (document["in_force"], document["release"], document["hours"]) == (2, 2, 1)
    sums: dict[str, dict[str, int]] = {}
    found = document["sinks"]["edge"]
    for values in found["rows"]:
        row = dict(zip(found["columns"], values, strict=True))
        assert row["hour"] == "2026-03-03T00:00:00Z"
        sums[row["tenant"]] = row
    # 3,000 asked each minute in ten requests of 300: 5 of them pass a window of 1,500
    assert (sums["a"]["admitted"], sums["a"]["denied"], sums["a"]["denied_tokens"]) == (300, 300, 90_000)
    assert (sums["a"]["in_force_admitted"], sums["a"]["in_force_denied"]) == (600, 0)
    assert (sums["a"]["was_admitted"], sums["a"]["was_denied"]) == (600, 0)
    assert (sums["b"]["admitted"], sums["b"]["denied"]) == (60, 0)
    assert loop.call("quotas", "backtest", "--sink", "none").code == 2
    assert loop.call("quotas", "backtest", "--what-if", "tenant=a").code == 2
    assert loop.call("quotas", "backtest", "--since", "yesterday").code == 2


def test_verify_sees_an_edited_sink_and_publish_mends_it(copied: Loop) -> None:
    assert [row["in_force"] for row in answered(copied.call("quotas", "verify", "--json"))["sinks"]] == [True, True]
    copied.store.replace("edge.json", copied.store.read("edge.json") + b" ")
    said = copied.call("quotas", "verify", "--json")
    assert said.code == 3
    assert [(row["sink"], row["in_force"]) for row in said.json["sinks"]] == [("edge", False), ("file", True)]
    assert copied.call("run").code == 3
    assert copied.call("quotas", "publish", "--dry-run").code == 0
    assert copied.call("quotas", "verify").code == 3
    assert copied.call("quotas", "publish").code == 0
    assert copied.call("quotas", "verify").code == 0
    assert copied.call("run").code == 0


def test_a_rollback_holds_until_it_is_resumed(copied: Loop) -> None:
    document = answered(copied.call("quotas", "rollback", "--json"))
    assert (document["policy"], [row["in_force"] for row in document["sinks"]]) == (3, [True, True])
    in_force = json.loads(copied.store.read("edge.json"))
    assert [row["limit"] for row in in_force["limits"] if (row["tenant"], row["kind"]) == ("a", "tokens")] == [2_000]
    copied.land("t", *day(2, 3_000))
    summary = answered(copied.call("run", "--json"))
    assert "pinned by a rollback" in summary["policy_message"]
    assert answered(copied.call("quotas", "resume", "--json")) == {"resumed": 4}
    copied.land("t", *day(3, 3_000))
    assert answered(copied.call("run", "--json"))["policy_message"].startswith("derived from")


def test_why_goes_down_to_the_raw_offsets(loop: Loop) -> None:
    document = answered(loop.call("quotas", "why", "a", "--json"))
    (tokens,) = (limit for limit in document["limits"] if limit["kind"] == "tokens")
    assert (tokens["limit"], tokens["evidence"]["quantile_value"], tokens["evidence"]["want"]) == (3_000, 3_000, 3_000)
    assert [(row["epoch"], row["limit"], row["bound_by"]) for row in tokens["changes"]] == [
        (1, 2_000, "want"),
        (2, 3_000, "want"),
    ]
    moment = tokens["moment"]
    assert (moment["from"], moment["asked"]) == ("2026-03-03T00:00:00Z", 3_000)
    (place,) = moment["offsets"]
    assert (place["topic"], place["partition"], place["events"]) == ("t", 0, 10)
    rows = loop.sql(
        f"""SELECT sum(total_tokens), count(*) FROM events WHERE tenant = 'a' AND "offset" BETWEEN {place["first"]}
        AND {place["last"]}"""
    )
    assert rows == [(3_000, 10)]
    assert [(span["topic"], span["start"], span["end"]) for span in tokens["raw"]] == [("t", 0, 1_320)]
    text = loop.call("quotas", "why", "a").out
    assert "t/0 offsets" in text
    assert "3,000" in text


def test_a_tenant_without_a_limit_has_the_safe_capacity(loop: Loop) -> None:
    document = answered(loop.call("quotas", "why", "stranger", "--json"))
    assert document["limits"] == []
    assert document["safe_capacity"]["tokens"] == 20_000
    assert "safe capacity" in loop.call("quotas", "why", "stranger").out


def test_decisions_are_rows(loop: Loop) -> None:
    rows = loop.sql(
        "SELECT policy_epoch, old_limit, new_limit, reason FROM quota_decisions "
        "WHERE tenant = 'a' AND kind = 'tokens' ORDER BY policy_epoch"
    )
    assert rows == [(1, None, 2_000, "want"), (2, 2_000, 3_000, "want")]
