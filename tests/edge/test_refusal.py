"""What a client is told when the edge answers in place of the handler: problem, status and fields, to the letter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.refusal import Refused, over_limit, unauthenticated, unknown_version
from quotaloop.edge.versions import Version, Versions
from quotaloop.limiter import Answer, Limiter, MemoryStore
from quotaloop.quotas.policy import Kind, Limit, Rate
from tests.sinks.pushes import limit, policy

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
VERSIONS = Versions([Version("v1"), Version("v2")], default="v1", latest="v2")
KINDS_OF_ERRORS = "https://iana.org/assignments/http-problem-types#"


def refused(*limits: Limit, costs: dict[Kind, int], times: int = 1) -> Refused:
    """The refusal of the last of so many requests of acme."""
    safe: dict[Kind, Rate] = {
        kind: Rate(limit=8, per_seconds=60, burst=8) for kind in ("requests", "tokens", "concurrency", "compute")
    }
    made = Limiter(MemoryStore(hold_ms=600_000), safe_capacity=safe)
    made.load(policy(3, *limits))
    for number in range(times):
        answer = made.reserve("acme", f"request-{number}", costs, now_ms=NOON)
    return over_limit(answer, costs)


def test_a_limit_that_says_no_is_told_with_its_numbers_and_when_to_come_back() -> None:
    # 1,500 of 2,000 are spent, 100 come in a second: 1,500 fit when another 1,000 have come.
    limits = (limit("acme", "tokens", 6_000, burst=2_000), limit("acme", "requests", 60))
    found = refused(*limits, costs={"requests": 1, "tokens": 1_500}, times=2)
    assert (found.status, found.outcome, found.denied_by, found.retry_after_ms) == (429, "denied", "tokens", 10_000)
    assert json.loads(found.body()) == {
        "type": KINDS_OF_ERRORS + "quota-exceeded",
        "title": "A limit is reached",
        "status": 429,
        "detail": "tokens: 1,500 wanted, 500 left of 6,000 in 60 s; come back in 10 s",
        "violated-policies": ["tokens"],
        "limits": [
            {
                "name": "tokens",
                "kind": "tokens",
                "limit": 6_000,
                "per_seconds": 60,
                "wanted": 1_500,
                "remaining": 500,
                "retry_after_s": 10,
            }
        ],
        "policy_epoch": 3,
        "source": "policy",
    }
    assert found.fields == [
        (b"ratelimit-policy", b'"requests";q=60;qu="requests";w=60, "tokens";q=6000;qu="tokens";w=60'),
        (b"ratelimit", b'"requests";r=59, "tokens";r=500;t=10'),
        (b"retry-after", b"10"),
    ]


def test_of_several_limits_that_say_no_the_first_names_the_outcome_and_the_longest_the_wait() -> None:
    limits = (limit("acme", "requests", 60, burst=1), limit("acme", "tokens", 60, burst=30))
    found = refused(*limits, costs={"requests": 1, "tokens": 30}, times=2)
    assert (found.denied_by, found.retry_after_ms) == ("requests", 30_000)
    assert found.problem["detail"] == (
        "requests: 1 wanted, 0 left of 60 in 60 s; tokens: 30 wanted, 0 left of 60 in 60 s; come back in 30 s"
    )
    assert [one["retry_after_s"] for one in found.problem["limits"]] == [1, 30]
    assert found.problem["violated-policies"] == ["requests", "tokens"]
    assert dict(found.fields)[b"retry-after"] == b"30"


def test_slots_have_no_period() -> None:
    found = refused(limit("acme", "concurrency", 1), costs={"concurrency": 1}, times=2)
    assert found.problem["detail"] == "concurrency: 1 wanted, 0 left of 1 at once; come back in 600 s"
    assert found.problem["limits"][0]["per_seconds"] is None


def test_a_suspended_tenant_is_told_a_limit_of_nothing() -> None:
    found = refused(limit("acme", "requests", 0), costs={"requests": 1})
    assert (found.status, found.denied_by, found.problem["limits"][0]["limit"]) == (429, "requests", 0)
    assert found.problem["detail"] == "requests: 1 wanted, 0 left of 0 at once; come back in 600 s"


def test_a_store_that_is_away_is_no_limit_that_said_no() -> None:
    found = over_limit(Answer(False, None, 1_000, (), "closed", 3), {"requests": 1})
    assert (found.status, found.outcome, found.denied_by) == (503, "error", None)
    assert found.fields == [(b"retry-after", b"1")]
    assert json.loads(found.body()) == {
        "type": KINDS_OF_ERRORS + "temporary-reduced-capacity",
        "title": "Limits cannot be checked at the moment",
        "status": 503,
        "detail": "come back in 1 s",
    }


@pytest.mark.parametrize(
    ("headers", "in_path", "source"), [((), "v3", "path"), (((b"api-version", b"v3"),), None, "header")]
)
def test_a_version_that_there_is_not_is_told_with_those_that_there_are(
    headers: Any, in_path: str | None, source: str
) -> None:
    arrival = Arrival(protocol="http", method="GET", path="/", raw_headers=headers)
    found = unknown_version(VERSIONS.resolve(arrival, in_path), VERSIONS)
    status = 404 if source == "path" else 400
    assert (found.status, found.outcome, found.fields, found.retry_after_ms) == (status, "error", [], 0)
    assert json.loads(found.body()) == {
        "type": "about:blank",
        "title": "There is no such version",
        "status": status,
        "detail": f"the {source} asks for version 'v3'; there are v1, v2",
        "versions": ["v1", "v2"],
        "latest": "v2",
    }


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", "''"),
        ("x" * 100_000, repr("x" * 64)),
        ("v1\r\nset-cookie: a=b", r"'v1\r\nset-cookie: a=b'"),
        ("\ud800\0", r"'\ud800\x00'"),
        ("\u00e9\u6a21", "'\u00e9\u6a21'"),
        ("<script>", "'<script>'"),
    ],
)
def test_what_a_client_said_comes_back_short_and_in_a_body_of_ascii_alone(word: str, said: str) -> None:
    found = unknown_version(VERSIONS.resolve(Arrival(protocol="http", method="GET", path="/"), word), VERSIONS)
    assert found.problem["detail"] == f"the path asks for version {said}; there are v1, v2"
    assert found.body().isascii()
    assert not set(range(32)) & set(found.body())
    assert json.loads(found.body()) == found.problem


def test_who_has_no_key_is_told_how_to_send_one() -> None:
    found = unauthenticated("Bearer")
    assert (found.status, found.outcome, found.fields) == (401, "error", [(b"www-authenticate", b"Bearer")])
    assert json.loads(found.body())["detail"] == "send it as Authorization: Bearer KEY"


def test_a_refusal_says_its_title_when_it_is_printed() -> None:
    assert str(unauthenticated("Bearer")) == "The key is missing or not known"
