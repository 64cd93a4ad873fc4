"""A limiter that is kept at the newest policy of a real Redis, whatever happens to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from peers.redis_server import RedisServer
from quotaloop.edge.follow import Follower, from_redis
from quotaloop.settings import Settings
from quotaloop.sinks.redis.sink import RedisSink
from quotaloop.sinks.sink import Sink
from tests.edge.followers import PATIENCE_S, epoch, follower, left
from tests.sinks.pushes import sink

KEY = "quotaloop:policy"


@pytest.fixture
def redis(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Sink:  # noqa: ARG001 - it is emptied
    return sink(RedisSink, tmp_path, url=redis_server.url, settings=Settings(patience=5_000))


@pytest.mark.peers
def test_each_policy_that_is_published_to_redis_is_loaded_once(redis_server: RedisServer, redis: Sink) -> None:
    read = from_redis(redis_server.url, timeout_ms=5_000)
    made = follower(read)
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 1)
    redis.publish(epoch(1))
    assert (made.look(), made.epoch, left(made.limiter)) == (True, 1, 10)
    assert (made.look(), made.problem) == (False, "")
    redis.publish(epoch(2))
    redis.publish(epoch(3))
    assert (made.look(), made.epoch, left(made.limiter), made.problem) == (True, 3, 30, "")
    assert read() == epoch(3)


@pytest.mark.peers
def test_the_whole_policy_is_fetched_only_when_its_epoch_has_changed(
    redis_server: RedisServer, redis: Sink, redis_client: Redis
) -> None:
    redis.publish(epoch(1))
    read = from_redis(redis_server.url, timeout_ms=5_000)
    first = read()
    redis_client.config_resetstat()
    assert [read() is first for _ in range(5)] == [True] * 5
    calls = redis_client.info("commandstats")
    assert calls["cmdstat_hget"]["calls"] == 5
    assert "cmdstat_hmget" not in calls
    redis.publish(epoch(2))
    assert read() == epoch(2)


@pytest.mark.peers
def test_a_policy_lies_under_the_prefix_that_was_chosen(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    assert redis_client.keys() == []
    sink(RedisSink, tmp_path, url=redis_server.url, prefix="other").publish(epoch(4))
    assert from_redis(redis_server.url, timeout_ms=5_000)() is None
    assert from_redis(redis_server.url, prefix="other", timeout_ms=5_000)() == epoch(4)


@pytest.mark.peers
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("HSET", KEY, "epoch", "2"), "somebody changed it"),
        (("HSET", KEY, "epoch", "2", "policy", "{}"), "the policy is refused whole"),
        (("HSET", KEY, "epoch", "2", "policy", b"\xff"), "the policy is refused whole"),
        (("HDEL", KEY, "epoch"), "somebody changed it"),
        (("SET", KEY, "no hash"), "is not as published"),
    ],
)
def test_what_in_redis_is_no_policy_changes_nothing(
    redis_server: RedisServer, redis: Sink, redis_client: Redis, command: tuple[Any, ...], said: str
) -> None:
    redis.publish(epoch(1))
    made = follower(from_redis(redis_server.url, timeout_ms=5_000))
    made.look()
    redis_client.execute_command(*command)
    assert [made.look(), made.look()] == [False, False]
    assert said in made.problem
    assert left(made.limiter) == 10
    redis_client.delete(KEY)
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 10)
    redis.publish(epoch(3))
    assert (made.look(), left(made.limiter)) == (True, 30)


def loaded(made: Follower) -> None:
    """Look until a newer policy is there: this machine may take longer than is waited for."""
    end = time.monotonic() + PATIENCE_S
    while not made.look():
        assert "does not answer" in made.problem
        assert time.monotonic() < end


@pytest.mark.peers
def test_while_redis_does_not_answer_the_limiter_keeps_its_policy(redis_server: RedisServer, redis: Sink) -> None:
    redis.publish(epoch(1))
    made = follower(from_redis(redis_server.url, timeout_ms=100))
    loaded(made)
    redis_server.stop()
    try:
        assert not made.look()
        assert made.problem.startswith(f"Redis at 127.0.0.1:{redis_server.port} does not answer")
        assert left(made.limiter) == 10
    finally:
        redis_server.go_on()
    redis.publish(epoch(2))
    loaded(made)
    assert (made.problem, left(made.limiter)) == ("", 20)


@pytest.mark.peers
def test_a_thread_outlives_a_redis_that_is_started_anew(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    made = follower(from_redis(server.url, timeout_ms=5_000), every_ms=10).start()
    try:
        assert "does not answer" in made.problem
        for number in (1, 2):
            with server:
                sink(RedisSink, tmp_path, url=server.url, settings=Settings(patience=5_000)).publish(epoch(number))
                assert made.wait_for(number, PATIENCE_S)
            assert left(made.limiter) == 10 * number
    finally:
        made.stop()


def test_an_address_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="Redis URL"):
        from_redis("http://127.0.0.1:1")
