"""The edge of this gateway: its routes and versions, whose a key is, and what a request may cost."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from examples.gateway.keys import Keys
from examples.gateway.models import classifier, generator
from examples.gateway.models.tokens import count
from examples.gateway.schemas import whole
from examples.gateway.settings import Settings
from quotaloop.edge import Arrival, Edge, Estimate, Route, Version, Versions
from quotaloop.edge.edge import Emits
from quotaloop.edge.follow import Follower, Read, from_file, from_redis
from quotaloop.errors import UsageError
from quotaloop.limiter.limiter import Limiter
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.store import CounterStore
from quotaloop.quotas.policy import Kind, Rate

BODY_BYTES = 262_144
RPC = "/quotaloop.gateway.{version}.Conversation/Converse"
VERSIONS = Versions(
    [
        Version(
            "v1",
            aliases=("1.0",),
            deprecated_at=datetime(2026, 3, 1, tzinfo=UTC),
            sunset_at=datetime(2027, 3, 1, tzinfo=UTC),
            link="/openapi.json",
        ),
        Version("v2", aliases=("2.0", "2.1")),
    ],
    default="v1",
    latest="v2",
)
_US_A_TOKEN = 4  # of processor time
_US_A_PICTURE = 1_500
_MOST_TOKENS = 1_024


def build(settings: Settings, keys: Keys, emitter: Emits) -> tuple[Edge, Follower | None]:
    """The edge, and what keeps its policy current, not yet started; None where there is no policy to follow.

    Raises ``UsageError`` for amounts that cannot be counted.
    """
    try:
        limiter = Limiter(
            _store(settings),
            safe_capacity=_safe(settings),
            instances=settings.instances,
            unknown_subjects=settings.unknown_subjects,
        )
    except ValueError as error:
        raise UsageError(f"safe capacity: {error}") from error
    behind_ms = int(settings.clock_behind_s * 1_000)
    edge = Edge(
        limiter,
        emitter,
        identify=keys.identify,
        versions=VERSIONS,
        routes=routes(),
        estimate=estimate,
        most_body_bytes=BODY_BYTES,
        now_ms=lambda: time.time_ns() // 1_000_000 - behind_ms,
    )
    read = _policy(settings)
    return edge, Follower(limiter, read) if read else None


def routes() -> list[Route]:
    """What is served, as events name it; other words for a version, such as ``/api/2.1/``, mean the same."""
    found = [Route(path, metered=False) for path in ("/openapi.json", "/api/v1/health", "/api/v1/health/live")]
    found.append(Route("/api/v1/health/ready", metered=False))
    for name, operation in (("models", None), ("image_classify", "image_classify"), ("conversation", "chat")):
        versioned = f"/api/{{version}}/{name}"
        reads = name == "conversation"
        for path in (versioned, f"/api/{name}"):
            found.append(Route(path, operation, reads_body=reads, versioned=versioned))
    for path in ("/api/{version}/conversation/ws", "/api/conversation/ws"):
        found.append(Route(path, "chat", exchanges=True, versioned="/api/{version}/conversation/ws"))
    found.append(Route("/api/v1/conversation/rtc", "signal"))
    found.append(Route(RPC, "chat"))
    return found


def estimate(arrival: Arrival) -> Estimate:
    """What a request may cost: the tokens of its prompt and all that it may be answered with."""
    if arrival.protocol == "grpc":
        request = arrival.request
        contents = [message.content for message in request.messages]
        return estimated(contents, request.max_tokens or 64, request.model or generator.ID)
    if arrival.path.endswith("/image_classify"):
        return Estimate(gpu_us=_US_A_PICTURE, model=classifier.ID)
    if arrival.path.endswith("/conversation"):
        return _of_document(arrival.json())
    return Estimate()


def estimated(contents: list[str], max_tokens: int, model: str) -> Estimate:
    """What an answer of at most ``max_tokens`` to these messages may cost; a model that there is not costs nothing.

    It is asked before any limit, in the event loop: a prompt that is too long, and will be 422, is not counted on.
    """
    if model != generator.ID:
        return Estimate()
    tokens = count(contents, generator.MOST_PROMPT + 1) + min(max(max_tokens, 0), _MOST_TOKENS)
    return Estimate(tokens, tokens * _US_A_TOKEN, model)


def _of_document(document: Any) -> Estimate:
    """Of a body that nobody has checked yet."""
    if not isinstance(document, dict) or not isinstance(document.get("messages"), list):
        return Estimate()
    messages = [message for message in document["messages"] if isinstance(message, dict)]
    contents = [message["content"] for message in messages if isinstance(message.get("content"), str)]
    most, model = whole(document.get("max_tokens", 64)), document.get("model", generator.ID)
    return estimated(contents, most if type(most) is int else 64, model if isinstance(model, str) else "")


def _store(settings: Settings) -> CounterStore:
    if not settings.redis_url:
        return MemoryStore()
    from quotaloop.limiter.redis_store import RedisStore, connect

    return RedisStore(connect(settings.redis_url), secret=settings.redis_secret.encode())


def _policy(settings: Settings) -> Read | None:
    if settings.redis_url:
        return from_redis(settings.redis_url)
    return from_file(Path(settings.policy)) if settings.policy else None


def _safe(settings: Settings) -> dict[Kind, Rate]:
    """Each a minute, at most a minute's worth at once."""
    amounts: dict[Kind, int] = {
        "requests": settings.safe_requests,
        "tokens": settings.safe_tokens,
        "compute": settings.safe_compute,
    }
    rates = {kind: Rate(limit=amount, per_seconds=60, burst=amount) for kind, amount in amounts.items()}
    slots = settings.safe_concurrency
    return rates | {"concurrency": Rate(limit=slots, per_seconds=1, burst=slots)}
