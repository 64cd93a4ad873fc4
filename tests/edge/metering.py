"""An edge with a clock that stands still, and events in a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from quotaloop.edge import Arrival, Edge, Estimate, Identity, Route, Version, Versions
from quotaloop.limiter import Limiter, MemoryStore
from quotaloop.quotas.policy import Kind, Rate

NOON_MS = 1_772_452_800_000  # 2026-03-02T12:00:00Z

VERSIONS = Versions(
    [
        Version(
            "v1",
            ("1.0",),
            deprecated_at=datetime(2026, 1, 1, tzinfo=UTC),
            sunset_at=datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
        ),
        Version("v2", ("2.0", "2.1")),
    ],
    default="v1",
    latest="v2",
)
ROUTES = (
    Route("/api/{version}/chat", operation="chat", reads_body=True),
    Route("/api/chat", operation="chat", reads_body=True, versioned="/api/{version}/chat"),
    Route("/api/{version}/items/{item}"),
    Route("/api/{version}/socket", operation="chat"),
    Route("/api/socket", operation="chat", versioned="/api/{version}/socket"),
    Route("/api/{version}/session", operation="chat", exchanges=True),
    *(
        Route(f"/quotaloop.{{version}}.Chat/{name}", operation="chat")
        for name in ("Tokens", "Written", "Single", "Joined")
    ),
    Route("/health", metered=False),
    Route("/open", public=True),
)
KEYS = {"Bearer acme-key": Identity("acme", "k1"), "Bearer globex-key": Identity("globex", "k2")}


@dataclass
class Events:
    """What an emitter is given."""

    written: list[dict[str, Any]] = field(default_factory=list)
    is_closed: bool = False

    def write(self, event: dict[str, Any]) -> None:
        """Keep it."""
        self.written.append(event)

    def close(self, timeout_s: float = 5.0) -> None:  # noqa: ARG002
        """Nothing to send."""
        self.is_closed = True

    def only(self) -> dict[str, Any]:
        """The one event."""
        (event,) = self.written
        return event


@dataclass
class Clock:
    """Milliseconds since the epoch and nanoseconds of a monotonic clock, moved by hand."""

    ms: int = NOON_MS
    ns: int = 5_000_000_000

    def now_ms(self) -> int:
        """Of the host."""
        return self.ms

    def now_ns(self) -> int:
        """Of the monotonic clock."""
        return self.ns

    def pass_ms(self, ms: int) -> None:
        """Time goes by."""
        self.ms += ms
        self.ns += ms * 1_000_000


@dataclass
class Metering:
    """An edge, and what it is asked about."""

    edge: Edge
    limiter: Limiter
    events: Events
    clock: Clock

    def remaining(self, tenant: str, kind: Kind) -> int:
        """What a limit would still let through."""
        answer = self.limiter.reserve(tenant, f"probe-{kind}", {kind: 0}, now_ms=self.clock.ms)
        return dict(answer.decisions)[kind].remaining


def metering(
    *,
    requests: int = 100,
    tokens: int = 10_000,
    concurrency: int = 10,
    routes: Sequence[Route] = ROUTES,
    limiter: Limiter | None = None,
) -> Metering:
    """Limits a minute for every tenant, without a policy."""
    safe: dict[Kind, Rate] = {
        "requests": Rate(requests, 60, requests),
        "tokens": Rate(tokens, 60, tokens),
        "concurrency": Rate(concurrency, 1, concurrency),
        "compute": Rate(60_000_000, 60, 60_000_000),
    }
    clock, events = Clock(), Events()
    limiter = limiter or Limiter(MemoryStore(), safe_capacity=safe)
    edge = Edge(
        limiter,
        events,
        identify=lambda arrival: KEYS.get(arrival.header(b"authorization") or ""),
        versions=VERSIONS,
        routes=routes,
        estimate=estimate,
        now_ms=clock.now_ms,
        clock_ns=clock.now_ns,
    )
    return Metering(edge, limiter, events, clock)


def estimate(arrival: Arrival) -> Estimate:
    """100 tokens unless the body says how many."""
    body = arrival.json()
    wanted = body.get("tokens", 100) if isinstance(body, dict) else 100
    return Estimate(tokens=wanted, model="markov")
