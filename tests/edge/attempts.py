"""Attempts as a test makes them: begun, let in, turned away; and a store that is asked over a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from quotaloop.edge import Arrival, Edge, Exchange, Identity, Refused, Route
from quotaloop.limiter import Answer, Limiter, MemoryStore
from quotaloop.quotas.policy import KINDS, Rate
from tests.edge.metering import VERSIONS, Clock, Events, Metering
from tests.sinks.pushes import policy

KEY = (b"authorization", b"Bearer acme-key")


def begun(made: Metering, path: str = "/api/v2/chat", *headers: tuple[bytes, bytes]) -> tuple[Exchange, Refused | None]:
    """A POST that has arrived, with whatever is against it."""
    exchange = made.edge.arrive(Arrival(protocol="http", method="POST", path=path, raw_headers=headers))
    _, refusal = made.edge.resolve(exchange, made.edge.match(path))
    return exchange, refusal


async def let_in(made: Metering, path: str = "/api/v2/chat", *headers: tuple[bytes, bytes]) -> tuple[Exchange, Answer]:
    """One of acme that passes."""
    exchange, refusal = begun(made, path, *(headers or (KEY,)))
    return exchange, await made.edge.let_in(exchange, refusal)


async def turned_away(made: Metering, path: str = "/api/v2/chat", *headers: tuple[bytes, bytes]) -> Refused:
    """One that does not pass, up to its event."""
    exchange, refusal = begun(made, path, *headers)
    with pytest.raises(Refused) as found:
        await made.edge.let_in(exchange, refusal)
    made.edge.end(exchange, found.value.status, found.value.outcome)
    return found.value


def left(made: Metering, tenant: str = "acme") -> tuple[int, ...]:
    """What would still pass: requests, tokens, slots."""
    return tuple(made.remaining(tenant, kind) for kind in ("requests", "tokens", "concurrency"))


def edge_of(store: Any = None, *limits: Any, when_away: Any = "local", **chosen: Any) -> Metering:
    """Over this store, under these limits, or 8 of each kind a minute."""
    safe: dict[Any, Rate] = {kind: Rate(limit=8, per_seconds=60, burst=8) for kind in KINDS}
    limiter = Limiter(store or MemoryStore(), safe_capacity=safe, when_away=when_away)
    if limits:
        limiter.load(policy(1, *limits))
    clock, events = Clock(), Events()
    usual: dict[str, Any] = {
        "identify": lambda arrival: Identity("acme") if arrival.header(KEY[0]) else None,
        "versions": VERSIONS,
        "routes": [Route("/api/{version}/chat")],
    }
    edge = Edge(limiter, events, now_ms=clock.now_ms, clock_ns=clock.now_ns, **(usual | chosen))
    return Metering(edge, limiter, events, clock)


class Remote:
    """A store that is asked over a network: it answers while its gate is open."""

    def __init__(self, hold_ms: int = 600_000) -> None:
        self.inner, self.hold_ms = MemoryStore(hold_ms=hold_ms), hold_ms
        self.gate = threading.Event()
        self.gate.set()
        self.asked: list[tuple[str, str]] = []  # what, by which thread
        self.raises: BaseException | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any) -> Any:
            self.asked.append((name, threading.current_thread().name))
            assert self.gate.wait(20)
            if self.raises is not None:
                raise self.raises
            return getattr(self.inner, name)(*arguments)

        return ask

    def count(self, name: str) -> int:
        """How often it was asked that."""
        return sum(verb == name for verb, _ in self.asked)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread does; a test that waits in vain fails."""
    waited = threading.Event()
    for _ in range(4_000):
        if is_so():
            return
        waited.wait(0.005)
    raise AssertionError("it never was so")
