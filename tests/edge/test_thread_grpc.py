"""What only servers of threads have: handlers that block while their call ends; see test_grpc.py for the rest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from quotaloop.edge import Edge, Exchange, Route, current
from quotaloop.edge.grpc_calls import Messages, behaviour_of, with_behaviour
from quotaloop.edge.thread_grpc import MeteredInterceptor
from quotaloop.errors import UsageError
from tests.edge.attempts import KEY, Remote, begun, edge_of, left, until
from tests.edge.grpc_servers import ACME, SERVICE, threads_server, wait_for_end
from tests.edge.metering import Metering, metering
from tests.sinks.pushes import limit

SINGLE, TOKENS = f"/{SERVICE}/Single", f"/{SERVICE}/Tokens"


@contextmanager
def _serving(
    made: Metering, single: Any = None, tokens: Any = None, *around: Any, threads: int = 4
) -> Iterator[grpc.Channel]:
    """A server with these handlers, until none is at work."""
    methods = {
        "Single": grpc.unary_unary_rpc_method_handler(single),
        "Tokens": grpc.unary_stream_rpc_method_handler(tokens),
        "Open": grpc.unary_unary_rpc_method_handler(single),
    }
    with ThreadPoolExecutor(threads, "handler") as pool:
        server, port = threads_server(made, methods, pool, *around)
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield channel
        finally:
            server.stop(None)


class _Around(grpc.ServerInterceptor):  # type: ignore[misc]
    """Another interceptor: it is given the handler that is metered, the request and the context."""

    def __init__(self, around: Callable[[Callable[..., Any], Any, Any], Any]) -> None:
        self._around = around

    def intercept_service(self, continuation: Callable[..., Any], details: Any) -> Any:
        """The handler with this around it."""
        handler = continuation(details)
        return with_behaviour(handler, partial(self._around, behaviour_of(handler)), Messages())


class _Gate:
    """Where a handler waits: a test sees it come, and lets it go on."""

    def __init__(self) -> None:
        self._has_come, self._is_open = threading.Event(), threading.Event()

    def wait(self) -> None:
        """The handler's side; it waits longer than a test does for what it expects meanwhile."""
        self._has_come.set()
        assert self._is_open.wait(60)

    def come(self) -> None:
        """Until a handler waits here."""
        assert self._has_come.wait(20)

    def open(self) -> None:
        """Let it go on."""
        self._is_open.set()


def _is_current() -> bool:
    try:
        current()
    except LookupError:
        return False
    return True


def _ends(made: Metering) -> list[tuple[int, str]]:
    return [(event["status"], event["outcome"]) for event in made.events.written]


def _returns(_: Any) -> bytes:
    return b"done"


def _raises(_: Any) -> bytes:
    raise RuntimeError("broken")


def _aborts(context: Any) -> bytes:
    context.abort(StatusCode.NOT_FOUND, "no such thing")
    raise AssertionError("abort raises")


@pytest.mark.parametrize("then", [_returns, _raises, _aborts])
@pytest.mark.parametrize(("is_stopping", "end"), [(False, (499, "cancelled")), (True, (503, "error"))])
def test_an_attempt_ends_when_its_client_leaves_whatever_its_handler_comes_to(
    then: Callable[[Any], bytes], is_stopping: bool, end: tuple[int, str]
) -> None:
    made, gate = metering(), _Gate()

    def single(_: bytes, context: Any) -> bytes:
        current().output_tokens = 7
        gate.wait()
        current().output_tokens = 9
        return then(context)

    with _serving(made, single) as channel:
        call = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        gate.come()
        assert made.remaining("acme", "concurrency") == 9
        if is_stopping:
            made.edge.stopping()
        call.cancel()
        until(lambda: len(made.events.written) == 1 and not made.edge._live)
        assert made.remaining("acme", "concurrency") == 10  # though the handler is at work
        gate.open()
    assert _ends(made) == [end]
    assert made.events.only()["output_tokens"] == 7
    assert made.remaining("acme", "tokens") == 9_993


@pytest.mark.parametrize("then", [_returns, _raises])
def test_a_handler_that_is_done_after_its_client_left_is_cancelled_before_anybody_says_so(
    then: Callable[[Any], bytes],
) -> None:
    made, gate, told = metering(), _Gate(), _Gate()

    def held_up(inner: Callable[..., Any], request: Any, context: Any) -> Any:
        context.add_callback(told.wait)  # before that of the attempt, which therefore does not come yet
        return inner(request, context)

    def single(_: bytes, context: Any) -> bytes:
        gate.wait()
        return then(context)

    with _serving(made, single, None, _Around(held_up)) as channel:
        call = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        gate.come()
        call.cancel()
        told.come()
        assert made.events.written == []
        gate.open()
        until(lambda: len(made.events.written) == 1)
        told.open()
    assert _ends(made) == [(499, "cancelled")]


def test_two_threads_that_end_an_attempt_at_once_end_it_once() -> None:
    made, ending, working = metering(), _Gate(), _Gate()
    asked = list[tuple[int, str]]()
    end = made.edge.end

    def slow(exchange: Exchange, status: int, outcome: str) -> None:
        asked.append((status, outcome))
        ending.wait()
        end(exchange, status, outcome)

    made.edge.end = slow  # type: ignore[method-assign]
    gone = threading.Event()

    def single(_: bytes, context: Any) -> bytes:
        context.add_callback(gone.set)  # after that of the attempt
        working.wait()
        return b"done"

    with _serving(made, single) as channel:
        call = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        working.come()
        working.open()
        ending.come()  # the handler's thread is in there
        call.cancel()
        is_told = gone.wait(5)
        ending.open()
    assert is_told
    assert asked == _ends(made) == [(200, "ok")]


def test_a_stream_that_grpc_drops_is_closed_while_its_handler_sees_its_attempt() -> None:
    made, closed = metering(), list[str]()

    def tokens(_: bytes, context: Any) -> Iterator[bytes]:
        try:
            yield b"a"
            wait_for_end(context)
            yield b"b"
        finally:
            closed.append(current().event_id)

    with _serving(made, None, tokens) as channel:
        call = channel.unary_stream(TOKENS)(b"", metadata=ACME)
        assert next(call) == b"a"
        call.cancel()
        until(lambda: len(closed) == 1)
    assert _ends(made) == [(499, "cancelled")]
    assert closed == [made.events.only()["event_id"]]


def test_every_step_of_a_handler_sees_its_attempt_in_whichever_thread_and_leaves_nothing_there() -> None:
    made, seen = metering(), list[tuple[str, str]]()

    def tokens(request: bytes, _: Any) -> Iterator[bytes]:
        try:
            for byte in request:
                seen.append((current().event_id, threading.current_thread().name))
                yield bytes([byte])
        finally:
            seen.append((current().event_id, threading.current_thread().name))

    def elsewhere(inner: Callable[..., Any], request: Any, context: Any) -> Iterator[Any]:
        """Each step in a thread of its own, which is left as it was."""
        replies = inner(request, context)
        for number in range(4):
            with ThreadPoolExecutor(1, f"step-{number}") as pool:
                reply = pool.submit(next, replies, None).result()
                assert not pool.submit(_is_current).result()
            if reply is not None:
                yield reply

    with _serving(made, None, tokens, _Around(elsewhere)) as channel:
        assert list(channel.unary_stream(TOKENS)(b"abc", metadata=ACME)) == [b"a", b"b", b"c"]
    event_id = made.events.only()["event_id"]
    assert seen == [(event_id, f"step-{number}_0") for number in range(4)]
    assert _ends(made) == [(200, "ok")]


@pytest.mark.parametrize("work", [_returns, _raises, _aborts])
def test_a_thread_takes_no_attempt_along_to_the_next_call(work: Callable[[Any], bytes]) -> None:
    made = metering(routes=[Route(f"/{SERVICE}/Open", metered=False), Route("/quotaloop.{version}.Chat/Single")])
    after, seen = list[bool](), list[bool]()

    def single(request: bytes, context: Any) -> bytes:
        seen.append(_is_current())
        return b"" if request == b"open" else work(context)

    def looked_at(inner: Callable[..., Any], request: Any, context: Any) -> Any:
        try:
            return inner(request, context)
        finally:
            after.append(_is_current())

    with _serving(made, single, None, _Around(looked_at), threads=1) as channel:
        channel.unary_unary(SINGLE).future(b"", metadata=ACME).exception()
        channel.unary_unary(f"/{SERVICE}/Open")(b"open")
    assert (seen, after) == ([True, False], [False, False])
    assert len(made.events.written) == 1


def test_a_method_that_is_not_metered_is_passed_through() -> None:
    made = metering(routes=[Route(f"/{SERVICE}/Open", metered=False)])
    handler = grpc.unary_unary_rpc_method_handler(None)
    details = type("Details", (grpc.HandlerCallDetails,), {"method": f"/{SERVICE}/Open", "invocation_metadata": ()})()
    assert MeteredInterceptor(made.edge).intercept_service(lambda _: handler, details) is handler


def test_the_wait_for_a_thread_is_a_part_of_the_attempt() -> None:
    made, gate = metering(), _Gate()

    def single(request: bytes, _: Any) -> bytes:
        if request == b"first":
            gate.wait()
        return b""

    arrived = list[str]()
    arrive = made.edge.arrive

    def noted(arrival: Any) -> Exchange:
        arrived.append(arrival.path)
        return arrive(arrival)

    made.edge.arrive = noted  # type: ignore[method-assign]
    with _serving(made, single, threads=1) as channel:
        first = channel.unary_unary(SINGLE).future(b"first", metadata=ACME)
        gate.come()
        second = channel.unary_unary(SINGLE).future(b"second", metadata=ACME)
        until(lambda: len(arrived) == 2)
        made.clock.pass_ms(9_000)
        gate.open()
        assert (first.result(), second.result()) == (b"", b"")
    assert [event["duration_ms"] for event in made.events.written] == [9_000, 9_000]


def test_a_handler_that_does_not_block_is_told_and_one_with_a_pool_of_its_own_keeps_it() -> None:
    made = metering()
    details = type("Details", (grpc.HandlerCallDetails,), {"method": SINGLE, "invocation_metadata": ()})()
    pooled, unblocking = (lambda *_: b""), (lambda *_: None)
    pooled.experimental_thread_pool = pool = ThreadPoolExecutor(1)  # type: ignore[attr-defined]
    unblocking.experimental_non_blocking = True  # type: ignore[attr-defined]
    meter = MeteredInterceptor(made.edge).intercept_service
    kept = meter(lambda _: grpc.unary_unary_rpc_method_handler(pooled), details)
    assert behaviour_of(kept).experimental_thread_pool is pool  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="does not block"):
        meter(lambda _: grpc.unary_unary_rpc_method_handler(unblocking), details)


def _over_a_network(store: Remote) -> Metering:
    limits = (limit("acme", "concurrency", 1), limit("acme", "tokens", 100), limit("acme", "requests", 20))
    return edge_of(store, *limits, routes=[Route("/quotaloop.{version}.Chat/Single")])


def test_a_store_over_a_network_is_asked_in_the_thread_of_the_handler() -> None:
    made = _over_a_network(store := Remote())

    def single(_: bytes, __: Any) -> bytes:
        current().output_tokens = 30
        return threading.current_thread().name.encode()

    with _serving(made, single) as channel:
        thread = channel.unary_unary(SINGLE)(b"", metadata=ACME).decode()
        until(lambda: store.count("settle") == 1)
    (_, reserving), (_, settling) = store.asked
    assert thread.startswith("handler")
    assert reserving == thread
    assert settling.startswith("quotaloop-limiter")  # nobody waits for that
    assert left(made) == (19, 70, 1)


def test_who_leaves_while_a_slow_store_is_asked_leaves_nothing_held_and_begins_nothing() -> None:
    made = _over_a_network(store := Remote())
    store.gate.clear()
    gone, begun_by = threading.Event(), list[bytes]()

    def watched(inner: Callable[..., Any], request: Any, context: Any) -> Any:
        context.add_callback(gone.set)
        return inner(request, context)

    def single(request: bytes, _: Any) -> bytes:
        begun_by.append(request)
        return b""

    with _serving(made, single, None, _Around(watched)) as channel:
        call = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        until(lambda: store.count("reserve") == 1)
        call.cancel()
        assert gone.wait(20)
        store.gate.set()
        until(lambda: store.count("settle") == 1)
    assert _ends(made) == [(499, "cancelled")]
    assert (left(made), begun_by) == ((19, 100, 1), [])


def test_a_refusal_over_a_network_is_the_same() -> None:
    made, gate = _over_a_network(Remote()), _Gate()

    def single(_: bytes, __: Any) -> bytes:
        gate.wait()
        return b""

    with _serving(made, single) as channel:
        first = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        gate.come()
        second = channel.unary_unary(SINGLE).future(b"", metadata=ACME)
        assert second.code() is StatusCode.RESOURCE_EXHAUSTED
        event = made.events.only()
        assert dict(second.trailing_metadata())["x-request-id"] == event["event_id"]
        assert event["denied_by"] == "concurrency"
        gate.open()
        assert first.result() == b""
    assert _ends(made) == [(429, "denied"), (200, "ok")]


def test_calls_that_are_cancelled_at_every_stage_leave_nothing_held_and_one_event_each() -> None:
    made = metering(requests=1_000, concurrency=1_000, tokens=1_000_000)
    stages: list[list[threading.Event]] = [[threading.Event() for _ in range(5)] for _ in range(200)]

    def tokens(request: bytes, _: Any) -> Iterator[bytes]:
        reached = stages[int(request)]
        for stage in reached[:-1]:
            stage.set()
            current().output_tokens += 1
            yield b"x"
        reached[-1].set()

    with _serving(made, None, tokens, threads=8) as channel:
        for number, reached in enumerate(stages):
            call = channel.unary_stream(TOKENS)(str(number).encode(), metadata=ACME)
            assert reached[number % 5].wait(20)
            call.cancel()  # while the handler goes on
    assert len({event["event_id"] for event in made.events.written}) == len(made.events.written) == 200
    assert {event["outcome"] for event in made.events.written} <= {"ok", "cancelled"}
    assert not made.edge._live
    assert made.remaining("acme", "concurrency") == 1_000


def test_threads_that_let_in_at_once_start_one_that_holds_what_takes_long() -> None:
    made = edge_of()
    before, both = set(threading.enumerate()), threading.Barrier(2)
    asked = list[None]()

    class Dead(threading.Thread):
        """The two see that it has ended before either does something about it."""

        def is_alive(self) -> bool:
            asked.append(None)
            with suppress(threading.BrokenBarrierError):
                both.wait(20 if len(asked) <= 2 else 0.2)  # the second look: by both at once, were there no lock
            return False

    made.edge._keeper = Dead()

    def let_in(edge: Edge) -> Exchange:
        exchange, refusal = begun(made, "/api/v2/chat", KEY)
        edge.let_in_here(exchange, refusal)
        return exchange

    with ThreadPoolExecutor(2) as pool:
        exchanges: list[Future[Exchange]] = [pool.submit(let_in, made.edge) for _ in range(2)]
        for exchange in exchanges:
            made.edge.end(exchange.result(), 200, "ok")
    keepers = [thread for thread in set(threading.enumerate()) - before if thread.name == "quotaloop-keeper"]
    assert len(keepers) == 1
