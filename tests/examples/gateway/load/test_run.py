"""The open loop, in virtual time: calls are made when they are due, and what holds them back is counted."""

from __future__ import annotations

import asyncio

import pytest

from examples.gateway.clients.answer import Answer
from examples.gateway.load.plan import Call
from examples.gateway.load.run import Attempt, run
from tests.examples.gateway.load.virtual_time import in_virtual_time


def call(at_s: float) -> Call:
    return Call(at_s=at_s, tenant="acme", protocol="http", words=3, max_tokens=4, seed=1)


async def in_three_seconds(_: Call) -> Answer:
    await asyncio.sleep(3)
    return Answer("ok", 200, duration_ms=3_000)


def times(attempts: list[Attempt]) -> list[tuple[float, float, float]]:
    return [(attempt.begun_s, attempt.ended_s, attempt.held_s) for attempt in attempts]


def test_slow_answers_do_not_slow_the_calls() -> None:
    """A closed loop would make the second call after three seconds."""
    done = in_virtual_time(run([call(0), call(1), call(1), call(2)], in_three_seconds))
    assert times(done) == [(0, 3, 0), (1, 4, 0), (1, 4, 0), (2, 5, 0)]
    assert [attempt.latency_ms for attempt in done] == [3_000] * 4


def test_what_the_bound_holds_back_counts_from_its_planned_time() -> None:
    """One at a time: the second is begun at 3 s instead of 1 s, the third at 6 s instead of 2 s."""
    done = in_virtual_time(run([call(0), call(1), call(2)], in_three_seconds, most_open=1))
    assert times(done) == [(0, 3, 0), (3, 6, 2), (6, 9, 4)]
    assert [attempt.latency_ms for attempt in done] == [3_000, 5_000, 7_000]
    assert [attempt.answer.duration_ms for attempt in done] == [3_000] * 3
    assert [attempt.late_ms for attempt in done] == [0, 0, 0]


def test_a_loop_that_is_blocked_is_told_apart_from_the_bound() -> None:
    """A machine that is busy until 1.5 s begins the call of 1 s half a second late, and holds nothing."""

    async def blocked(made: Call) -> Answer:
        if made.at_s == 0:
            asyncio.get_running_loop()._jump.now_s += 1.5  # type: ignore[attr-defined]
        return Answer("ok", 200)

    _, second = in_virtual_time(run([call(0), call(1)], blocked))
    assert (second.begun_s, second.late_ms, second.held_s) == (1.5, 500, 0)


def test_what_is_open_when_patience_ends_is_given_up_and_counted() -> None:
    """The first has its three seconds; the second, due at 2 s, would end at 5 s, and its bound's end is 4 s."""
    done = in_virtual_time(run([call(0), call(2)], in_three_seconds, patience_s=2))
    assert [(attempt.answer.outcome, attempt.ended_s) for attempt in done] == [("ok", 3), ("cancelled", 4)]
    assert done[1].answer.reason == "given up"
    assert done[1].answer.is_sent


def test_what_never_had_a_place_was_not_sent() -> None:
    done = in_virtual_time(run([call(0), call(0)], in_three_seconds, most_open=1, patience_s=2))
    assert [(attempt.answer.outcome, attempt.answer.is_sent) for attempt in done] == [
        ("cancelled", True),
        ("cancelled", False),
    ]
    assert done[1].held_s == 2


def test_a_client_that_breaks_is_an_error_of_its_call_alone() -> None:
    async def breaks(made: Call) -> Answer:
        if made.at_s == 1:
            raise KeyError("usage")
        return await in_three_seconds(made)

    done = in_virtual_time(run([call(0), call(1), call(2)], breaks))
    assert [(attempt.answer.outcome, attempt.answer.reason) for attempt in done] == [
        ("ok", None),
        ("error", "KeyError"),
        ("ok", None),
    ]


def test_nothing_planned_is_nothing_done() -> None:
    assert in_virtual_time(run([], in_three_seconds)) == []


@pytest.mark.parametrize("number", [1, 7, 500])
def test_each_call_is_one_attempt_in_the_order_of_the_plan(number: int) -> None:
    planned = [call(place / 100) for place in range(number)]
    done = in_virtual_time(run(planned, in_three_seconds, most_open=5, patience_s=1))
    assert [attempt.call for attempt in done] == planned
