"""The committed sample through the whole loop, held to the truth that its generator counted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from jobs.backtest import Trial, backtest
from jobs.work import Work
from quotaloop.quotas.policy import newest
from quotaloop.quotas.target import OURS, Target
from tests.loop.stores import DAY, HOUR, REPOSITORY, Loop

SAMPLE = REPOSITORY / "data" / "sample"
TRUTH: dict[str, Any] = json.loads((SAMPLE / "truth.json").read_text("utf-8"))
OUTCOMES = ("lines", "accepted", "duplicate", "late", "quarantined")
PERCENT = (50, 95, 99)


@dataclass(frozen=True)
class Released:
    """The sample's store, and the summary that the run printed."""

    loop: Loop
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def released(spark: object, tmp_path_factory: pytest.TempPathFactory) -> Released:  # noqa: ARG001 - runs find it
    """One run over the whole sample, by the command line."""
    loop = Loop(tmp_path_factory.mktemp("sample") / "store")
    landed = loop.call("land", "files", str(SAMPLE / "requests.jsonl.gz"), "--topic", "sample", "--json")
    assert landed.json["files"][0]["lines"] == TRUTH["lines"]
    said = loop.call("run", "--json")
    assert said.code == 0, said.err
    return Released(loop, said.json)


@pytest.fixture
def loop(released: Released) -> Loop:
    """The store alone."""
    return released.loop


def test_the_ledger_holds_to_the_truth(loop: Loop) -> None:
    assert loop.ledger() == {name: TRUTH[name] for name in OUTCOMES}
    assert loop.reasons() == TRUTH["reasons"]
    (row,) = loop.rows("ingest_ledger")
    assert dict(row["unknown_fields"]) == TRUTH["unknown_fields"]


def test_the_recount_holds_to_the_truth(loop: Loop) -> None:
    recounted = loop.recounted()
    (lines,) = recounted["lines"].to_pylist()
    hours = recounted["outcomes"].to_pylist()
    conflicting = sum(row["conflicting"] for row in hours)
    assert (lines["lines"], lines["late"]) == (TRUTH["lines"], TRUTH["late"])
    assert sum(row["accepted"] for row in hours) == TRUTH["accepted"]
    assert sum(row["duplicate"] for row in hours) == TRUTH["duplicate"]
    assert dict(lines["reasons"]) | {"conflicting_duplicate": conflicting} == TRUTH["reasons"]


@pytest.mark.parametrize("table", ["usage_hourly", "usage_daily"])
def test_usage_adds_up_to_the_true_totals(loop: Loop, table: str) -> None:
    rows = loop.rows(table)
    found = {name: sum(row[name] for row in rows) for name in TRUTH["totals"] if name != "gpu_us"}
    found["gpu_us"] = sum(round(row["gpu_ms"] * 1000) for row in rows)
    assert found == TRUTH["totals"]


@pytest.mark.parametrize("column", ["tenant", "api_version", "model", "protocol"])
def test_requests_are_those_of_each_tenant_version_model_and_protocol(loop: Loop, column: str) -> None:
    found: Counter[str] = Counter()
    for row in loop.rows("usage_hourly"):
        found[row[column]] += row["requests"]
    assert found == TRUTH[f"requests_per_{column}"]


def test_events_are_the_accepted_lines(loop: Loop) -> None:
    found = loop.sql("SELECT count(*), count(DISTINCT (hour, tenant, event_id)) FROM events")
    assert found == [(TRUTH["accepted"], TRUTH["accepted"])]


@pytest.mark.parametrize("table", ["latency_summary", "latency_summary_daily"])
def test_latencies_have_the_true_count_and_sum(loop: Loop, table: str) -> None:
    found: dict[str, dict[str, int]] = {}
    for row in loop.rows(table):
        if row["metric"] == "duration":
            sums = found.setdefault(row["api_version"], {"count": 0, "sum_us": 0})
            sums["count"] += row["count"]
            sums["sum_us"] += round(row["sum_ms"] * 1000)
    assert found == {
        version: {name: truth[name] for name in ("count", "sum_us")} for version, truth in TRUTH["latency_ok"].items()
    }


def test_the_named_tenant_has_its_true_peak_first_in_the_true_hour(loop: Loop) -> None:
    truth = TRUTH["peak_concurrency"]
    rows = [row for row in loop.rows("rate_limit_usage") if row["kind"] == "concurrency"]
    mine = {row["hour"]: row["admitted"] for row in rows if row["tenant"] == truth["tenant"]}
    peak = max(mine.values())
    first = min(hour for hour, most in mine.items() if most == peak)
    assert (peak, f"{first:%Y-%m-%dT%H:%M:%SZ}") == (truth["peak"], truth["hour"])


@pytest.mark.parametrize("table", ["rate_limit_usage", "demand_minutely"])
@pytest.mark.parametrize("kind", ["requests", "tokens"])
def test_chains_of_the_named_tenant_add_up_to_the_true_demand(loop: Loop, table: str, kind: str) -> None:
    rows = [row for row in loop.rows(table) if (row["tenant"], row["kind"]) == (TRUTH["chains"]["tenant"], kind)]
    assert {name: sum(row[name] for row in rows) for name in ("demand", "unmet")} == TRUTH["chains"][kind]


def test_the_only_hole_is_the_one_that_was_planted(loop: Loop) -> None:
    rows = [row for row in loop.rows("completeness_hourly") if row["missing"]]
    assert [
        {**{name: row[name] for name in ("host", "boot", "missing")}, "hour": f"{row['hour']:%Y-%m-%dT%H:%M:%SZ}"}
        for row in rows
    ] == TRUTH["holes"]


def test_the_hour_of_the_hole_moves_no_quota_and_all_others_do(released: Released) -> None:
    hours = {hour for day in released.loop.sql("SELECT DISTINCT hour FROM usage_hourly") for hour in day}
    assert released.summary["policy_message"] == f"derived from {len(hours) - 1} hours of release 1"


def test_the_summary_says_what_became_of_the_lines(released: Released) -> None:
    said = released.summary
    assert (said["release"], said["released"], said["policy"], said["unfinished"]) == (1, True, 1, [])
    assert said["lines"] == {name: TRUTH[name] for name in OUTCOMES}
    assert said["reasons"] == TRUTH["reasons"]


def test_the_summary_names_the_busiest_tenants(released: Released) -> None:
    busiest = sorted(TRUTH["requests_per_tenant"].items(), key=lambda pair: -pair[1])
    said = [(row["tenant"], row["requests"]) for row in released.summary["tenants"]]
    assert said == busiest[: len(said)]
    assert len(said) >= 3
    policy = json.loads(released.loop.store.read("published/policy.json"))
    limits = {(limit["tenant"], limit["kind"]): limit["limit"] for limit in policy["limits"]}
    for row in released.summary["tenants"]:
        for kind in ("requests", "tokens"):
            assert row[f"limit_{kind}"] == limits[row["tenant"], kind], row


def test_the_quantiles_of_the_summary_lie_within_a_hundredth_of_the_true_ones(released: Released) -> None:
    said = {row["api_version"]: row for row in released.summary["latency"] if row["metric"] == "duration"}
    assert {version: row["count"] for version, row in said.items()} == {
        version: truth["count"] for version, truth in TRUTH["latency_ok"].items()
    }
    for version, truth in TRUTH["latency_ok"].items():
        for percent in PERCENT:
            exact = truth[f"p{percent}_ms"]
            assert abs(said[version][f"p{percent}"] - exact) <= exact / 100 + 0.05, (version, percent)  # one decimal


def test_a_second_run_finds_nothing_to_do_and_changes_nothing(loop: Loop) -> None:
    before = loop.bytes()
    again = loop.call("run", "--json").json
    assert (again["release"], again["released"], again["policy_new"]) == (1, False, False)
    assert loop.bytes() == before
    loop.check_whole()


@pytest.mark.parametrize("where", ["groups", "spark"])
def test_a_backtest_in_groups_of_tenants_and_on_spark_gives_the_same_rows(
    released: Released, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = released.loop.work()
    release, policy = released.loop.release(), newest(work.store)
    assert policy is not None
    hours = [DAY + number * HOUR for number in range(48)]
    windows = Target({"requests": "fixed_window", "tokens": "sliding_window"}, after=frozenset({"tokens"}))
    trials = [Trial(policy, OURS), Trial(policy, replace(windows, token_classes=frozenset({"input", "output"})))]
    alone = backtest(work, release, hours, trials)
    assert [outcome.rows.num_rows > 1_000 for outcome in alone] == [True, True]
    if where == "groups":
        monkeypatch.setattr("jobs.backtest._EVENTS_A_GROUP", 9_000)
    else:
        work = Work(replace(released.loop.settings, backtest_on="spark"))
    for one, other in zip(alone, backtest(work, release, hours, trials), strict=True):
        assert other.rows.equals(one.rows)
        order = [(name, "ascending") for name in ("tenant", "kind", "minute")]
        assert other.minutes.sort_by(order).equals(one.minutes.sort_by(order))
