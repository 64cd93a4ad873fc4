"""Exchanges over messages: what each frame means, and what becomes of one whose other side goes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from examples.gateway.clients.answer import Answer
from examples.gateway.clients.frames import Gone, exchange
from examples.gateway.clients.prompt import Prompt

START = {"type": "start", "id": "1", "model": "markov", "input_tokens": 2}
DONE = {"type": "done", "id": "1", "finish_reason": "length", "usage": {}}
PROBLEM = {"title": "A limit is reached", "status": 429, "limits": [{"retry_after_s": 2}, {"retry_after_s": 9}]}


def token(text: str, name: str = "1") -> dict[str, Any]:
    return {"type": "token", "id": name, "text": text}


def talk(*frames: dict[str, Any], leave_after: int | None = None) -> tuple[Answer, list[dict[str, Any]]]:
    """What becomes of these frames, after which the other side is gone; and what was sent."""
    sent: list[dict[str, Any]] = []
    left = iter(frames)

    async def send(text: str) -> None:
        sent.append(json.loads(text))

    async def receive() -> str:
        frame = next(left, None)
        if frame is None:
            raise Gone("closed 1001")
        return json.dumps(frame)

    return asyncio.run(exchange(Prompt("good morning", 3, 7), "1", send, receive, leave_after)), sent


def test_the_message_holds_the_prompt_under_its_name() -> None:
    _, sent = talk(DONE)
    message = {"messages": [{"role": "user", "content": "good morning"}], "model": "markov", "max_tokens": 3, "seed": 7}
    assert sent == [{"type": "message", "id": "1", **message}]


def test_tokens_are_counted_up_to_done() -> None:
    answer, _ = talk(START, token("good"), token(" night"), DONE)
    assert (answer.outcome, answer.status, answer.tokens, answer.input_tokens) == ("ok", 200, 2, 2)
    assert answer.text == "good night"
    assert 0 <= (answer.ttft_ms or -1) <= answer.duration_ms


def test_frames_of_another_exchange_are_not_counted() -> None:
    answer, _ = talk(START, token("old", "0"), {**DONE, "id": "0"}, token("new"), {"type": "pong"}, DONE)
    assert (answer.outcome, answer.text) == ("ok", "new")


def test_a_limits_no_is_refused_until_the_last_limit_allows_it() -> None:
    answer, _ = talk({"type": "refused", "id": "1", "problem": PROBLEM})
    assert (answer.outcome, answer.status, answer.retry_after_s, answer.problem) == ("refused", 429, 9, PROBLEM)
    assert answer.ttft_ms is None


def test_a_refusal_for_another_reason_than_a_limit_is_an_error_as_over_http() -> None:
    answer, _ = talk({"type": "refused", "id": "1", "problem": {"title": "Limits cannot be checked", "status": 503}})
    assert (answer.outcome, answer.status) == ("error", 503)


def test_an_error_in_the_middle_keeps_what_was_received() -> None:
    problem = {"title": "The model failed", "status": 500}
    answer, _ = talk(START, token("good"), {"type": "error", "id": "1", "problem": problem})
    assert (answer.outcome, answer.status, answer.tokens, answer.problem) == ("error", 500, 1, problem)


def test_another_side_that_goes_in_the_middle_is_an_error_that_says_how() -> None:
    answer, _ = talk(START, token("good"))
    assert (answer.outcome, answer.status, answer.tokens, answer.reason) == ("error", None, 1, "closed 1001")
    assert answer.is_sent


def test_a_client_that_leaves_has_cancelled_with_what_it_saw() -> None:
    answer, _ = talk(START, token("good"), token(" night"), token("!"), DONE, leave_after=2)
    assert (answer.outcome, answer.tokens, answer.text) == ("cancelled", 2, "good night")


def test_what_could_not_be_sent_was_not_sent() -> None:
    async def send(_: str) -> None:
        raise Gone("closed 1011")

    async def receive() -> str:
        raise AssertionError("nothing was sent")

    answer = asyncio.run(exchange(Prompt("good morning"), "1", send, receive, None))
    assert (answer.outcome, answer.is_sent, answer.reason) == ("error", False, "closed 1011")
