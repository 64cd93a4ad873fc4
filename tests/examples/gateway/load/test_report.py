"""Reports of load: counts that add up, and quantiles that are values that were measured."""

from __future__ import annotations

import io

from rich.console import Console

from examples.gateway.clients.answer import Answer
from examples.gateway.load.plan import Call
from examples.gateway.load.report import report, shown
from examples.gateway.load.run import Attempt


def attempt(
    answer: Answer,
    *,
    tenant: str = "acme",
    protocol: str = "sse",
    at_s: float = 0,
    begun_s: float = 0,
    ended_s: float = 1,
) -> Attempt:
    return Attempt(Call(at_s, tenant, protocol, 3, 4, 1), answer, begun_s, ended_s)


def row(attempts: list[Attempt]) -> dict[str, object]:
    (found,) = report(attempts)["calls"]
    return dict(found)


def test_rows_are_by_tenant_and_protocol_and_sum_up_to_the_plan() -> None:
    ok = Answer("ok", 200)
    attempts = [
        attempt(ok, tenant="globex"),
        attempt(ok, protocol="http"),
        attempt(ok),
        attempt(ok),
    ]
    document = report(attempts)
    rows = [(row["tenant"], row["protocol"], row["attempts"]) for row in document["calls"]]
    assert rows == [("acme", "http", 1), ("acme", "sse", 2), ("globex", "sse", 1)]
    assert document["planned"] == 4


def test_every_outcome_is_counted_once() -> None:
    found = row(
        [
            attempt(Answer("ok", 200, tokens=4)),
            attempt(Answer("ok", 200, tokens=3)),
            attempt(Answer("refused", 429)),
            attempt(Answer("error", None, is_sent=False)),
            attempt(Answer("cancelled", 200, tokens=2)),
            attempt(Answer("cancelled", None)),
            attempt(Answer("error", 500, tokens=1)),
        ]
    )
    names = ("attempts", "ok", "refused", "errors", "cancelled", "unsent", "tokens")
    assert [found[name] for name in names] == [7, 2, 1, 2, 2, 1, 10]


def test_quantiles_are_of_ok_alone_from_the_plan_and_from_the_sending() -> None:
    """Of 1 to 100 s the rank of the median is 50, that of p99 is 99."""
    oks = [
        attempt(Answer("ok", 200, duration_ms=second * 10.0, ttft_ms=second * 1.0), at_s=2, ended_s=2 + second)
        for second in range(100, 0, -1)
    ]
    found = row([*oks, attempt(Answer("refused", 429, duration_ms=1), ended_s=900)])
    names = ("p50_ms", "p99_ms", "sent_p50_ms", "sent_p99_ms", "ttft_p50_ms", "ttft_p99_ms")
    assert [found[name] for name in names] == [50_000, 99_000, 500, 990, 50, 99]


def test_there_is_no_quantile_of_nothing() -> None:
    found = row([attempt(Answer("refused", 429))])
    assert found["p50_ms"] is found["p99_ms"] is found["ttft_p99_ms"] is None


def test_signalling_stands_beside_the_calls() -> None:
    offers = {"globex": [], "acme": [Answer("ok", 200), Answer("refused", 429)]}
    document = report([attempt(Answer("ok", 200), protocol="webrtc")], offers)
    assert document["planned"] == sum(row["attempts"] for row in document["calls"]) == 1
    (found,) = document["signalling"]
    assert (found["tenant"], found["attempts"], found["ok"], found["refused"]) == ("acme", 2, 1, 1)


def test_delays_are_told_by_what_made_them() -> None:
    call = Call(1, "acme", "http", 3, 4, 1)
    held = Attempt(call, Answer("ok", 200), begun_s=3.5, ended_s=4, held_s=2)
    delays = report([held, attempt(Answer("ok", 200))], waits_s=[0.25, 0.5])["delays"]
    assert delays == {
        "most_open": {"calls": 1, "most_ms": 2_000},
        "connection": {"calls": 2, "most_ms": 500},
        "late_p99_ms": 500,
    }


def test_what_was_not_ok_is_told_with_its_reason_most_frequent_first() -> None:
    document = report(
        [
            attempt(Answer("error", None, reason="ConnectError")),
            attempt(Answer("refused", 429, problem={"title": "A limit is reached"})),
            attempt(Answer("refused", 429, problem={"title": "A limit is reached"})),
            attempt(Answer("ok", 200)),
            attempt(Answer("cancelled", 200)),
            attempt(Answer("cancelled", None, reason="given up")),
        ]
    )
    assert list(document["reasons"].items()) == [
        ("refused 429 A limit is reached", 2),
        ("error - ConnectError", 1),
        ("cancelled, as planned", 1),
        ("cancelled - given up", 1),
    ]


def test_people_see_the_counts_and_every_delay() -> None:
    held = Attempt(Call(1, "acme", "http", 3, 4, 1), Answer("ok", 200), begun_s=3, ended_s=4, held_s=2)
    told = io.StringIO()
    Console(file=told, width=80).print(shown(report([held], {"acme": [Answer("ok", 200)]}, [0.5])))
    text = told.getvalue()
    assert "1 calls waited for others to end, as many as may be open were, at most 2,000 ms" in text
    assert "1 calls waited for a connection, all of that kind were lent, at most 500 ms" in text
    assert "signalling of WebRTC peers" in text
    assert "p50, p99: ms of calls that were ok, from the planned time; sent: p99 from the sending" in " ".join(
        text.split()
    )
    head, _, row = text.splitlines()[:3]
    assert head.split() == [
        "tenant",
        "protocol",
        "calls",
        "ok",
        "refused",
        "errors",
        "left",
        "tokens",
        "p50",
        "p99",
        "sent",
    ]
    assert row.split() == ["acme", "http", "1", "1", "0", "0", "0", "0", "3,000", "3,000", "0"]
