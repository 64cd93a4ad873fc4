"""POST /conversation: answers as a whole and as events, and what is counted of them."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from tests.examples.gateway.in_process import ASKED, AUTHORIZED, InProcess


def events_of(text: str) -> list[tuple[str, Any, str | None]]:
    """The events of a stream: kind, data, id."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id")))
    return found


@pytest.fixture
def gateway() -> InProcess:
    return InProcess()


def test_an_answer_as_a_whole(gateway: InProcess) -> None:
    """`What is a class ?` are five tokens."""
    response = gateway.converse()
    answer = response.json()
    assert response.status_code == 200
    assert answer["id"] == response.headers["x-request-id"]
    assert answer["model"] == "markov"
    assert answer["message"]["role"] == "assistant"
    assert answer["finish_reason"] == "length"
    assert answer["usage"] == {"input_tokens": 5, "output_tokens": 12, "total_tokens": 17}
    event = gateway.event
    assert (event["input_tokens"], event["output_tokens"], event["model"]) == (5, 12, "markov")
    assert (event["operation"], event["route"], event["protocol"]) == ("chat", "/api/v2/conversation", "http")
    assert "ttft_ms" not in event


def test_the_same_seed_gets_the_same_answer_and_no_seed_another(gateway: InProcess) -> None:
    said = [gateway.converse(seed=seed).json()["message"]["content"] for seed in (7, 7, 8, None, None)]
    assert said[0] == said[1]
    assert len(set(said[1:])) == 4


def test_a_stream_is_the_same_answer_token_by_token(gateway: InProcess) -> None:
    whole = gateway.converse().json()["message"]["content"]
    response = gateway.converse(stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    (start, first, _), *tokens, (end, last, _) = events_of(response.text)
    assert (start, first["model"], first["input_tokens"]) == ("start", "markov", 5)
    assert [kind for kind, _, _ in tokens] == ["token"] * 12
    assert [place for _, _, place in tokens] == [f"7.{number}" for number in range(1, 13)]
    assert "".join(data["text"] for _, data, _ in tokens) == whole
    usage = {"input_tokens": 5, "output_tokens": 12, "total_tokens": 17}
    assert (end, last) == ("done", {"finish_reason": "length", "usage": usage})
    event = gateway.written.events[-1]
    assert (event["protocol"], event["output_tokens"], event["outcome"]) == ("sse", 12, "ok")
    assert 0 < event["ttft_ms"] <= event["duration_ms"]
    assert event["stream_messages"] == 14


@pytest.mark.parametrize("seed", [0, 7, 2**53 - 1])
def test_a_stream_goes_on_after_the_last_event_that_was_got_and_charges_the_rest(gateway: InProcess, seed: int) -> None:
    whole = events_of(gateway.converse(stream=True, seed=seed).text)
    place = whole[9][2]
    rest = events_of(gateway.converse(stream=True, seed=seed, headers={"last-event-id": place}).text)
    assert rest[1:-1] == whole[10:-1]
    assert rest[-1][1]["usage"]["output_tokens"] == gateway.written.events[-1]["output_tokens"] == 3


def test_a_stream_without_a_seed_goes_on_by_that_of_its_events(gateway: InProcess) -> None:
    whole = events_of(gateway.converse(stream=True, seed=None).text)
    rest = events_of(gateway.converse(stream=True, seed=None, headers={"last-event-id": whole[3][2]}).text)
    assert rest[1:-1] == whole[4:-1]


def test_a_stream_that_had_ended_ends_at_once(gateway: InProcess) -> None:
    kinds = [kind for kind, _, _ in events_of(gateway.converse(stream=True, headers={"last-event-id": "7.12"}).text)]
    assert kinds == ["start", "done"]
    assert gateway.event.get("output_tokens", 0) == 0


@pytest.mark.parametrize("said", ["x", "7", "7.", ".7", "7.99999", "G.1", "7.1.1", "-7.1"])
def test_an_event_id_that_is_none_of_ours_is_told(gateway: InProcess, said: str) -> None:
    assert gateway.converse(stream=True, headers={"last-event-id": said}).status_code == 422


def test_an_answer_ends_by_itself_where_it_says_so(gateway: InProcess) -> None:
    """Of 400 tokens some full stop is among the last 100."""
    answer = gateway.converse(max_tokens=400).json()
    assert answer["finish_reason"] == "stop"
    assert 300 < answer["usage"]["output_tokens"] < 400
    assert answer["message"]["content"].endswith(".")


def test_a_model_that_fails_ends_a_stream_with_a_problem(gateway: InProcess) -> None:
    *tokens, (kind, problem, _) = events_of(gateway.converse(stream=True, model="fragile").text)
    assert [kind for kind, _, _ in tokens] == ["start", "token", "token", "token"]
    assert (kind, problem["status"]) == ("error", 500)
    event = gateway.event
    assert (event["outcome"], event["status"], event["output_tokens"]) == ("error", 200, 3)


def test_a_model_that_fails_is_charged_nothing_where_nothing_went_out(gateway: InProcess) -> None:
    response = gateway.converse(model="fragile")
    assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
    assert (gateway.event["outcome"], gateway.event.get("output_tokens", 0)) == ("error", 0)


def test_what_was_reserved_is_given_back_down_to_what_was_used() -> None:
    """Of 1,000 tokens, 5 + 12 are used each time, although 5 + 900 are reserved: both pass."""
    gateway = InProcess(safe_tokens=1_000)
    assert gateway.converse(max_tokens=900, stream=True, headers={"last-event-id": "7.888"}).status_code == 200
    assert gateway.converse(max_tokens=900, stream=True, headers={"last-event-id": "7.888"}).status_code == 200


def test_over_a_limit_it_is_refused_with_what_it_wanted() -> None:
    gateway = InProcess(safe_requests=1)
    assert gateway.converse().status_code == 200
    response = gateway.converse()
    assert (response.status_code, response.headers["content-type"]) == (429, "application/problem+json")
    assert 0 < int(response.headers["retry-after"]) <= 60
    event = gateway.written.events[-1]
    assert (event["outcome"], event["denied_by"], event["wanted_tokens"]) == ("denied", "requests", 17)


def test_heartbeats_come_while_nothing_else_does_and_are_no_first_byte() -> None:
    """A token takes 300 ms, a heartbeat comes after 100: there is one before each token, at least."""
    gateway = InProcess(pace_ms=300, heartbeat_s=0.1)
    text = gateway.converse(stream=True, max_tokens=2).text
    pauses = re.findall(r"((?:: heartbeat\n\n)*)id: ", text)
    assert [pause.count("heartbeat") > 0 for pause in pauses] == [True, True]
    assert gateway.event["ttft_ms"] >= 300
    assert gateway.event["stream_messages"] == 4


class _Client:
    """A client of ASGI that leaves once it has got so many tokens."""

    def __init__(self, leaves_after: int) -> None:
        self.got, self._leaves_after = 0, leaves_after
        self._left = asyncio.Event()
        self._bodies = [json.dumps(ASKED | {"stream": True, "max_tokens": 1_024}).encode()]

    async def receive(self) -> dict[str, Any]:
        if self._bodies:
            return {"type": "http.request", "body": self._bodies.pop(), "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.got += message.get("body", b"").count(b"event: token")
        if self.got >= self._leaves_after:
            self._left.set()


def scope(path: str, **headers: str) -> dict[str, Any]:
    """Of a POST with a key."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in {**AUTHORIZED, **headers}.items()]
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw}


def test_a_client_that_leaves_stops_the_model_and_is_charged_what_was_sent(gateway: InProcess) -> None:
    client = _Client(leaves_after=3)
    asked = scope("/api/v2/conversation", content_type="application/json")
    asyncio.run(gateway.app(asked, client.receive, client.send))
    event = gateway.event
    assert event["outcome"] == "cancelled"
    assert 3 <= event["output_tokens"] <= client.got < 100


def test_answers_are_cut_when_the_gateway_ends_and_say_so() -> None:
    gateway = InProcess(pace_ms=20)
    lifecycle = gateway.parts.lifecycle

    async def story() -> str:
        client = _Kept()
        asked = scope("/api/v2/conversation", content_type="application/json")
        answering = asyncio.create_task(gateway.app(asked, client.receive, client.send))
        await client.has_token.wait()
        assert not await lifecycle.drain(0)
        gateway.parts.edge.stopping()
        await lifecycle.cut()
        await answering
        return client.text

    *_, (kind, problem, _) = events_of(asyncio.run(story()))
    assert (kind, problem["status"]) == ("error", 503)
    assert gateway.event["outcome"] == "error"


class _Kept(_Client):
    """A client that stays, and keeps what it gets."""

    def __init__(self) -> None:
        super().__init__(leaves_after=10_000)
        self.text, self.has_token = "", asyncio.Event()

    async def send(self, message: Any) -> None:
        self.text += message.get("body", b"").decode()
        if "event: token" in self.text:
            self.has_token.set()
        await super().send(message)
