"""What is no good request: every one is told by a problem with its status, none breaks the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples.gateway.problems import Problem
from examples.gateway.rtc import Peers
from tests.examples.gateway.in_process import ASKED, InProcess, status_of

V1, PICTURE = "/api/v1/conversation", "/api/v1/image_classify"
JSON = {"content-type": "application/json"}
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\nContent-Type: image/png\r\n\r\n'


@pytest.fixture(scope="module")
def gateway() -> InProcess:
    return InProcess(safe_requests=10_000, safe_tokens=10_000_000)


@pytest.mark.parametrize(
    "changed",
    [
        {"messages": []},
        {"messages": [{"role": "user", "content": "x"}] * 65},
        {"messages": [{"role": "robot", "content": "x"}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [{"role": "user", "content": "x" * 32_769}]},
        {"messages": "x"},
        {"max_tokens": 0},
        {"max_tokens": 1_025},
        {"max_tokens": "5"},
        {"max_tokens": True},
        {"max_tokens": 5.5},
        {"seed": -1},
        {"seed": 2**53},
        {"stream": "yes"},
        {"model": ""},
        {"model": None},
        {"max_token": 5},
        {"messages": [{"role": "user", "content": "! " * 8_193}]},
    ],
)
def test_a_body_that_does_not_fit_is_422(gateway: InProcess, changed: dict[str, Any]) -> None:
    assert status_of(gateway.converse(V1, **changed)) == 422


@pytest.mark.parametrize(
    "changed", [{"max_tokens": 3.0}, {"seed": 7.0}, {"seed": None}, {"messages": ASKED["messages"] * 64}]
)
def test_a_body_that_just_fits_is_answered(gateway: InProcess, changed: dict[str, Any]) -> None:
    assert gateway.converse(V1, **changed).status_code == 200


def test_what_does_not_fit_is_told_by_place_and_not_repeated(gateway: InProcess) -> None:
    problem = gateway.converse(V1, messages=[{"role": "my secret", "content": "x"}]).json()
    assert problem["errors"][0]["at"] == "body/messages/0/role"
    assert "my secret" not in json.dumps(problem)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b"\xff", 400),
        (b'{"messages": ' + b"[" * 50_000, 400),
        (b'{"max_tokens": ' + b"9" * 5_000 + b"}", 400),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', 422),
        (b'{"messages": [{"role": "user", "content": "x"}], "\\udfff": 1}', 422),
        (b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": NaN}', 422),
        (b'{"messages": [{"role": "user", "content": "x"}], "model": "\\ud800"}', 422),
    ],
)
def test_a_body_that_is_no_json_or_no_unicode_is_told(gateway: InProcess, body: bytes, status: int) -> None:
    assert status_of(gateway.ask("POST", V1, content=body, headers=JSON)) == status


@pytest.mark.parametrize("content", ["", "\0", "\U0001f600\u202e", "日本語", "\u0301" * 100])
def test_any_unicode_is_answered(gateway: InProcess, content: str) -> None:
    assert gateway.converse(V1, messages=[{"role": "user", "content": content}]).status_code == 200


@pytest.mark.parametrize(
    "media_type", ["", "text/plain", "application/xml", "application/jsonp", "multipart/form-data"]
)
def test_a_conversation_in_another_media_type_is_415(gateway: InProcess, media_type: str) -> None:
    headers = {"content-type": media_type} if media_type else {}
    assert status_of(gateway.ask("POST", V1, content=json.dumps(ASKED).encode(), headers=headers)) == 415


def test_json_is_json_with_a_charset_too(gateway: InProcess) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert gateway.ask("POST", V1, content=json.dumps(ASKED).encode(), headers=headers).status_code == 200


def test_a_model_that_there_is_not_is_404_and_costs_no_tokens(gateway: InProcess) -> None:
    assert status_of(gateway.converse(V1, model="gpt")) == 404
    event = gateway.written.events[-1]
    assert (event["outcome"], event["model"], event.get("output_tokens", 0)) == ("error", "unknown", 0)


def test_without_a_key_or_with_a_wrong_one_it_is_401(gateway: InProcess) -> None:
    for key in (None, "wrong"):
        response = gateway.ask("GET", "/api/v1/models", key=key)
        assert status_of(response) == 401
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/models/", 404),
        ("GET", "/api/v9/models", 404),
        ("GET", "/api/v1/conversation", 405),
        ("DELETE", "/api/v1/models", 405),
        ("OPTIONS", "/api/v1/image_classify", 405),
    ],
)
def test_paths_and_methods_that_there_are_not(gateway: InProcess, method: str, path: str, status: int) -> None:
    response = gateway.ask(method, path)
    assert status_of(response) == status
    assert ("allow" in response.headers) is (status == 405)


def test_a_body_over_its_bound_is_413_by_its_length_and_while_it_comes_in(gateway: InProcess) -> None:
    """The first is refused by what it says, the last ones say nothing and are cut where it is too much."""
    read: list[int] = []

    async def parts(count: int) -> AsyncIterator[bytes]:
        yield FORM
        for number in range(count):
            read.append(number)
            yield b" " * 65_536

    assert status_of(gateway.ask("POST", V1, content=b" " * 262_145, headers=JSON)) == 413
    assert status_of(gateway.ask("POST", V1, content=b" " * 262_144, headers=JSON)) == 422
    assert status_of(gateway.ask("POST", V1, content=parts(5), headers=JSON)) == 413
    form = {"content-type": "multipart/form-data; boundary=b"}
    assert status_of(gateway.ask("POST", PICTURE, content=parts(10_000), headers=form)) == 413
    assert len(read) < 200


def test_a_body_that_says_it_is_too_large_is_not_asked_for(gateway: InProcess) -> None:
    """The client waits to be told to go on, and is told not to; nothing of the body is read."""
    status: list[int] = []

    async def receive() -> dict[str, Any]:
        raise AssertionError("read")

    async def send(message: Any) -> None:
        status.extend([message["status"]] if "status" in message else [])

    fields = {"content-length": "9000000", "expect": "100-continue", "authorization": "Bearer of-acme"}
    headers = [(name.encode(), value.encode()) for name, value in fields.items()]
    scope = {"type": "http", "method": "POST", "path": PICTURE, "query_string": b"", "headers": headers}
    asyncio.run(gateway.app(scope, receive, send))
    assert status == [413]


def test_a_length_that_lies_does_not_let_more_in(gateway: InProcess) -> None:
    status: list[int] = []
    sizes: list[int] = []

    async def receive() -> dict[str, Any]:
        sizes.append(100_000)
        return {"type": "http.request", "body": b" " * 100_000, "more_body": len(sizes) < 1_000}

    async def send(message: Any) -> None:
        status.extend([message["status"]] if "status" in message else [])

    headers = [
        (b"content-length", b"10"),
        (b"content-type", b"application/json"),
        (b"authorization", b"Bearer of-acme"),
    ]
    scope = {"type": "http", "method": "POST", "path": V1, "query_string": b"", "headers": headers}
    asyncio.run(gateway.app(scope, receive, send))
    assert status == [413]


def test_a_version_is_asked_for_by_the_body(gateway: InProcess) -> None:
    assert "deprecation" not in gateway.converse("/api/conversation", version="2.1").headers
    assert "deprecation" in gateway.converse("/api/conversation").headers
    assert status_of(gateway.converse("/api/conversation", version="9")) == 400
    assert status_of(gateway.ask("GET", "/api/models", headers={"api-version": "9"})) == 400


@pytest.mark.parametrize(
    "sdp", ["v=0", "m=application", "m=application 9 UDP/DTLS/SCTP x\r\n", "v=0\r\nm=audio\r\nm=application"]
)
def test_an_offer_that_is_none_is_422(gateway: InProcess, sdp: str) -> None:
    asked = {"sdp": sdp, "type": "offer"}
    assert status_of(gateway.ask("POST", "/api/v1/conversation/rtc", json=asked)) == 422


def test_a_number_of_tokens_means_the_same_to_the_limit_and_to_the_model() -> None:
    """5 of the prompt and 1,024 of an answer are wanted, however the number is written."""
    gateway = InProcess(safe_requests=1)
    assert gateway.converse().status_code == 200
    for most in (1_024, 1_024.0):
        assert status_of(gateway.converse(max_tokens=most)) == 429
        assert gateway.written.events[-1]["wanted_tokens"] == 5 + 1_024


def test_a_prompt_that_is_too_long_is_not_counted_to_its_end() -> None:
    """10,000 tokens: the limit is asked for one more than the model reads, and the answer's."""
    gateway = InProcess(safe_requests=1)
    assert gateway.converse().status_code == 200
    long = [{"role": "user", "content": "! " * 5_000}] * 2
    assert status_of(gateway.converse(messages=long)) == 429
    assert gateway.written.events[-1]["wanted_tokens"] == 8_193 + 12


def test_no_more_peers_negotiate_at_once_than_a_tenant_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the offers can be answered before all are made: 16 are tried, the others are told to come back."""
    gateway = InProcess()

    async def story() -> list[int]:
        peers = Peers(gateway.parts)
        session: Any = None
        tried = [peers.answer("m=application", session, "acme") for _ in range(20)]
        found = await asyncio.gather(*tried, return_exceptions=True)
        again = await asyncio.gather(peers.answer("m=application", session, "acme"), return_exceptions=True)
        return [error.status_code for error in [*found, *again] if isinstance(error, Problem)]

    async def negotiated(*_: Any) -> None:
        await asyncio.sleep(0)
        raise Problem(422, "no offer")

    monkeypatch.setattr("examples.gateway.rtc._negotiate", negotiated)
    assert asyncio.run(story()) == [422] * 16 + [503] * 4 + [422]
