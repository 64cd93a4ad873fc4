"""Stores of counts: in memory, and in a real Redis where tests of other makers' servers run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from peers.redis_server import RedisServer
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.store import CounterStore


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that runs for all tests; it is emptied before each that asks for it by ``redis``."""
    if shutil.which("redis-server") is None:
        pytest.fail("redis-server is not installed; make test-peers installs it")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Where an empty Redis answers."""
    from redis import Redis

    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.peers)])
def counters(request: pytest.FixtureRequest) -> CounterStore:
    """An empty store that goes by the time it is given, and holds reservations for 10 minutes."""
    if request.param == "memory":
        return MemoryStore()
    from quotaloop.limiter.redis_store import RedisStore, connect

    url = request.getfixturevalue("redis_url")
    return RedisStore(connect(url, timeout_ms=5_000), secret=b"secret", clock="caller")
