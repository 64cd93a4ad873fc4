"""Stores of counts: in memory, and in a real Redis where tests of other makers' servers run."""

from __future__ import annotations

import pytest

from peers.redis_server import RedisServer
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.store import CounterStore


@pytest.fixture
def redis_url(redis_server: RedisServer, redis_client: object) -> str:  # noqa: ARG001 - it is emptied
    """Where an empty Redis answers."""
    return redis_server.url


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.peers)])
def counters(request: pytest.FixtureRequest) -> CounterStore:
    """An empty store that goes by the time it is given, and holds reservations for 10 minutes."""
    if request.param == "memory":
        return MemoryStore()
    from quotaloop.limiter.redis_store import RedisStore, connect

    url = request.getfixturevalue("redis_url")
    return RedisStore(connect(url, timeout_ms=5_000), secret=b"secret", clock="caller")
