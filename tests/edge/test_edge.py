"""An attempt from its arrival to its end: what is reserved and settled, and the one event that it becomes."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import pytest

from quotaloop.edge import Arrival, Estimate, Exchange, Refused, current
from quotaloop.quotas.policy import Scope
from tests.edge.attempts import KEY, begun, edge_of, left, let_in, turned_away
from tests.edge.metering import NOON_MS, metering
from tests.sinks.pushes import limit


def test_what_an_attempt_may_cost_is_held_until_it_ends_as_what_it_did_cost() -> None:
    made = metering()  # 100 requests, 10,000 tokens, 10 slots; the estimate is 100 tokens
    exchange, answer = asyncio.run(let_in(made))
    assert (answer.allowed, left(made)) == (True, (99, 9_900, 9))
    exchange.input_tokens, exchange.output_tokens, exchange.gpu_us = 20, 10, 4_000
    made.edge.end(exchange, 200, "ok")
    assert left(made) == (99, 9_970, 10)
    assert made.remaining("acme", "compute") == 60_000_000 - 4_000
    assert left(made, "globex") == (100, 10_000, 10)


def test_what_costs_more_than_was_guessed_is_paid_too() -> None:
    made = metering()
    exchange, _ = asyncio.run(let_in(made))
    exchange.output_tokens = 700
    made.edge.end(exchange, 200, "ok")
    assert left(made) == (99, 9_300, 10)


def test_an_attempt_is_one_event_with_what_is_known_of_it() -> None:
    made = metering()
    exchange, _ = asyncio.run(let_in(made, "/api/chat", KEY, (b"api-version", b"2.1"), (b"x-retry-of", b"first-1")))
    made.clock.pass_ms(250)
    exchange.output_tokens = 3
    made.edge.end(exchange, 200, "ok")
    assert made.events.only() == {
        "event_id": exchange.event_id,
        "ts": NOON_MS,
        "tenant": "acme",
        "api_key_id": "k1",
        "route": "/api/v2/chat",
        "operation": "chat",
        "api_version": "v2",
        "version_source": "header",
        "retry_of": "first-1",
        "status": 200,
        "outcome": "ok",
        "duration_ms": 250.0,
        "method": "POST",
        "protocol": "http",
        "model": "markov",
        "output_tokens": 3,
    }


def test_only_the_first_end_counts() -> None:
    made = metering()
    exchange, _ = asyncio.run(let_in(made))
    exchange.output_tokens = 50
    made.edge.end(exchange, 200, "ok")
    exchange.output_tokens = 5_000
    made.edge.end(exchange, 500, "error")
    event = made.events.only()
    assert (event["outcome"], event["output_tokens"]) == ("ok", 50)
    assert left(made) == (99, 9_950, 10)


def test_what_a_handler_says_wrong_costs_nothing_and_frees_the_slot() -> None:
    made = metering()
    wrongs: tuple[Any, ...] = (None, "7", 1.5, -3, 2**41, [])
    for wrong in wrongs:
        exchange, _ = asyncio.run(let_in(made))
        exchange.output_tokens = wrong
        made.edge.end(exchange, 200, "ok")
    assert left(made) == (94, 10_000, 10)
    assert len(made.events.written) == 6


def test_a_limit_that_says_no_ends_the_attempt_as_denied_and_nothing_is_spent() -> None:
    made = metering(tokens=150)
    first, _ = asyncio.run(let_in(made))
    refused = asyncio.run(turned_away(made, "/api/v2/chat", KEY))
    assert (refused.status, refused.denied_by) == (429, "tokens")
    event = made.events.only()
    assert (event["status"], event["outcome"], event["denied_by"], event["wanted_tokens"]) == (
        429,
        "denied",
        "tokens",
        100,
    )
    assert left(made) == (99, 50, 9)  # the first alone
    made.edge.end(first, 200, "ok")
    assert left(made) == (99, 150, 10)


def test_an_estimate_above_a_limit_takes_all_of_it_and_is_told_as_it_was() -> None:
    made = metering(tokens=150)
    body = b'{"tokens": 1000000000000000}'

    def ask() -> Exchange:
        exchange, _ = begun(made, "/api/v2/chat", KEY)
        exchange.arrival.body = body
        return exchange

    first = ask()
    asyncio.run(made.edge.let_in(first, None))
    assert left(made) == (99, 0, 9)
    second = ask()
    with pytest.raises(Refused):
        asyncio.run(made.edge.let_in(second, None))
    made.edge.end(second, 429, "denied")
    assert made.events.only()["wanted_tokens"] == 2**40 - 1  # the most that an event may say


@pytest.mark.parametrize(
    ("path", "headers", "status", "source"),
    [
        ("/api/v9/chat", (KEY,), 404, "path"),
        ("/api/vlatest/chat", (KEY,), 404, "path"),
        ("/api/chat", (KEY, (b"api-version", b"v9")), 400, "header"),
        ("/api/chat", (KEY, (b"accept", b"a/b;version=9")), 400, "accept"),
    ],
)
def test_a_version_that_there_is_not_is_told_and_counts_as_a_request_and_nothing_else(
    path: str, headers: tuple[tuple[bytes, bytes], ...], status: int, source: str
) -> None:
    made = metering()
    refused = asyncio.run(turned_away(made, path, *headers))
    assert (refused.status, refused.denied_by) == (status, None)
    event = made.events.only()
    assert (event["api_version"], event["version_source"], event["route"]) == ("unknown", source, "/api/{version}/chat")
    assert (event["tenant"], event["status"], event["outcome"]) == ("acme", status, "error")
    assert left(made) == (99, 10_000, 10)


def test_a_key_that_nobody_knows_counts_as_a_request_of_nobody() -> None:
    made = metering(requests=2)
    for headers in ((), ((b"authorization", b"Bearer nobody's"),)):
        refused = asyncio.run(turned_away(made, "/api/v2/chat", *headers))
        assert (refused.status, refused.fields) == (401, [(b"www-authenticate", b"Bearer")])
    assert [(event["tenant"], event["status"], event["outcome"]) for event in made.events.written] == [
        ("anonymous", 401, "error")
    ] * 2
    assert "api_key_id" not in made.events.written[0]
    assert (left(made, "anonymous"), left(made)) == ((0, 10_000, 10), (2, 10_000, 10))
    refused = asyncio.run(turned_away(made))  # guessing keys is limited too
    assert (refused.status, refused.denied_by) == (429, "requests")
    assert made.events.written[-1]["denied_by"] == "requests"


def test_who_has_neither_key_nor_version_is_asked_for_the_key_first() -> None:
    made = metering()
    assert asyncio.run(turned_away(made, "/api/v9/chat")).status == 401
    assert made.events.only()["api_version"] == "unknown"


def test_a_public_route_serves_nobody_and_knows_who_has_a_key() -> None:
    made = metering()
    for headers, tenant in (((), "anonymous"), ((KEY,), "acme")):
        exchange, refusal = begun(made, "/open", *headers)
        assert (refusal, exchange.tenant) == (None, tenant)


def test_what_is_refused_anyway_is_not_estimated() -> None:
    seen: list[str] = []

    def estimate(arrival: Arrival) -> Estimate:
        seen.append(arrival.api_version)
        return Estimate(5)

    made = edge_of(estimate=estimate)
    asyncio.run(turned_away(made, "/api/v9/chat", KEY))
    asyncio.run(turned_away(made))
    assert seen == []
    asyncio.run(let_in(made, "/api/1/chat"))
    assert seen == ["v1"]  # whoever estimates knows the version


def test_it_is_settled_with_the_model_it_was_reserved_with() -> None:
    large = limit("acme", "tokens", 1_000, scope=Scope(model="large", api_version="v2"))
    made = edge_of(None, large, estimate=lambda _: Estimate(400, model="large"))
    exchange, _ = asyncio.run(let_in(made))
    exchange.model, exchange.api_version, exchange.output_tokens = "large-2026-03", "v3", 100
    made.edge.end(exchange, 200, "ok")
    answer = made.limiter.reserve("acme", "probe", {"tokens": 0}, now_ms=NOON_MS, model="large", api_version="v2")
    assert answer.decisions[0][1].remaining == 900
    assert made.events.only()["model"] == "large-2026-03"


def test_every_answer_has_its_id_and_what_its_version_says() -> None:
    made = metering()
    old, _ = begun(made, "/api/1.0/chat", KEY)
    assert made.edge.fields(old) == [
        (b"x-request-id", old.event_id.encode()),
        (b"deprecation", b"@1767225600"),  # 2026-01-01T00:00:00Z
        (b"sunset", b"Thu, 31 Dec 2026 23:59:59 GMT"),
    ]
    for path in ("/api/v2/chat", "/api/v9/chat"):
        other, _ = begun(made, path, KEY)
        assert made.edge.fields(other) == [(b"x-request-id", other.event_id.encode())]


def test_no_two_attempts_have_one_id_also_of_two_processes() -> None:
    made = [metering(), metering()]
    arrival = Arrival(protocol="http", method="GET", path="/")
    ids = [one.edge.arrive(arrival).event_id for one in made for _ in range(100)]
    assert len(set(ids)) == 200
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", event_id) for event_id in ids)


def fails(_: Arrival) -> Any:
    raise RuntimeError("of the application")


def _says(tokens: Any, _: Arrival) -> Estimate:
    return Estimate(tokens)


def test_an_application_that_cannot_say_whose_a_request_is_leaves_nothing_reserved_and_an_event() -> None:
    made = edge_of(None, identify=fails)
    exchange = made.edge.arrive(Arrival(protocol="http", method="GET", path="/", raw_headers=[KEY]))
    with pytest.raises(RuntimeError, match="of the application"):
        made.edge.resolve(exchange, made.edge.match("/api/v1/chat"))
    made.edge.end(exchange, 500, "error")
    assert made.events.only()["tenant"] == "anonymous"
    assert left(made) == (8, 8, 8)


@pytest.mark.parametrize(
    "estimate",
    [
        pytest.param(fails, id="raises"),
        *(pytest.param(partial(_says, tokens), id=str(tokens)) for tokens in (-1, 1.5, "7", None)),
    ],
)
def test_an_estimate_that_makes_no_sense_counts_as_a_request_without_tokens(estimate: Any) -> None:
    made = edge_of(None, estimate=estimate)
    exchange, refusal = begun(made, "/api/v2/chat", KEY)
    assert asyncio.run(made.edge.let_in(exchange, refusal)).allowed
    assert left(made) == (7, 8, 7)
    made.edge.end(exchange, 500, "error")
    assert left(made) == (7, 8, 8)


def test_there_is_no_current_attempt_outside_of_one() -> None:
    with pytest.raises(LookupError):
        current()
