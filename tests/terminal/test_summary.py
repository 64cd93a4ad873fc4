"""The closing summary: its numbers, counted by hand over a small release, and its words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from quotaloop.latency import bucket, quantile_ms
from quotaloop.marts.release import Release
from quotaloop.quotas.policy import Policy, Scope
from quotaloop.results import Derivation, Done
from quotaloop.terminal import summary
from tests.marts.handmade import DAY, HOUR, Handmade, Row, at, limit, policy
from tests.terminal.screen import HOSTILE, SPELLED, cells, lines, shown

TODAY, TOMORROW = at(0).date(), at(24).date()
IN_FORCE = policy(3, limit("a", "requests", 60), limit("a", "tokens", 10_000), limit("b", "requests", 5))


def done(release: Release | None, in_force: Policy | None = IN_FORCE, **changed: Any) -> Done:
    """A run that released and derived."""
    derivation = Derivation(in_force, True, "derived from 2 hours of release 1", 2, {})
    usual: Row = {"released": True, "pinned": False, "derivation": derivation, "unfinished": ()}
    return Done(release=release, policy=in_force, **(usual | changed))


def said(made: Handmade, in_force: Policy | None = IN_FORCE, **changed: Any) -> dict[str, Any]:
    """The document of such a run."""
    return summary.document(made.store, done(made.release(), in_force, **changed))


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    """Two days of two tenants, out of two raw files."""
    made = Handmade(tmp_path)
    first = {"lines": 100, "accepted": 90, "duplicate": 2, "late": 1, "quarantined": 7}
    second = {"lines": 1_000, "accepted": 997, "quarantined": 3}
    made.add_ledger(
        {"topic": "t", **first, "reasons": [("syntax", 4), ("type", 3)], "unknown_fields": [("region", 5)]},
        {"topic": "t", "start_offset": 100, **second, "reasons": [("type", 3)], "unknown_fields": []},
    )
    made.add("usage_daily", {"date": TODAY, "tenant": "a", "requests": 700, "denied": 3, "total_tokens": 12_345})
    today = {"date": TODAY, "tenant": "a", "model": "m", "requests": 1, "total_tokens": 5}
    tomorrow = {"date": TOMORROW, "tenant": "b", "requests": 300, "denied": 40}
    made.add("usage_daily", today, tomorrow)
    peaks = [("a", "requests", 0, 30), ("a", "requests", 1, 45), ("a", "tokens", 0, 900), ("a", "concurrency", 0, None)]
    rows = [{"tenant": t, "kind": k, "hour": at(hour), "peak_minute": most} for t, k, hour, most in peaks]
    made.add("rate_limit_usage", *rows, hours=[DAY, DAY + HOUR])
    return made


def histogram(made: Handmade, *micros: int, version: str = "v1", metric: str = "duration", **more: Any) -> None:
    """Latencies of a day, each in its bucket, as the daily tables have them."""
    row = {"date": TODAY, "api_version": version, "metric": metric, **more}
    made.add("latency_daily", *(row | {"bucket": bucket(value), "count": 1} for value in micros))
    least, greatest = min(micros) / 1000, max(micros) / 1000
    if row.get("outcome", "ok") == "ok":
        made.add("latency_summary_daily", row | {"count": len(micros), "min_ms": least, "max_ms": greatest})


def test_lines_and_reasons_are_those_of_all_raw_files(made: Handmade) -> None:
    document = said(made)
    assert document["lines"] == {"lines": 1_100, "accepted": 1_087, "duplicate": 2, "late": 1, "quarantined": 10}
    assert list(document["reasons"].items()) == [("type", 6), ("syntax", 4)]
    text = lines(summary.text(document, seconds=0.25))
    assert "lines 1,100  accepted 1,087  duplicate 2  late 1  quarantined 10" in text
    assert "type 6  syntax 4" in text
    assert text[-1] == "0.2 s"


def test_tenants_come_with_their_greatest_minute_and_limit(made: Handmade) -> None:
    document = said(made)
    assert document["tenants"] == [
        {
            **{"tenant": "a", "requests": 701, "denied": 3, "tokens": 12_350},
            **{"peak_minute_requests": 45, "limit_requests": 60, "peak_minute_tokens": 900, "limit_tokens": 10_000},
        },
        {
            **{"tenant": "b", "requests": 300, "denied": 40, "tokens": 0},
            **{"peak_minute_requests": None, "limit_requests": 5, "peak_minute_tokens": None, "limit_tokens": None},
        },
    ]
    text = [cells(line) for line in lines(summary.text(document, seconds=1))]
    assert ["tenant", "requests", "denied", "tokens", "peak requests/min", "peak tokens/min"] in text
    assert ["a", "701", "3", "12,350", "45 of 60", "900 of 10,000"] in text
    assert ["b", "300", "40", "0", "0 of 5", "0"] in text


def test_without_a_policy_tenants_have_no_limits(made: Handmade) -> None:
    document = said(made, None)
    assert {row["limit_requests"] for row in document["tenants"]} == {None}
    assert (document["policy"], document["expires_at"]) == (None, None)
    assert ["a", "701", "3", "12,350", "45", "900"] in [
        cells(line) for line in lines(summary.text(document, seconds=1))
    ]


def test_the_limit_of_one_model_is_not_that_of_all(made: Handmade) -> None:
    one_model = limit("a", "requests", 7, scope=Scope(model="m", api_version="*"))
    document = said(made, policy(1, limit("a", "requests", 60), one_model))
    assert document["tenants"][0]["limit_requests"] == 60


def test_a_suspended_tenant_is_not_shown_as_one_without_a_limit(made: Handmade) -> None:
    document = said(made, policy(1, limit("a", "requests", 0, suspended=True)))
    assert document["tenants"][0]["limit_requests"] == 0
    assert "45 of 0" in shown(summary.text(document, seconds=1))


def test_the_eight_busiest_tenants_are_shown_first_the_busiest(tmp_path: Path) -> None:
    made = Handmade(tmp_path)
    made.add("usage_daily", *({"date": TODAY, "tenant": f"t{n}", "requests": n // 2} for n in range(10)))
    made.add_ledger({})
    tenants = [row["tenant"] for row in said(made)["tenants"]]
    assert tenants == ["t8", "t9", "t6", "t7", "t4", "t5", "t2", "t3"]


def test_quantiles_are_those_of_the_histograms_merged(made: Handmade) -> None:
    first, second = [1_000, 20_000, 300_000], [45_678, 1_000_000, 5_000]
    histogram(made, *first, route="/a")
    histogram(made, *second, route="/b", date=TOMORROW)
    histogram(made, 250_000, metric="ttft")
    histogram(made, 7_777, version="v2")
    histogram(made, 86_400_000_000, outcome="error")
    histogram(made, 9_000, metric="itl")
    counts = {bucket(value): 1 for value in first + second}
    p50, p95, p99 = (round(quantile_ms(counts, q, 100, min_us=1_000, max_us=1_000_000), 1) for q in (50, 95, 99))
    assert said(made)["latency"] == [
        {"api_version": "v1", "metric": "duration", "count": 6, "p50": p50, "p95": p95, "p99": p99},
        {"api_version": "v1", "metric": "ttft", "count": 1, "p50": 250.0, "p95": 250.0, "p99": 250.0},
        {"api_version": "v2", "metric": "duration", "count": 1, "p50": 7.8, "p95": 7.8, "p99": 7.8},
    ]
    assert p50 == pytest.approx(20, rel=0.01)  # the third of six
    assert p95 == p99 == pytest.approx(1_000, rel=0.01)


def test_each_quantile_is_the_one_it_says(made: Handmade) -> None:
    histogram(made, *(number * 1_000_000 for number in range(1, 101)))
    (row,) = said(made)["latency"]
    assert row["count"] == 100
    for percent in (50, 95, 99):
        assert row[f"p{percent}"] == pytest.approx(percent * 1_000, rel=0.01)


def test_quantiles_lie_between_the_least_and_the_greatest_value_seen(made: Handmade) -> None:
    """The value of a bucket may lie beyond all that is in it."""
    histogram(made, 1_000_000, 1_000_000)
    ((row),) = said(made)["latency"]
    assert [row[name] for name in ("p50", "p95", "p99")] == [1_000.0] * 3
    histogram(made, 999_000_000, route="/b")
    assert said(made)["latency"][0]["p99"] == 999_000.0


def test_a_release_of_bad_lines_alone_has_nobody_to_show(tmp_path: Path) -> None:
    made = Handmade(tmp_path)
    made.add_ledger({"topic": "t", "lines": 3, "quarantined": 3, "reasons": [("type", 3)]})
    document = said(made)
    assert (document["tenants"], document["latency"]) == ([], [])
    assert lines(summary.text(document, seconds=1)).count("nothing") == 2


def test_what_the_run_did_is_said(made: Handmade) -> None:
    document = said(made)
    assert (document["release"], document["released"], document["policy"], document["policy_new"]) == (1, True, 3, True)
    assert document["expires_at"] == "2026-03-04T00:00:00Z"
    assert "release 1, policy 3 (derived from 2 hours of release 1)" in lines(summary.text(document, seconds=1))
    again = summary.text(said(made, released=False, unfinished=("t: a.jsonl",)), seconds=1)
    assert lines(again)[0] == "nothing pending; release 1 stands"
    assert "left out, for its landing was cut off: t: a.jsonl; land it again" in lines(again)
    assert json.loads(json.dumps(document)) == document


def test_a_pinned_and_an_empty_store_say_so(made: Handmade) -> None:
    pinned = said(made, None, released=False, pinned=True, derivation=None)
    assert lines(summary.text(pinned, seconds=1)) == [
        "release 1 is pinned by a rollback: landed and parsed, nothing released"
    ]
    nothing = summary.document(made.store, done(None, None, released=False))
    assert lines(summary.text(nothing, seconds=1)) == [
        "nothing has landed yet: quotaloop land files PATH... --topic NAME"
    ]


def test_nothing_in_it_is_obeyed_by_a_terminal(tmp_path: Path) -> None:
    made = Handmade(tmp_path)
    made.add_ledger({"topic": "t", "lines": 1, "accepted": 1, "unknown_fields": [(HOSTILE, 1)]})
    made.add("usage_daily", {"date": TODAY, "tenant": HOSTILE, "requests": 1})
    histogram(made, 1_000, version=HOSTILE)
    text = shown(summary.text(said(made), seconds=1))
    assert text.count(SPELLED) == 3
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


def test_the_names_of_files_are_not_obeyed_either(made: Handmade) -> None:
    assert SPELLED in shown(summary.text(said(made, unfinished=(HOSTILE,)), seconds=1))
