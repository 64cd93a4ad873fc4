"""What calls of gRPC come to, the same on servers of both kinds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from quotaloop.edge import Exchange, Route
from tests.edge.grpc_servers import ACME, SERVERS, SERVICE, Run, Stops, run_on
from tests.edge.metering import ROUTES, metering


@pytest.fixture(params=["aio", "threads"])
def run(request: pytest.FixtureRequest) -> Run:
    """Serve by this kind of server while a client works."""
    return partial(run_on, SERVERS[request.param])


def test_a_stream_of_replies_is_one_attempt(run: Run) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> Any:
        call = channel.unary_stream(f"/{SERVICE}/Tokens")(b"abc", metadata=ACME)
        replies = [reply async for reply in call]
        return replies, dict(await call.initial_metadata())

    replies, metadata = run(made, work)
    assert replies == [b"a", b"b", b"c"]
    event = made.events.only()
    assert metadata["x-request-id"] == event["event_id"]
    assert metadata["deprecation"] == "@1767225600"
    assert (event["protocol"], event["status"], event["outcome"]) == ("grpc", 200, "ok")
    assert (event["route"], event["operation"], event["tenant"]) == (f"/{SERVICE}/Tokens", "chat", "acme")
    assert (event["api_version"], event["version_source"]) == ("v1", "path")
    assert (event["output_tokens"], event["stream_messages"]) == (3, 3)
    assert (event["bytes_in"], event["bytes_out"], event["ttft_ms"]) == (3, 3, 0.0)
    assert made.remaining("acme", "tokens") == 9_997
    assert made.remaining("acme", "concurrency") == 10


def test_every_kind_of_method_is_counted(run: Run) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> None:
        assert await channel.unary_unary(f"/{SERVICE}/Single")(b"abc", metadata=ACME) == b"abcabc"
        written = channel.unary_stream(f"/{SERVICE}/Written")(b"xy", metadata=ACME)
        assert [part async for part in written] == [b"x", b"y"]
        assert await channel.stream_unary(f"/{SERVICE}/Joined")(iter([b"a", b"bcd"]), metadata=ACME) == b"abcd"

    run(made, work)
    sizes = [(event["route"][-6:], event["bytes_in"], event["bytes_out"]) for event in made.events.written]
    assert sizes == [("Single", 3, 6), ("ritten", 2, 2), ("Joined", 4, 4)]
    assert made.events.written[0]["input_tokens"] == 3
    assert "ttft_ms" not in made.events.written[0]
    assert [event["outcome"] for event in made.events.written] == ["ok"] * 3


def test_a_call_over_a_limit_is_refused_with_a_delay(run: Run) -> None:
    made = metering(requests=60)
    made.limiter.reserve("acme", "all", {"requests": 60}, now_ms=made.clock.ms)

    async def work(_: Any, channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{SERVICE}/Single")(b"abc", metadata=ACME)
        return refused.value

    error = run(made, work)
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    trailing = dict(error.trailing_metadata())
    assert trailing["retry-delay"] == "1s"
    assert json.loads(trailing["problem"])["violated-policies"] == ["requests"]
    event = made.events.only()
    assert (event["status"], event["outcome"], event["denied_by"]) == (429, "denied", "requests")
    assert event["wanted_tokens"] == 100


@pytest.mark.parametrize(
    ("service", "metadata", "code", "status"),
    [
        (SERVICE, (), StatusCode.UNAUTHENTICATED, 401),
        ("quotaloop.v9.Chat", ACME, StatusCode.UNIMPLEMENTED, 404),
    ],
)
def test_a_call_without_key_or_version_is_an_error(
    run: Run, service: str, metadata: tuple[tuple[str, str], ...], code: StatusCode, status: int
) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{service}/Single")(b"abc", metadata=metadata)
        return refused.value

    assert run(made, work, service=service).code() is code
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (status, "error")


def test_a_handler_that_raises_midway_or_aborts_is_an_error(run: Run) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> list[bytes]:
        call = channel.unary_stream(f"/{SERVICE}/Tokens")(b"ab!c", metadata=ACME)
        seen = [await call.read(), await call.read()]
        with pytest.raises(grpc.aio.AioRpcError):
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/{SERVICE}/Single")(b"missing", metadata=ACME)
        return seen

    assert run(made, work) == [b"a", b"b"]
    ends = [(event["status"], event["outcome"], event.get("output_tokens", 0)) for event in made.events.written]
    assert ends == [(500, "error", 2), (404, "error", 0)]
    assert made.remaining("acme", "concurrency") == 10


def test_a_client_that_cancels_is_cancelled_and_a_server_that_ends_is_an_error(run: Run) -> None:
    made = metering()

    async def work(server: Stops, channel: grpc.aio.Channel) -> None:
        call = channel.unary_stream(f"/{SERVICE}/Tokens")(b"a?", metadata=ACME)
        assert await call.read() == b"a"
        call.cancel()
        await _until(lambda: len(made.events.written) == 1)
        other = channel.unary_stream(f"/{SERVICE}/Tokens")(b"bc?", metadata=ACME)
        assert [await other.read(), await other.read()] == [b"b", b"c"]
        made.edge.stopping()
        await server.stop(None)
        await _until(lambda: len(made.events.written) == 2)

    run(made, work)
    ends = [(event["status"], event["outcome"], event["output_tokens"]) for event in made.events.written]
    assert ends == [(499, "cancelled", 1), (503, "error", 2)]
    assert made.remaining("acme", "concurrency") == 10


def test_a_method_that_no_route_is_for_is_counted_under_one_name(run: Run) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> None:
        await channel.unary_unary("/other.Service/Single")(b"abc", metadata=ACME)

    run(made, work, service="other.Service")
    assert made.events.only()["route"] == "/*"


def test_a_method_that_the_server_has_not_is_counted_and_limited(run: Run) -> None:
    made = metering(requests=2)

    async def work(_: Any, channel: grpc.aio.Channel) -> list[StatusCode]:
        calls = (channel.unary_unary, channel.unary_stream, channel.unary_unary)
        return [await call(f"/{SERVICE}/Other")(b"abc", metadata=ACME).code() for call in calls]

    assert run(made, work) == [StatusCode.UNIMPLEMENTED, StatusCode.UNIMPLEMENTED, StatusCode.RESOURCE_EXHAUSTED]
    ends = [(event["route"], event["status"], event["outcome"]) for event in made.events.written]
    assert ends == [("/*", 501, "error")] * 2 + [("/*", 429, "denied")]


def test_calls_that_are_cancelled_at_once_leave_nothing_held_and_one_event_each(run: Run) -> None:
    made = metering(requests=1_000, concurrency=1_000, tokens=1_000_000)
    begun = list[str]()
    resolve = made.edge.resolve

    def counted(exchange: Exchange, matched: Any) -> Any:
        begun.append(exchange.event_id)
        return resolve(exchange, matched)

    made.edge.resolve = counted  # type: ignore[method-assign]

    async def work(_: Any, channel: grpc.aio.Channel) -> None:
        for number in range(200):
            call = channel.unary_stream(f"/{SERVICE}/Tokens")(b"abcdefgh", metadata=ACME)
            await asyncio.sleep(0.0001 * (number % 20))  # at any moment of the call
            call.cancel()
        await _until(lambda: len(made.events.written) >= len(begun) and not made.edge._live)

    run(made, work)
    assert sorted(event["event_id"] for event in made.events.written) == sorted(begun)
    assert made.remaining("acme", "concurrency") == 1_000


def test_what_identify_raises_is_an_error_with_an_event(run: Run) -> None:
    made = metering()

    def broken(_: Any) -> None:
        raise RuntimeError("no")

    made.edge._identify = broken

    async def work(_: Any, channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/{SERVICE}/Single")(b"abc", metadata=ACME)

    run(made, work)
    assert (made.events.only()["status"], made.events.only()["outcome"]) == (500, "error")


def test_a_conversation_is_one_attempt_counted_both_ways(run: Run) -> None:
    made = metering(routes=[*ROUTES, Route("/quotaloop.{version}.Chat/Each")])

    async def work(_: Any, channel: grpc.aio.Channel) -> list[bytes]:
        call = channel.stream_stream(f"/{SERVICE}/Each")(metadata=ACME)
        replies = []
        for part in (b"a", b"bc"):
            await call.write(part)
            replies.append(await call.read())
        await call.done_writing()
        assert await call.code() is StatusCode.OK
        return replies

    assert run(made, work) == [b"aa", b"bcbc"]
    event = made.events.only()
    assert (event["route"], event["outcome"], event["status"]) == (f"/{SERVICE}/Each", "ok", 200)
    assert (event["bytes_in"], event["bytes_out"], event["stream_messages"]) == (3, 6, 2)


def test_a_client_whose_deadline_passes_is_cancelled(run: Run) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> None:
        call = channel.unary_stream(f"/{SERVICE}/Tokens")(b"a?", metadata=ACME, timeout=3)
        assert await call.read() == b"a"
        assert await call.code() is StatusCode.DEADLINE_EXCEEDED
        await _until(lambda: len(made.events.written) == 1)

    run(made, work)
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"]) == (499, "cancelled", 1)
    assert made.remaining("acme", "tokens") == 9_999
    assert made.remaining("acme", "concurrency") == 10


@pytest.mark.parametrize("part", [b"#", b"~"])
def test_a_message_that_cannot_be_read_or_written_is_an_error_and_not_the_clients_doing(run: Run, part: bytes) -> None:
    made = metering()

    async def work(_: Any, channel: grpc.aio.Channel) -> StatusCode:
        call = channel.stream_stream(f"/{SERVICE}/Each")(metadata=ACME)
        await call.write(b"a")
        assert await call.read() == b"aa"
        await call.write(part)
        found: StatusCode = await call.code()
        await _until(lambda: len(made.events.written) == 1)
        return found

    assert run(made, work) in (StatusCode.INTERNAL, StatusCode.UNKNOWN)
    event = made.events.only()
    assert (event["status"], event["outcome"], event["stream_messages"]) == (500, "error", 1)
    assert made.remaining("acme", "concurrency") == 10


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.001)
