from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from quotaloop.edge import Estimate, Refused, Session
from quotaloop.edge.asgi import Metered
from tests.edge.driving import ACME, Client, Message, cancelled, finish, scope_of, until
from tests.edge.metering import Metering, metering

_Send = Callable[[Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[Message]]


class Left(Exception):
    """As frameworks raise it where a client has gone."""


def say(client: Client, text: str) -> None:
    client.sent.put_nowait({"type": "websocket.receive", "text": text})


def leave(client: Client, code: int) -> None:
    client.sent.put_nowait({"type": "websocket.disconnect", "code": code})


def connecting() -> Client:
    client = Client()
    client.sent.put_nowait({"type": "websocket.connect"})
    return client


def _texts(client: Client) -> list[str]:
    return [message["text"] for message in client.got if message["type"] == "websocket.send"]


def _echo(made: Metering, *, close: int | None = 1000) -> Metered:
    """Each message comes back twice, until the client is done or says ``end``."""

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive" and message["text"] != "end":
            made.clock.pass_ms(10)
            for _ in range(2):
                await send({"type": "websocket.send", "text": message["text"]})
        if message["type"] == "websocket.receive" and close is not None:
            await send({"type": "websocket.close", "code": close})

    return Metered(app, made.edge)


def _conversing(made: Metering, tokens: int = 100) -> Metered:
    """Each message is an exchange of two tokens; ``break`` fails after one, ``wait`` waits for the next message."""

    async def app(scope: Message, receive: _Receive, send: _Send) -> None:
        session: Session = scope["quotaloop.session"]
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            made.clock.pass_ms(5)
            try:
                async with session.exchange(Estimate(tokens=tokens, model="markov"), operation="chat") as exchange:
                    if message["text"] == "unknown":
                        exchange.fail(404)
                    for number in range(2):
                        made.clock.pass_ms(10)
                        exchange.output_tokens += 1
                        await send({"type": "websocket.send", "text": f"{message['text']}{number}"})
                        if message["text"] == "break":
                            raise RuntimeError("broken")
                        if message["text"] == "wait" and (await receive())["type"] == "websocket.disconnect":
                            raise Left
            except Refused as refused:
                await send({"type": "websocket.send", "text": f"refused {refused.status}"})

    return Metered(app, made.edge)


def _serve(app: Metered, path: str, *said: str, code: int = 1000, headers: Any = (ACME,)) -> Client:
    async def work() -> Client:
        client = connecting()
        for text in said:
            say(client, text)
        leave(client, code)
        await finish(client, app, scope_of(path, kind="websocket", headers=headers))
        return client

    return asyncio.run(work())


def test_a_connection_whose_handler_begins_no_exchange_is_one_attempt() -> None:
    made = metering()
    client = _serve(_echo(made), "/api/v1/socket", "abc", "de", "end")
    assert _texts(client) == ["abc", "abc", "de", "de"]
    assert client.headers["deprecation"] == "@1767225600"
    event = made.events.only()
    assert (event["protocol"], event["status"], event["outcome"]) == ("websocket", 101, "ok")
    assert (event["route"], event["method"], event["tenant"]) == ("/api/v1/socket", "GET", "acme")
    assert (event["stream_messages"], event["bytes_out"], event["bytes_in"]) == (4, 10, 8)
    assert (event["ttft_ms"], event["duration_ms"]) == (10.0, 20.0)
    assert made.remaining("acme", "requests") == 99
    assert made.remaining("acme", "concurrency") == 10


@pytest.mark.parametrize(
    ("code", "status", "outcome"),
    [(1000, 101, "ok"), (1001, 101, "ok"), (1006, 499, "cancelled"), (1012, 503, "error")],
)
def test_how_the_other_side_closed_decides(code: int, status: int, outcome: str) -> None:
    made = metering()
    _serve(_echo(made), "/api/v1/socket", "abc", code=code)
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (status, outcome)


@pytest.mark.parametrize(("code", "outcome"), [(1000, "ok"), (1003, "ok"), (1011, "error"), (1013, "error")])
def test_how_the_handler_closed_decides(code: int, outcome: str) -> None:
    made = metering()
    _serve(_echo(made, close=code), "/api/v1/socket", "end")
    assert made.events.only()["outcome"] == outcome


def test_a_handshake_without_key_is_answered_by_http_and_is_an_attempt() -> None:
    for path in ("/api/v1/socket", "/api/v1/session"):
        made = metering()
        client = _serve(_echo(made), path, headers=())
        assert client.status == 401
        assert json.loads(client.body)["title"] == "The key is missing or not known"
        event = made.events.only()
        assert (event["tenant"], event["status"], event["outcome"]) == ("anonymous", 401, "error")


def test_a_handshake_over_a_limit_is_refused() -> None:
    made = metering(concurrency=1)
    made.limiter.reserve("acme", "another", {"concurrency": 1}, now_ms=made.clock.ms)
    client = _serve(_echo(made), "/api/v1/socket")
    assert client.status == 429
    assert "retry-after" in client.headers
    event = made.events.only()
    assert (event["status"], event["denied_by"]) == (429, "concurrency")


def test_a_server_that_cannot_answer_a_handshake_closes_it() -> None:
    made, client = metering(), connecting()
    scope = scope_of("/api/v9/session", kind="websocket") | {"extensions": {}}
    asyncio.run(finish(client, _echo(made), scope))
    assert client.got == [{"type": "websocket.close", "code": 1008, "reason": "There is no such version"}]
    assert made.events.only()["status"] == 404


def test_a_handler_that_does_not_accept_is_an_error_403() -> None:
    made = metering()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 1008})

    for path in ("/api/v1/socket", "/api/v1/session"):
        _serve(Metered(app, made.edge), path)
    assert [(event["status"], event["outcome"]) for event in made.events.written] == [(403, "error")] * 2


def test_each_exchange_of_a_connection_is_an_attempt_and_the_connection_is_none() -> None:
    made = metering()
    client = _serve(_conversing(made), "/api/v2/session", "a", "bc")
    assert _texts(client) == ["a0", "a1", "bc0", "bc1"]
    first, second = made.events.written
    assert first["event_id"] != second["event_id"]
    for event, size_in, size_out in ((first, 1, 4), (second, 2, 6)):
        assert (event["status"], event["outcome"], event["protocol"]) == (200, "ok", "websocket")
        assert (event["route"], event["api_version"], event["operation"]) == ("/api/v2/session", "v2", "chat")
        assert (event["ttft_ms"], event["duration_ms"], event["output_tokens"]) == (10.0, 20.0, 2)
        assert (event["bytes_in"], event["bytes_out"], event["stream_messages"]) == (size_in, size_out, 2)
    assert second["ts"] - first["ts"] == 25
    assert (made.remaining("acme", "requests"), made.remaining("acme", "tokens")) == (98, 9_996)


def test_an_exchange_over_a_limit_is_refused_and_the_connection_lives() -> None:
    made = metering(requests=1)
    client = _serve(_conversing(made, tokens=7), "/api/v2/session", "a", "b")
    assert _texts(client) == ["a0", "a1", "refused 429"]
    event = made.events.written[1]
    assert (event["status"], event["outcome"], event["denied_by"]) == (429, "denied", "requests")
    assert (event["wanted_tokens"], event["bytes_in"]) == (7, 1)
    assert made.remaining("acme", "concurrency") == 10


def test_a_handler_that_raises_in_an_exchange_is_an_error() -> None:
    made = metering()
    client = _serve(_conversing(made), "/api/v2/session", "a", "break")
    assert isinstance(client.raised, RuntimeError)
    event = made.events.written[1]
    assert (event["status"], event["outcome"], event["output_tokens"]) == (500, "error", 1)
    assert made.remaining("acme", "tokens") == 9_997
    assert len(made.events.written) == 2


@pytest.mark.parametrize(("code", "status", "outcome"), [(1001, 499, "cancelled"), (1012, 500, "error")])
def test_a_peer_that_leaves_an_exchange_cancels_it_and_a_server_that_ends_fails_it(
    code: int, status: int, outcome: str
) -> None:
    made = metering()
    _serve(_conversing(made), "/api/v2/session", "wait", code=code)
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"]) == (status, outcome, 1)
    assert made.remaining("acme", "tokens") == 9_999


def test_a_server_that_cuts_a_connection_fails_its_exchange() -> None:
    made = metering()

    async def work() -> None:
        client = connecting()
        say(client, "wait")
        scope = scope_of("/api/v2/session", kind="websocket")
        task = asyncio.ensure_future(_conversing(made)(scope, client.receive, client.send))
        await until(lambda: bool(_texts(client)))
        await cancelled(task)

    asyncio.run(work())
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (500, "error")
    assert made.remaining("acme", "concurrency") == 10


def test_an_exchange_that_a_handler_answers_with_an_error_has_its_status() -> None:
    made = metering()
    _serve(_conversing(made), "/api/v2/session", "unknown")
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"]) == (404, "error", 2)


def test_a_path_without_version_is_passed_on_to_that_of_the_version() -> None:
    made, seen = metering(), list[str]()

    async def app(scope: Message, receive: _Receive, send: _Send) -> None:
        seen.append(scope["path"])
        await receive()
        await send({"type": "websocket.close", "code": 1000})

    _serve(Metered(app, made.edge), "/api/socket?version=2")
    assert seen == ["/api/v2/socket"]
    assert made.events.only()["route"] == "/api/v2/socket"
