"""The edge over a store that takes its time or is away; attempts that take long; and its end."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from quotaloop.edge import Estimate
from quotaloop.limiter import MemoryStore
from quotaloop.limiter.store import StoreUnavailable
from tests.edge.attempts import KEY, Remote, begun, edge_of, left, let_in, turned_away, until
from tests.edge.metering import metering
from tests.sinks.pushes import limit, policy


def test_the_slot_and_costs_of_a_long_attempt_are_held_until_it_ends() -> None:
    made = edge_of(MemoryStore(hold_ms=200), limit("acme", "concurrency", 1), limit("acme", "tokens", 100))
    exchange, _ = asyncio.run(let_in(made))
    for _ in range(5):  # 5 times 150 ms: without being held again it would have ended after 200 ms
        made.clock.pass_ms(150)
        until(lambda: exchange.held_ms == made.clock.ms)
        assert made.remaining("acme", "concurrency") == 0
    exchange.output_tokens = 70
    made.edge.end(exchange, 200, "ok")
    assert made.remaining("acme", "concurrency") == 1
    assert made.remaining("acme", "tokens") == 30  # settled, though it took longer than anything is held
    made.clock.pass_ms(150)
    asyncio.run(made.edge.close())
    assert exchange.held_ms == made.clock.ms - 150


def test_an_attempt_under_way_when_a_policy_first_names_its_tenant_is_held_and_settled_where_it_was_counted() -> None:
    made = edge_of(MemoryStore(hold_ms=200))
    exchange, _ = asyncio.run(let_in(made))
    made.limiter.load(policy(1, limit("acme", "concurrency", 1)))
    for _ in range(2):  # 150 ms each: without being held again it would have ended after 200 ms
        made.clock.pass_ms(150)
        until(lambda: exchange.held_ms == made.clock.ms)
    made.limiter.load(policy(2, limit("globex", "concurrency", 1)))  # acme is one of many again
    assert made.remaining("acme", "concurrency") == 0
    made.limiter.load(policy(3, limit("acme", "concurrency", 1)))
    made.edge.end(exchange, 200, "ok")
    made.limiter.load(policy(4, limit("globex", "concurrency", 1)))
    assert made.remaining("acme", "concurrency") == 1
    asyncio.run(made.edge.close())


@pytest.mark.parametrize("store", [MemoryStore, Remote])
def test_what_a_handler_counts_after_the_end_is_neither_in_the_event_nor_settled(store: Callable[[], Any]) -> None:
    made = edge_of(
        store(), limit("acme", "tokens", 100), limit("acme", "compute", 100), limit("acme", "concurrency", 1)
    )
    write = made.events.write

    async def work() -> None:
        exchange, _ = await let_in(made)
        exchange.output_tokens, exchange.gpu_us = 7, 10

        def slowly(event: dict[str, Any]) -> None:
            write(event)
            exchange.output_tokens, exchange.gpu_us = 10, -1

        made.events.write = slowly  # type: ignore[method-assign]
        made.edge.end(exchange, 499, "cancelled")
        await made.edge.close()

    asyncio.run(work())
    assert [made.remaining("acme", kind) for kind in ("tokens", "compute", "concurrency")] == [93, 90, 1]
    assert (made.events.only()["output_tokens"], made.events.only()["gpu_ms"]) == (7, 0.01)


def test_a_keeper_that_did_not_come_along_with_a_fork_is_started_again() -> None:
    made = edge_of(MemoryStore(hold_ms=200), limit("acme", "concurrency", 2))
    made.edge._keeper = threading.Thread()  # one that does not run
    exchange, _ = asyncio.run(let_in(made))
    made.clock.pass_ms(150)
    until(lambda: exchange.held_ms == made.clock.ms)
    made.edge.end(exchange, 200, "ok")
    asyncio.run(made.edge.close())


def test_a_store_over_a_network_is_asked_in_threads_while_others_go_on() -> None:
    made = edge_of(store := Remote())
    store.gate.clear()

    async def work() -> None:
        asking = asyncio.create_task(let_in(made))
        await asyncio.to_thread(until, lambda: store.count("reserve") == 1)
        assert not asking.done()
        store.gate.set()
        exchange, answer = await asking
        assert answer.allowed
        made.edge.end(exchange, 200, "ok")
        assert len(made.events.written) == 1  # at once; the store is told in its time
        await made.edge.close()

    asyncio.run(work())
    assert [verb for verb, _ in store.asked] == ["reserve", "settle"]
    assert all(name.startswith("quotaloop-limiter") for _, name in store.asked)
    assert (left(made), made.events.is_closed) == ((7, 8, 8), True)


def test_who_goes_while_a_slow_store_is_asked_leaves_nothing_reserved() -> None:
    limits = (limit("acme", "concurrency", 1), limit("acme", "tokens", 100))
    made = edge_of(store := Remote(), *limits, estimate=lambda _: Estimate(5))
    store.gate.clear()

    async def work() -> None:
        exchange, _ = begun(made, "/api/v2/chat", KEY)
        asking = asyncio.create_task(made.edge.let_in(exchange, None))
        await asyncio.to_thread(until, lambda: store.count("reserve") == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        made.edge.end(exchange, 499, "cancelled")
        assert store.count("settle") == 0
        store.gate.set()
        await asyncio.to_thread(until, lambda: store.count("settle") == 1)
        await made.edge.close()

    asyncio.run(work())
    assert left(made)[1:] == (100, 1)
    assert made.events.only()["outcome"] == "cancelled"


def test_who_goes_before_the_store_was_asked_counts_as_an_attempt_and_nothing_else() -> None:
    made = edge_of(store := Remote(), limit("acme", "concurrency", 20), limit("acme", "requests", 20))
    store.gate.clear()

    async def work() -> None:
        others = [asyncio.create_task(let_in(made)) for _ in range(8)]  # as many as there are threads
        await asyncio.to_thread(until, lambda: store.count("reserve") == 8)
        exchange, _ = begun(made, "/api/v2/chat", KEY)
        last = asyncio.create_task(made.edge.let_in(exchange, None))
        await asyncio.sleep(0)
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        made.edge.end(exchange, 499, "cancelled")
        store.gate.set()
        for exchange, _ in await asyncio.gather(*others):
            made.edge.end(exchange, 200, "ok")
        await made.edge.close()

    asyncio.run(work())
    assert (store.count("reserve"), store.count("settle")) == (9, 9)
    assert (left(made)[0], left(made)[2]) == (11, 20)


def test_a_refusal_over_a_network_is_the_same() -> None:
    made = edge_of(Remote(), limit("acme", "tokens", 5), estimate=lambda _: Estimate(4))

    async def work() -> None:
        exchange, _ = await let_in(made)
        refused = await turned_away(made, "/api/v2/chat", KEY)
        assert (refused.status, refused.denied_by) == (429, "tokens")
        made.edge.end(exchange, 200, "ok")
        await made.edge.close()

    asyncio.run(work())
    assert [event["outcome"] for event in made.events.written] == ["denied", "ok"]
    assert left(made)[1] == 5


def test_while_the_store_is_away_nothing_passes_if_so_chosen_and_that_is_no_denial() -> None:
    made = edge_of(store := Remote(), when_away="closed")
    store.raises = StoreUnavailable("away")

    async def work() -> None:
        refused = await turned_away(made, "/api/v2/chat", KEY)
        assert (refused.status, refused.denied_by, refused.retry_after_ms) == (503, None, 1_000)
        await made.edge.close()

    asyncio.run(work())
    event = made.events.only()
    assert (event["status"], event["outcome"]) == (503, "error")
    assert not {"denied_by", "wanted_tokens"} & event.keys()


def test_what_a_store_raises_when_it_is_told_the_end_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = edge_of(store := Remote())

    async def work() -> None:
        exchange, _ = await let_in(made)
        store.raises = RuntimeError("not foreseen")
        made.edge.end(exchange, 200, "ok")
        await made.edge.close()

    asyncio.run(work())
    assert caplog.messages == ["an attempt could not be settled: not foreseen"]
    assert made.events.only()["outcome"] == "ok"


def test_closing_waits_for_attempts_under_way_and_then_for_what_they_settle() -> None:
    made = edge_of(store := Remote())

    async def work() -> None:
        exchange, _ = await let_in(made)
        closing = asyncio.create_task(made.edge.close(20))
        await asyncio.sleep(0)
        assert (closing.done(), made.events.is_closed) == (False, False)
        made.edge.end(exchange, 200, "ok")
        await closing
        assert store.count("settle") == 1
        assert made.events.is_closed

    asyncio.run(work())


def test_closing_does_not_wait_longer_than_it_was_told_to() -> None:
    made = metering()

    async def work() -> None:
        await let_in(made)
        await made.edge.close(0)

    asyncio.run(work())
    assert made.events.is_closed


def test_a_server_that_ends_says_so() -> None:
    made = metering()
    assert made.edge.is_stopping is False
    made.edge.stopping()
    assert made.edge.is_stopping is True


def test_an_attempt_that_ends_after_the_edge_is_closed_is_settled_and_written() -> None:
    made = edge_of(store := Remote())

    async def work() -> None:
        exchange, _ = await let_in(made)
        await made.edge.close(timeout_s=0.01)
        made.edge.end(exchange, 200, "ok")

    asyncio.run(work())
    assert [verb for verb, _ in store.asked] == ["reserve", "settle"]
    assert len(made.events.written) == 1


def test_a_child_of_a_fork_names_its_attempts_otherwise() -> None:
    made = metering()
    first = begun(made)[0].event_id.partition("-")[0]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, begun(made)[0].event_id.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        other = told.read().partition("-")[0]
    os.waitpid(child, 0)
    assert len(other) == len(first) == 16
    assert other != first
