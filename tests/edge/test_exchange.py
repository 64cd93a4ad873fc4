"""The event of an attempt: what it says, in which units, and that it is always one that the parser takes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from quotaloop.edge.arrival import Arrival
from quotaloop.edge.exchange import Exchange, costs_of
from quotaloop.events.event import Event, Parsed
from quotaloop.events.parser import parse_line

NOON_MS = 1_772_452_800_000  # 2026-03-02T12:00:00Z
BEGAN_NS = 7_000_000_000


class Watch:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.ns = BEGAN_NS

    def __call__(self) -> int:
        return self.ns


def begun(method: str = "POST", **said: Any) -> tuple[Exchange, Watch]:
    """An attempt of acme, and its clock."""
    watch = Watch()
    arrival = Arrival(protocol="http", method=method, path="/api/v1/chat")
    exchange = Exchange(arrival, "a-1", NOON_MS, watch.ns, watch)
    resolved = {"tenant": "acme", "route": "/api/v1/chat", "api_version": "v1", "version_source": "path"}
    for name, value in (resolved | said).items():
        setattr(exchange, name, value)
    return exchange, watch


def event(status: int = 200, outcome: str = "ok", *, after_ns: int = 0, **said: Any) -> dict[str, Any]:
    """That of an attempt which took so long."""
    exchange, watch = begun(**said)
    return exchange.event(status, outcome, watch.ns + after_ns)


def parsed(found: dict[str, Any]) -> Event:
    """As the pipeline reads the line."""
    read = parse_line(json.dumps(found).encode())
    assert isinstance(read, Parsed), read
    assert read.unknown_fields == ()
    return read.event


def test_an_attempt_that_says_nothing_has_just_what_is_required_and_its_defaults() -> None:
    assert event(after_ns=1_234_567) == {
        "event_id": "a-1",
        "ts": NOON_MS,
        "tenant": "acme",
        "route": "/api/v1/chat",
        "api_version": "v1",
        "status": 200,
        "duration_ms": 1.234,  # whole microseconds, never longer than it was
        "method": "POST",
        "protocol": "http",
        "version_source": "path",
        "outcome": "ok",
        "model": "unknown",
    }


def test_everything_that_is_said_stands_in_the_event() -> None:
    exchange, watch = begun(
        operation="chat", api_key_id="k-1", retry_of="a-0", model="markov-2", protocol="sse", version_source="header"
    )
    exchange.input_tokens, exchange.cache_read_tokens, exchange.cache_write_tokens = 1, 20, 300
    exchange.output_tokens, exchange.reasoning_tokens, exchange.gpu_us = 4_000, 50_000, 1_500
    exchange.received(11)
    exchange.received(2)
    watch.ns += 5_000_999
    exchange.sent(100)
    exchange.sent(20, 2)
    found = exchange.event(200, "ok", BEGAN_NS + 9_000_000)
    assert costs_of(found) == {"tokens": 54_321, "compute": 1_500}
    read = parsed(found)
    assert (read.operation, read.api_key_id, read.retry_of, read.model) == ("chat", "k-1", "a-0", "markov-2")
    assert (read.protocol, read.version_source, read.total_tokens) == ("sse", "header", 54_321)
    assert (read.cache_read_tokens, read.cache_write_tokens, read.reasoning_tokens) == (20, 300, 50_000)
    assert (read.duration_us, read.ttft_us, read.gpu_us) == (9_000, 5_000, 1_500)
    assert (read.bytes_in, read.bytes_out, read.stream_messages) == (13, 120, 3)


def test_the_first_byte_of_a_stream_is_its_first_token_unless_the_handler_says_when_that_was() -> None:
    exchange, watch = begun()
    exchange.sent(0)  # nothing went out
    watch.ns += 1_000_000
    exchange.sent(10)
    watch.ns += 1_000_000
    exchange.sent(10)
    assert exchange.event(200, "ok", watch.ns)["ttft_ms"] == 1.0
    exchange.first_token()
    watch.ns += 1_000_000
    exchange.first_token()
    exchange.sent(10)
    assert exchange.event(200, "ok", watch.ns)["ttft_ms"] == 2.0
    assert exchange.elapsed_ns() == 3_000_000


def test_no_first_token_is_later_than_the_end_and_a_denied_attempt_has_none() -> None:
    exchange, watch = begun(denied_by="tokens", wanted_tokens=5)
    watch.ns += 2_000_000
    exchange.first_token()
    assert exchange.event(200, "ok", BEGAN_NS + 1_000_000)["ttft_ms"] == 1.0
    assert "ttft_ms" not in exchange.event(429, "denied", BEGAN_NS + 3_000_000)


@pytest.mark.parametrize(("after_ns", "ms"), [(-5, 0.0), (0, 0.0), (999, 0.0), (86_400_001 * 1_000_000, 86_400_000.0)])
def test_a_duration_is_from_nothing_to_a_day(after_ns: int, ms: float) -> None:
    found = event(after_ns=after_ns)
    assert found["duration_ms"] == ms
    parsed(found)


def test_a_denied_attempt_says_by_what_and_what_it_wanted() -> None:
    read = parsed(event(429, "denied", denied_by="tokens", wanted_tokens=700))
    assert (read.outcome, read.denied_by, read.wanted_tokens, read.total_tokens) == ("denied", "tokens", 700, 0)
    assert parsed(event(429, "denied", denied_by="requests", wanted_tokens=0)).wanted_tokens == 0


@pytest.mark.parametrize("wanted", [2**40, 10**30])
def test_more_tokens_than_an_event_may_say_were_wanted_are_said_as_the_most_of_it(wanted: int) -> None:
    assert parsed(event(429, "denied", denied_by="tokens", wanted_tokens=wanted)).wanted_tokens == 2**40 - 1


def test_an_attempt_that_ends_before_anybody_knows_whose_it_is_has_an_event_too() -> None:
    exchange = Exchange(Arrival(protocol="grpc", method="POST", path="/x"), "a-1", NOON_MS, BEGAN_NS, Watch())
    read = parsed(exchange.event(499, "cancelled", BEGAN_NS))
    assert (read.tenant, read.route, read.api_version, read.protocol) == ("anonymous", "/*", "unknown", "grpc")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", "x" * 129),
        ("model", "x" * 1_000_000),
        ("model", "a\r\nb"),
        ("model", "a\0"),
        ("model", "\ud800"),
        ("model", "\u202e"),
        ("model", 5),
        ("model", None),
        ("model", ["markov"]),
        ("model", "sk-" + "aB3" * 8),
        ("operation", "image classify"),
        ("operation", ""),
        ("retry_of", "a/0"),
        ("retry_of", "\u00e9"),
        ("retry_of", "ghp_" + "a" * 36),
        ("retry_of", "x" * 129),
        ("api_key_id", "k 1"),
        ("api_key_id", 7),
    ],
)
def test_a_name_that_no_event_may_hold_is_left_out_and_said_without_it(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    found = event(**{name: value})
    assert name not in found
    parsed(found)
    assert caplog.messages == [f"{name} of a-1 cannot stand in an event and is left out"]


@pytest.mark.parametrize("model", ["markov", "x" * 128, "Modell f\u00fcr alles", "e\u0301" * 128, "org/model:1@2"])
def test_a_model_may_be_named_as_the_contract_lets_it(model: str) -> None:
    found = event(model=model)
    assert found["model"] == model
    parsed(found)


@pytest.mark.parametrize("tenant", ["", "-a", "a b", "x" * 65, "a\n", "\ud800", None, 7, "sk-" + "aB3" * 8])
def test_a_tenant_that_no_event_may_hold_is_nobody(tenant: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert parsed(event(tenant=tenant)).tenant == "anonymous"
    assert caplog.messages == ["tenant of a-1 cannot stand in an event and is left out"]


@pytest.mark.parametrize("method", ["post", "M-SEARCH", "X" * 33, "GET\r\n", "AKIA" + "A" * 20, ""])
def test_a_method_that_no_event_may_hold_is_left_out(method: str, caplog: pytest.LogCaptureFixture) -> None:
    assert parsed(event(method=method)).method == "POST"
    assert caplog.messages == ["method of a-1 cannot stand in an event and is left out"]


AMOUNTS = ("input_tokens", "output_tokens", "bytes_in", "bytes_out", "stream_messages", "gpu_us")


@pytest.mark.parametrize("name", AMOUNTS)
@pytest.mark.parametrize("value", [-1, 1.5, 5.0, "5", None, True, float("nan"), [], 2**60, 10**400])
def test_what_is_no_amount_counts_as_nothing_and_is_said(
    name: str, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    exchange, watch = begun(**{name: value})
    found = exchange.event(200, "ok", watch.ns)
    assert found == event()
    assert costs_of(found) == {"tokens": 0, "compute": 0}  # it is settled as what the event says
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert caplog.messages[0].startswith(f"{name} of a-1 is ")


@pytest.mark.parametrize(
    ("name", "most", "field", "said"),
    [
        ("input_tokens", 2**40 - 1, "input_tokens", 2**40 - 1),
        ("bytes_out", 2**50 - 1, "bytes_out", 2**50 - 1),
        ("gpu_us", 10**15, "gpu_ms", 10**12),
    ],
)
def test_the_most_that_an_event_may_say_is_said_and_one_more_is_not(
    name: str, most: int, field: str, said: int
) -> None:
    said_most: dict[str, Any] = {name: most}
    found = event(**said_most)
    assert found[field] == said
    parsed(found)
    said_most[name] += 1
    assert field not in event(**said_most)


@pytest.mark.parametrize("status", [0, 99, 600, 999, -1])
def test_a_status_that_is_none_is_an_error_of_the_server(status: int) -> None:
    assert parsed(event(status, "error")).status == 500


def test_a_microsecond_of_accelerator_time_is_a_thousandth_of_its_field() -> None:
    for gpu_us in (1, 999, 1_001, 123_456_789):
        assert parsed(event(gpu_us=gpu_us)).gpu_us == gpu_us
