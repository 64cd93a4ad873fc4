from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from quotaloop.edge import current
from quotaloop.edge.asgi import Metered
from quotaloop.events.event import Event
from quotaloop.events.parser import parse_line
from tests.edge.driving import ACME, Client, Message, ask, cancelled, finish, scope_of, until
from tests.edge.metering import NOON_MS, Metering, metering

JSON = (b"content-type", b"application/json")
_Send = Callable[[Message], Awaitable[None]]
_Receive = Callable[[], Awaitable[Message]]


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return asyncio.run(main())


def is_valid(event: dict[str, Any]) -> None:
    parsed = parse_line(json.dumps(event).encode())
    assert isinstance(getattr(parsed, "event", parsed), Event), parsed


async def _start(send: _Send, status: int = 200, kind: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})


def _app(made: Metering, *, status: int = 200, body: bytes = b'{"ok":true}') -> Metered:
    async def app(scope: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        made.clock.pass_ms(40)
        exchange = current()
        assert scope["quotaloop.exchange"] is exchange
        exchange.input_tokens, exchange.output_tokens, exchange.gpu_us = 12, 8, 2_500
        await _start(send, status)
        await send({"type": "http.response.body", "body": body})

    return Metered(app, made.edge)


def _streaming(made: Metering, parts: list[bytes], then: Exception | None = None) -> Metered:
    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send, kind=b"text/event-stream; charset=utf-8")
        for part in parts:
            made.clock.pass_ms(10)
            if part.startswith(b"event: token"):
                current().output_tokens += 1
            await send({"type": "http.response.body", "body": part, "more_body": True})
        if then is not None:
            raise then
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Metered(app, made.edge)


def _reading(made: Metering, seen: list[bytes]) -> Metered:
    """Takes its body part by part."""

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        more = True
        while more:
            message = await receive()
            seen.append(message["body"])
            more = message["more_body"]
        await _start(send)
        await send({"type": "http.response.body", "body": b""})

    return Metered(app, made.edge)


def test_a_request_ends_as_one_event_with_what_it_cost() -> None:
    made = metering()
    client = run(ask(_app(made), scope_of("/api/v2/chat?x=1", headers=[ACME, JSON]), b'{"tok', b'ens": 50}'))
    assert (client.status, client.body) == (200, b'{"ok":true}')
    event = made.events.only()
    assert event == {
        "event_id": client.headers["x-request-id"],
        "ts": NOON_MS,
        "tenant": "acme",
        "route": "/api/v2/chat",
        "api_version": "v2",
        "status": 200,
        "duration_ms": 40.0,
        "method": "POST",
        "protocol": "http",
        "outcome": "ok",
        "model": "markov",
        "version_source": "path",
        "operation": "chat",
        "api_key_id": "k1",
        "input_tokens": 12,
        "output_tokens": 8,
        "bytes_in": len(b'{"tokens": 50}'),
        "bytes_out": len(b'{"ok":true}'),
        "gpu_ms": 2.5,
    }
    is_valid(event)
    assert (made.remaining("acme", "requests"), made.remaining("acme", "tokens")) == (99, 9_980)
    assert (made.remaining("acme", "compute"), made.remaining("acme", "concurrency")) == (59_997_500, 10)


def test_the_handler_gets_the_body_that_the_edge_has_read() -> None:
    made, seen = metering(), list[bytes]()

    app = _reading(made, seen)
    run(ask(app, scope_of("/api/v1/chat", headers=[ACME, JSON]), b'{"a"', b":", b"1}"))
    assert b"".join(seen) == b'{"a":1}'
    assert made.events.only()["bytes_in"] == 7


def test_a_body_above_the_bound_is_passed_on_and_not_read_for_an_estimate() -> None:
    made = metering(tokens=1_000)
    big = b'{"tokens": 999, "x": "' + b"y" * 300_000 + b'"}'
    client = run(ask(_app(made), scope_of("/api/v1/chat", headers=[ACME, JSON]), big[:200_000], big[200_000:], b""))
    assert client.status == 200
    assert made.events.only()["outcome"] == "ok"


@pytest.mark.parametrize(
    ("path", "headers", "body", "version", "source"),
    [
        ("/api/v1/chat", [(b"api-version", b"2")], b"{}", "v1", "path"),
        ("/api/chat", [(b"api-version", b"2.1")], b"{}", "v2", "header"),
        ("/api/chat", [(b"accept", b"application/vnd.api+json;version=2")], b"{}", "v2", "accept"),
        ("/api/chat?version=1.0", [], b'{"version": 2}', "v1", "query"),
        ("/api/chat?api_version=latest", [], b"{}", "v2", "query"),
        ("/api/chat", [], b'{"version": 2}', "v2", "body"),
        ("/api/chat", [], b"{}", "v1", "default"),
    ],
)
def test_versions_are_found_in_a_stated_order(
    path: str, headers: list[tuple[bytes, bytes]], body: bytes, version: str, source: str
) -> None:
    made, seen = metering(), list[str]()

    async def app(scope: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        seen.append(scope["path"])
        await _start(send)
        await send({"type": "http.response.body", "body": b""})

    run(ask(Metered(app, made.edge), scope_of(path, headers=[ACME, JSON, *headers]), body))
    event = made.events.only()
    assert (event["api_version"], event["version_source"], event["route"]) == (version, source, f"/api/{version}/chat")
    assert seen == [f"/api/{version}/chat"]


def test_a_deprecated_version_says_so_and_when_it_ends() -> None:
    made = metering()
    client = run(ask(_app(made), scope_of("/api/v1/chat")))
    assert client.headers["deprecation"] == "@1767225600"
    assert client.headers["sunset"] == "Thu, 31 Dec 2026 23:59:59 GMT"
    other = run(ask(_app(made), scope_of("/api/v2/chat")))
    assert "deprecation" not in other.headers
    assert "sunset" not in other.headers


@pytest.mark.parametrize(("path", "status"), [("/api/v9/chat", 404), ("/api/chat?version=9", 400)])
def test_an_unknown_version_is_told_the_known_ones_and_counts_as_a_request(path: str, status: int) -> None:
    made = metering()
    client = run(ask(_app(made), scope_of(path)))
    problem = json.loads(client.body)
    assert (client.status, problem["status"], problem["versions"]) == (status, status, ["v1", "v2"])
    assert client.headers["content-type"] == "application/problem+json"
    event = made.events.only()
    assert (event["api_version"], event["outcome"], event["status"]) == ("unknown", "error", status)
    assert (made.remaining("acme", "requests"), made.remaining("acme", "concurrency")) == (99, 10)


def test_a_request_without_a_known_key_is_anonymous_and_counted() -> None:
    made = metering(requests=1)
    first = run(ask(_app(made), scope_of("/api/v1/chat", headers=[(b"authorization", b"Bearer wrong")])))
    assert (first.status, first.headers["www-authenticate"]) == (401, "Bearer")
    event = made.events.only()
    assert (event["tenant"], event["status"], event["outcome"]) == ("anonymous", 401, "error")
    second = run(ask(_app(made), scope_of("/api/v1/chat", headers=[])))
    assert second.status == 429  # guessing keys is limited too
    assert run(ask(_app(made), scope_of("/open"))).status == 200


def test_a_refusal_says_which_limit_how_much_and_when_to_come_back() -> None:
    made = metering(tokens=600)  # 10 a second
    run(ask(_app(made), scope_of("/api/v2/chat", headers=[ACME, JSON]), b'{"tokens": 600}'))
    made.events.written.clear()
    client = run(ask(_app(made), scope_of("/api/v2/chat", headers=[ACME, JSON]), b'{"tokens": 600}'))
    # 600 reserved, 20 used: 580 are left; 20 more need 2 s
    assert client.status == 429
    assert client.headers["retry-after"] == "2"
    policies = client.headers["ratelimit-policy"].split(", ")
    assert policies[:2] == ['"requests";q=100;qu="requests";w=60', '"tokens";q=600;qu="tokens";w=60']
    assert '"tokens";r=580;t=2' in client.headers["ratelimit"].split(", ")
    problem = json.loads(client.body)
    assert problem["type"].endswith("#quota-exceeded")
    assert problem["violated-policies"] == ["tokens"]
    assert problem["limits"] == [
        {
            "name": "tokens",
            "kind": "tokens",
            "limit": 600,
            "per_seconds": 60,
            "wanted": 600,
            "remaining": 580,
            "retry_after_s": 2,
        }
    ]
    event = made.events.only()
    assert (event["status"], event["outcome"], event["denied_by"]) == (429, "denied", "tokens")
    assert event["wanted_tokens"] == 600
    assert "ttft_ms" not in event
    is_valid(event)
    assert made.remaining("acme", "requests") == 99  # the refused one spent nothing
    assert made.remaining("acme", "concurrency") == 10


def test_an_estimate_above_the_burst_takes_all_of_it_and_is_settled_at_what_it_was() -> None:
    made = metering(tokens=600)
    client = run(ask(_app(made), scope_of("/api/v2/chat", headers=[ACME, JSON]), b'{"tokens": 5000}'))
    assert client.status == 200
    assert made.remaining("acme", "tokens") == 580


def test_a_stream_has_the_time_of_its_first_token_and_its_messages() -> None:
    made = metering()
    parts = [b": heartbeat\n\n", b"event: token\ndata: a\n\n", b"event: token\ndata: b\n\n"]
    client = run(ask(_streaming(made, parts), scope_of("/api/v1/chat")))
    assert client.status == 200
    event = made.events.only()
    assert (event["protocol"], event["outcome"], event["output_tokens"]) == ("sse", "ok", 2)
    assert (event["ttft_ms"], event["duration_ms"]) == (20.0, 30.0)  # the heartbeat is no first byte
    assert (event["stream_messages"], event["bytes_out"]) == (2, sum(map(len, parts)))
    is_valid(event)


def test_a_part_of_a_stream_goes_out_before_the_next_is_made() -> None:
    made, client, asked = metering(), Client(), asyncio.Event()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send, kind=b"text/event-stream")
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await asked.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        task = asyncio.ensure_future(finish(client, Metered(app, made.edge), scope_of("/api/v1/chat")))
        await until(lambda: client.body == b"data: 1\n\n")
        assert made.events.written == []
        asked.set()
        await task

    run(work())
    assert made.events.only()["stream_messages"] == 2


def test_a_stream_that_tells_of_its_error_is_an_error_with_status_200() -> None:
    made = metering()
    parts = [b"event: token\ndata: a\n\n", b"event: error\ndata: {}\n\n"]
    run(ask(_streaming(made, parts), scope_of("/api/v1/chat")))
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"]) == (200, "error", 1)


@pytest.mark.parametrize("cut", range(1, 24))
def test_an_error_that_is_told_in_two_parts_is_one_wherever_it_is_cut(cut: int) -> None:
    made = metering()
    told = b"event: error\ndata: {}\n\n"
    run(ask(_streaming(made, [told[:cut], told[cut:]]), scope_of("/api/v1/chat")))
    event = made.events.only()
    assert (event["status"], event["outcome"], event["stream_messages"]) == (200, "error", 1)


@pytest.mark.parametrize("name", [b"error_rate", b"errors", b"terror"])
def test_an_event_whose_name_is_not_quite_error_is_none(name: bytes) -> None:
    made = metering()
    run(ask(_streaming(made, [b"event: " + name + b"\ndata: 1\n\n"]), scope_of("/api/v1/chat")))
    assert made.events.only()["outcome"] == "ok"


def test_an_error_event_in_the_text_of_a_stream_is_no_error() -> None:
    made = metering()
    run(ask(_streaming(made, [b"event: token\ndata: say event: error please\n\n"]), scope_of("/api/v1/chat")))
    assert made.events.only()["outcome"] == "ok"


def test_a_handler_that_raises_in_a_stream_tells_the_client_and_is_an_error() -> None:
    made = metering()
    client = run(ask(_streaming(made, [b"event: token\ndata: a\n\n"], ValueError("no")), scope_of("/api/v1/chat")))
    assert isinstance(client.raised, ValueError)
    assert client.body.endswith(
        b'event: error\ndata: {"type": "about:blank", "title": "The stream failed", "status": 500}\n\n'
    )
    assert client.got[-1]["more_body"] is False
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"], event["ttft_ms"]) == (200, "error", 1, 10.0)
    assert made.remaining("acme", "tokens") == 9_999
    assert made.remaining("acme", "concurrency") == 10


def test_a_handler_that_raises_before_it_answers_is_an_error_500() -> None:
    made = metering()

    async def app(*_: Any) -> None:
        raise RuntimeError("broken")

    client = run(ask(Metered(app, made.edge), scope_of("/api/v1/chat")))
    assert isinstance(client.raised, RuntimeError)
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (500, "error")
    assert made.remaining("acme", "concurrency") == 10


def test_a_handler_that_ends_without_an_answer_is_an_error() -> None:
    made = metering()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send)

    run(ask(Metered(app, made.edge), scope_of("/api/v1/chat")))
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (200, "error")


@pytest.mark.parametrize(("status", "outcome"), [(204, "ok"), (302, "ok"), (404, "error"), (503, "error")])
def test_the_status_of_the_handler_decides(status: int, outcome: str) -> None:
    made = metering()
    run(ask(_app(made, status=status, body=b""), scope_of("/api/v1/items/7", method="GET")))
    event = made.events.only()
    assert (event["status"], event["outcome"], event["method"]) == (status, outcome, "GET")
    assert event["route"] == "/api/{version}/items/{item}".replace("{version}", "v1")


def test_a_client_that_leaves_a_stream_is_cancelled_and_pays_for_what_was_made() -> None:
    made, client = metering(), Client()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send, kind=b"text/event-stream")
        for _ in range(3):
            current().output_tokens += 1
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"  # as frameworks listen for it, and stop

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        client.leave()
        await finish(client, Metered(app, made.edge), scope_of("/api/v1/chat"))

    run(work())
    event = made.events.only()
    assert (event["status"], event["outcome"], event["output_tokens"]) == (200, "cancelled", 3)
    assert made.remaining("acme", "tokens") == 9_997


def test_a_client_that_left_while_the_answer_was_made_is_cancelled() -> None:
    made, client = metering(), Client()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        made.clock.pass_ms(500)
        client.leave()
        await _start(send)
        await send({"type": "http.response.body", "body": b"late"})

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await finish(client, Metered(app, made.edge), scope_of("/api/v1/chat"))

    run(work())
    assert made.events.only()["outcome"] == "cancelled"


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_server_that_ends_and_cuts_an_attempt_is_an_error(is_stream: bool) -> None:
    made, client = metering(), Client()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        if is_stream:
            await _start(send, kind=b"text/event-stream")
            await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
        current().output_tokens = 1
        await asyncio.Event().wait()

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        app_call = Metered(app, made.edge)(scope_of("/api/v1/chat"), client.receive, client.send)
        task = asyncio.ensure_future(app_call)
        await until(lambda: bool(client.got) or not is_stream)
        for _ in range(5):
            await asyncio.sleep(0)
        await cancelled(task)

    run(work())
    event = made.events.only()
    assert (event["outcome"], event["output_tokens"]) == ("error", 1)
    assert made.remaining("acme", "concurrency") == 10
    assert made.remaining("acme", "tokens") == 9_999


def test_what_is_not_metered_passes_without_key_and_event() -> None:
    made = metering()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send)
        await send({"type": "http.response.body", "body": b"fine"})

    client = run(ask(Metered(app, made.edge), scope_of("/health", method="GET", headers=[])))
    assert (client.status, client.body, made.events.written) == (200, b"fine", [])


def test_a_path_that_no_route_is_for_is_counted_under_one_name() -> None:
    made = metering()
    run(ask(_app(made, status=404), scope_of("/somewhere/else")))
    event = made.events.only()
    assert (event["route"], event["status"], event["outcome"]) == ("/*", 404, "error")


def test_a_name_that_a_client_chose_and_that_no_event_may_hold_is_left_out() -> None:
    made = metering()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        current().model = "sk-abcdEFGH1234abcdEFGH1234"
        await _start(send)
        await send({"type": "http.response.body", "body": b""})

    headers = [ACME, (b"x-retry-of", b"not an id")]
    run(ask(Metered(app, made.edge), scope_of("/api/v1/chat", headers=headers)))
    event = made.events.only()
    assert "model" not in event
    assert "retry_of" not in event


def test_a_retry_names_the_attempt_that_it_repeats() -> None:
    made = metering()
    first = run(ask(_app(made), scope_of("/api/v1/chat"))).headers["x-request-id"]
    run(ask(_app(made), scope_of("/api/v1/chat", headers=[ACME, (b"x-retry-of", first.encode())])))
    assert made.events.written[1]["retry_of"] == first


def test_the_edge_closes_when_the_application_has_shut_down() -> None:
    made, order = metering(), list[str]()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        for step in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{step}"
            order.append(f"{step} {made.events.is_closed}")
            await send({"type": f"lifespan.{step}.complete"})

    async def work() -> Client:
        client = Client()
        client.sent.put_nowait({"type": "lifespan.startup"})
        client.sent.put_nowait({"type": "lifespan.shutdown"})
        await finish(client, Metered(app, made.edge), {"type": "lifespan"})
        return client

    client = run(work())
    assert client.raised is None
    assert order == ["startup False", "shutdown False"]
    assert made.events.is_closed
    assert made.edge.is_stopping


@pytest.mark.parametrize(
    ("root", "path", "route"),
    [
        ("/api", "/api/health", None),
        ("/api/", "/api/health", None),
        ("/api", "/apix/health", "/*"),
        ("", "/health", None),
    ],
)
def test_routes_are_those_below_the_place_that_the_application_is_mounted_at(
    root: str, path: str, route: str | None
) -> None:
    made = metering()
    run(ask(Metered(_open, made.edge), scope_of(path) | {"root_path": root}))
    assert [event["route"] for event in made.events.written] == ([route] if route else [])


async def _open(_: Message, receive: _Receive, send: _Send) -> None:
    await receive()
    await _start(send)
    await send({"type": "http.response.body", "body": b""})


def test_the_type_of_a_json_body_may_be_written_in_capitals() -> None:
    made = metering()
    headers = [ACME, (b"content-type", b"Application/JSON")]
    run(ask(_app(made), scope_of("/api/chat", headers=headers), b'{"version": 2}'))
    assert made.events.only()["version_source"] == "body"


def test_a_stream_that_is_refused_is_one_of_streams() -> None:
    made = metering(requests=1)
    for _ in range(2):
        run(ask(_app(made), scope_of("/api/v1/chat", headers=[ACME, (b"accept", b"text/event-stream")])))
    assert [event["protocol"] for event in made.events.written] == ["http", "sse"]


def test_a_client_of_http2_that_has_gone_is_sent_no_last_part() -> None:
    made, client = metering(), Client()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        await _start(send)
        await send({"type": "http.response.body", "body": b"late"})

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        client.leave()
        await finish(client, Metered(app, made.edge), scope_of("/api/v1/chat") | {"http_version": "2"})

    run(work())
    assert client.body == b""  # a server might wait for ever until it is read
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (200, "cancelled")
    assert made.remaining("acme", "concurrency") == 10


def test_a_client_that_leaves_in_its_upload_is_cancelled_though_it_is_answered() -> None:
    made, client = metering(), Client()

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await _start(send, 400)
        await send({"type": "http.response.body", "body": b"what?"})

    async def work() -> None:
        client.sent.put_nowait({"type": "http.request", "body": b"half", "more_body": True})
        client.leave()
        await finish(client, Metered(app, made.edge), scope_of("/api/v1/items/7"))

    run(work())
    event = made.events.only()
    assert (event["status"], event["outcome"], event["bytes_in"]) == (400, "cancelled", 4)


def test_a_body_in_many_tiny_parts_is_read_ahead_to_a_bound_and_passed_on_whole() -> None:
    made, seen = metering(), list[bytes]()

    body = b'{"tokens": 50}' + b" " * 5_000
    parts = [bytes([byte]) for byte in body]
    run(ask(_reading(made, seen), scope_of("/api/v1/chat", headers=[ACME, JSON]), *parts))
    assert b"".join(seen) == body
    assert len(seen[0]) == 4_096
    assert made.events.only()["bytes_in"] == len(body)


@pytest.mark.parametrize("body", [b'{"tokens": -1}', b'{"tokens": "7"}', b'{"tokens": null}', b'{"tokens": 1.5}'])
def test_an_estimate_that_makes_no_sense_of_a_request_counts_it_as_one_without_tokens(body: bytes) -> None:
    made = metering()
    assert run(ask(_app(made), scope_of("/api/v1/chat", headers=[ACME, JSON]), body)).status == 200
    assert made.events.only()["outcome"] == "ok"
    assert made.remaining("acme", "requests") == 99


def test_what_is_no_amount_frees_the_slot_and_is_left_out() -> None:
    made = metering()

    class NoTruth:
        def __eq__(self, _: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    async def app(_: Message, receive: _Receive, send: _Send) -> None:
        await receive()
        current().output_tokens = NoTruth()  # type: ignore[assignment]
        await _start(send)
        await send({"type": "http.response.body", "body": b""})

    run(ask(Metered(app, made.edge), scope_of("/api/v1/chat")))
    assert "output_tokens" not in made.events.only()
    assert made.remaining("acme", "concurrency") == 10


def test_an_emitter_that_raises_frees_the_slot() -> None:
    made = metering()

    def broken(_: Any) -> None:
        raise OSError("disk")

    made.events.write = broken  # type: ignore[method-assign]
    assert run(ask(_app(made), scope_of("/api/v1/chat"))).status == 200
    assert made.remaining("acme", "concurrency") == 10


def test_an_event_stream_may_end_its_lines_with_carriage_returns() -> None:
    made = metering()
    parts = [b": heartbeat\r\n\r\n", b"data: a\r\n\r\n", b"data: b\r\n\r\n"]
    run(ask(_streaming(made, parts), scope_of("/api/v1/chat")))
    event = made.events.only()
    assert (event["stream_messages"], event["ttft_ms"]) == (2, 20.0)


class Never:
    """Something that a task waits for, outside of any event loop."""

    def __await__(self) -> Iterator[None]:
        yield


def test_a_task_that_is_thrown_away_writes_its_event_and_frees_its_slot() -> None:
    made, client = metering(), Client()

    async def app(*_: Any) -> None:
        await Never()

    call = Metered(app, made.edge)(scope_of("/api/v1/items/7"), client.receive, client.send)
    contextvars.copy_context().run(call.send, None)
    call.close()
    assert made.events.only()["outcome"] == "error"
    assert made.remaining("acme", "concurrency") == 10
