"""Clients of HTTP: what they send, what they make of each answer, and that none is asked twice."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from PIL import Image

from examples.gateway.clients import http, sse, upload
from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.clients.prompt import Prompt, Version

PROMPT = Prompt("good morning", 3, 7)
REPLY = {
    "id": "a",
    "message": {"role": "assistant", "content": "good night"},
    "usage": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5},
}
LIMIT = {"title": "A limit is reached", "status": 429}
STREAM = [
    b'event: start\ndata: {"id": "a", "input_tokens": 2}\n\n',
    b'id: 7.1\nevent: token\ndata: {"text": "good"}\n\n',
    b'id: 7.2\nevent: token\ndata: {"text": " night"}\n\n',
    b'event: done\ndata: {"finish_reason": "length", "usage": {}}\n\n',
]


class Gateway:
    """Gives one answer to everything, and keeps what it was asked."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.asked: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answer(request)

    def connection(self) -> Connection:
        return Connection("http://gateway", "secret", transport=httpx.MockTransport(self))


def says(status: int, document: object = None, **headers: str) -> Gateway:
    content = json.dumps(document).encode() if document is not None else b"no JSON"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Gateway(lambda _: httpx.Response(status, content=content, headers=named))


def streams(*chunks: bytes) -> Gateway:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Gateway(lambda _: httpx.Response(200, content=body(), headers={"x-request-id": "e-1"}))


def fails(error: type[httpx.HTTPError]) -> Gateway:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error("as the test wants it")

    return Gateway(answer)


def told(gateway: Gateway, **left: int | str) -> Answer:
    """What the client of streams makes of it."""
    return asyncio.run(sse.converse(gateway.connection(), PROMPT, **left))  # type: ignore[arg-type]


def test_a_conversation_is_posted_with_key_and_version_in_the_path() -> None:
    gateway = says(200, REPLY)
    asyncio.run(http.converse(gateway.connection(), PROMPT, Version("v1")))
    (asked,) = gateway.asked
    assert (asked.method, asked.url.path, asked.headers["authorization"]) == (
        "POST",
        "/api/v1/conversation",
        "Bearer secret",
    )
    message = [{"role": "user", "content": "good morning"}]
    assert json.loads(asked.content) == {
        "messages": message,
        "model": "markov",
        "max_tokens": 3,
        "seed": 7,
        "stream": False,
    }


def test_a_version_that_a_header_names_is_not_in_the_path() -> None:
    gateway = says(200, REPLY)
    asyncio.run(http.converse(gateway.connection(), PROMPT, Version("v2", in_header=True)))
    assert (gateway.asked[0].url.path, gateway.asked[0].headers["api-version"]) == ("/api/conversation", "v2")


def test_an_answer_as_a_whole_has_tokens_and_no_first_one() -> None:
    answer = asyncio.run(http.converse(says(200, REPLY, x_request_id="e-1").connection(), PROMPT))
    assert (answer.outcome, answer.status, answer.tokens, answer.input_tokens) == ("ok", 200, 3, 2)
    assert (answer.text, answer.event_id, answer.ttft_ms) == ("good night", "e-1", None)
    assert answer.duration_ms > 0


def test_models_are_listed_by_their_ids() -> None:
    gateway = says(200, {"models": [{"id": "markov"}, {"id": "digits"}]})
    answer = asyncio.run(http.models(gateway.connection()))
    assert (answer.text, gateway.asked[0].method, gateway.asked[0].url.path) == (
        "markov\ndigits",
        "GET",
        "/api/v2/models",
    )


@pytest.mark.parametrize(
    ("gateway", "outcome", "status", "retry_after_s", "reason"),
    [
        (says(429, LIMIT, retry_after="9"), "refused", 429, 9, None),
        (says(429, LIMIT), "refused", 429, None, None),
        (says(503, {"title": "Limits cannot be checked"}, retry_after="1"), "error", 503, 1, None),
        (says(401, {"title": "The key is missing"}), "error", 401, None, None),
        (says(502, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), "error", 502, None, "status 502 without a problem"),
        (says(200), "error", 200, None, "no JSON object"),
        (fails(httpx.ConnectError), "error", None, None, "ConnectError"),
        (fails(httpx.ReadTimeout), "error", None, None, "ReadTimeout"),
    ],
)
def test_what_is_no_answer_is_refused_or_an_error_and_not_asked_again(
    gateway: Gateway, outcome: str, status: int | None, retry_after_s: float | None, reason: str | None
) -> None:
    answer = asyncio.run(http.converse(gateway.connection(), PROMPT))
    assert (answer.outcome, answer.status, answer.retry_after_s, answer.reason) == (
        outcome,
        status,
        retry_after_s,
        reason,
    )
    assert len(gateway.asked) == 1


def test_only_without_a_connection_nothing_was_sent() -> None:
    assert not told(fails(httpx.ConnectError)).is_sent
    assert told(fails(httpx.ReadError)).is_sent


def test_a_stream_is_counted_up_to_done() -> None:
    gateway = streams(*STREAM)
    answer = told(gateway)
    assert (answer.outcome, answer.status, answer.tokens, answer.input_tokens) == ("ok", 200, 2, 2)
    assert (answer.text, answer.event_id, answer.last_event_id) == ("good night", "e-1", "7.2")
    assert 0 < (answer.ttft_ms or 0) <= answer.duration_ms
    assert json.loads(gateway.asked[0].content)["stream"] is True
    assert "last-event-id" not in gateway.asked[0].headers


def test_a_stream_that_is_left_says_where_to_go_on() -> None:
    left = told(streams(*STREAM), leave_after=1)
    assert (left.outcome, left.tokens, left.last_event_id) == ("cancelled", 1, "7.1")
    gateway = streams(*STREAM)
    told(gateway, last_event_id="7.1")
    assert gateway.asked[0].headers["last-event-id"] == "7.1"


def test_an_error_in_a_stream_keeps_what_was_received() -> None:
    problem = {"title": "The model failed", "status": 500}
    answer = told(streams(*STREAM[:2], b"event: error\ndata: " + json.dumps(problem).encode() + b"\n\n"))
    assert (answer.outcome, answer.tokens, answer.problem) == ("error", 1, problem)


def test_a_stream_that_ends_without_a_word_is_an_error() -> None:
    answer = told(streams(*STREAM[:3]))
    assert (answer.outcome, answer.tokens, answer.reason) == ("error", 2, "the stream ended early")


def test_a_stream_that_is_refused_is_read_as_a_problem() -> None:
    answer = told(says(429, LIMIT, retry_after="9", x_request_id="e-2"))
    assert (answer.outcome, answer.problem, answer.retry_after_s, answer.event_id) == ("refused", LIMIT, 9, "e-2")


def test_a_picture_is_a_png_of_a_digit_and_posted_as_a_file() -> None:
    content, digit = upload.picture(0)
    assert digit == 0
    assert content.startswith(b"\x89PNG")
    gateway = says(200, {"label": "0", "confidence": 0.9, "model": "digits"})
    answer = asyncio.run(upload.classify(gateway.connection(), content, Version("v1")))
    (asked,) = gateway.asked
    assert (answer.text, asked.url.path) == ("0", "/api/v1/image_classify")
    assert asked.headers["content-type"].startswith("multipart/form-data")
    assert b'name="file"; filename="digit.png"\r\nContent-Type: image/png\r\n\r\n' + content in asked.content


def test_of_all_predictions_the_first_is_the_label() -> None:
    document = {"predictions": [{"label": "7", "probability": 0.9}, {"label": "1", "probability": 0.1}]}
    answer = asyncio.run(upload.classify(says(200, document).connection(), b"", Version("v2")))
    assert (answer.text, answer.tokens) == ("7", 0)


def test_the_picture_has_dark_ink_where_the_data_have_it() -> None:
    content, _ = upload.picture(0)
    drawn = Image.open(io.BytesIO(content))
    assert (drawn.size, drawn.mode) == ((64, 64), "L")
    assert (drawn.getpixel((0, 0)), drawn.getpixel((3 * 8, 0)), drawn.getpixel((3 * 8 + 7, 7))) == (255, 48, 48)
