"""The Redis sink against a real Redis: whole or refused, never older, read back, and what our limiter makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from redis import Redis

from peers.redis_server import RedisServer
from quotaloop import faults
from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.limiter import Limiter
from quotaloop.limiter.redis_store import RedisStore, connect
from quotaloop.quotas.policy import KINDS, Policy, Rate, Scope, parse, render
from quotaloop.quotas.target import OURS
from quotaloop.quotas.trial.backtest import tried
from quotaloop.quotas.trial.history import History
from quotaloop.quotas.trial.replay import PASSED
from quotaloop.settings import Settings
from quotaloop.sinks.redis.policy import read
from quotaloop.sinks.redis.sink import RedisSink
from quotaloop.sinks.sink import Sink
from tests.sinks.pushes import GOOD, REFUSED, limit
from tests.sinks.pushes import policy as made_policy
from tests.sinks.pushes import sink as made

KEY = "quotaloop:policy"
PASSWORD = "not-to-be-said"
PUBLISHER = """
import sys
from pathlib import Path
from quotaloop.quotas.policy import parse
from quotaloop.sinks.redis.sink import RedisSink
from tests.sinks.pushes import sink
folder, url = Path(sys.argv[1]), sys.argv[2]
sink(RedisSink, folder, url=url).publish(parse((folder / "policy.json").read_bytes()))
"""


@pytest.fixture
def sink(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> Sink:  # noqa: ARG001 - it is emptied
    return made(RedisSink, tmp_path, url=redis_server.url, settings=Settings(patience=2_000))


def publisher(folder: Path, url: str, policy: Policy, **environment: str) -> subprocess.Popen[bytes]:
    """A process that publishes."""
    (folder / "policy.json").write_bytes(render(policy))
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(folder), url],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stderr=subprocess.PIPE,
    )


@pytest.mark.peers
def test_the_policy_lies_under_one_key_byte_for_byte_with_its_epoch(sink: Sink, redis_client: Redis) -> None:
    assert (sink.epoch(), sink.drift(GOOD), read(redis_client)) == (None, [f"{KEY} is missing"], None)
    sink.publish(GOOD)
    assert redis_client.hgetall(KEY) == {b"epoch": b"7", b"policy": render(GOOD)}
    assert (sink.epoch(), sink.drift(GOOD), read(redis_client)) == (7, [], GOOD)


@pytest.mark.peers
def test_the_key_begins_with_the_prefix(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    made(RedisSink, tmp_path, url=redis_server.url, prefix="edge").publish(GOOD)
    assert redis_client.keys() == [b"edge:policy"]
    assert (read(redis_client), read(redis_client, "edge")) == (None, GOOD)


@pytest.mark.peers
def test_a_newer_epoch_takes_the_place_of_the_older_also_with_older_limits(sink: Sink, redis_client: Redis) -> None:
    sink.publish(GOOD)
    newer = made_policy(8, limit("acme", "requests", 10))
    assert sink.drift(newer) == [f"{KEY} holds policy 7"]
    sink.publish(newer)
    assert sink.drift(GOOD) == [f"{KEY} holds policy 8"]
    sink.publish(replace(GOOD, epoch=9))
    assert read(redis_client) == replace(GOOD, epoch=9)


@pytest.mark.peers
@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(
    sink: Sink, redis_client: Redis, refused: Policy
) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []
    assert read(redis_client) == GOOD


@pytest.mark.peers
def test_epochs_are_compared_as_numbers(sink: Sink) -> None:
    sink.publish(replace(GOOD, epoch=9))
    sink.publish(replace(GOOD, epoch=10))
    with pytest.raises(CheckRefused, match=r"policy 9 is refused whole: .* holds policy 10"):
        sink.publish(replace(GOOD, epoch=9))
    sink.publish(replace(GOOD, epoch=9_999_999_998))
    with pytest.raises(CheckRefused, match="holds policy 9999999998"):
        sink.publish(replace(GOOD, epoch=9_999_999_997))
    sink.publish(replace(GOOD, epoch=9_999_999_999))
    assert sink.epoch() == 9_999_999_999


def test_a_limit_that_the_limiter_cannot_count_exactly_is_refused_by_name(tmp_path: Path) -> None:
    sink = made(RedisSink, tmp_path, url="redis://127.0.0.1:1")
    with pytest.raises(CheckRefused, match=r"sink edge cannot hold acme, tokens \(model \*, version \*\): .*exact"):
        sink.check(made_policy(8, limit("acme", "tokens", 2**50)))
    great = {kind: Rate(limit=2**50, per_seconds=60, burst=1) for kind in KINDS}
    with pytest.raises(CheckRefused, match="sink edge cannot hold safe_capacity of requests"):
        sink.check(replace(GOOD, safe_capacity=great))
    windows = {"algorithms": {"requests": "fixed_window"}}
    made(RedisSink, tmp_path, url="redis://127.0.0.1:1", target=windows).check(
        made_policy(8, limit("acme", "tokens", 2**50))
    )


@pytest.mark.peers
def test_limiters_hear_of_what_changed_and_of_nothing_else(sink: Sink, redis_client: Redis) -> None:
    with redis_client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(KEY)
        assert heard.get_message(timeout=5) is None  # the subscription itself
        for policy in (GOOD, GOOD, replace(GOOD, epoch=8)):
            sink.publish(policy)
        with pytest.raises(CheckRefused):
            sink.publish(GOOD)
        redis_client.publish(KEY, "end")
        said = []
        while b"end" not in said:
            message = heard.get_message(timeout=5)
            assert message is not None
            said.append(message["data"])
    assert said == [b"7", b"8", b"end"]


@pytest.mark.peers
@pytest.mark.parametrize("field", ["policy", "epoch"])
def test_what_somebody_changed_is_drift_until_it_is_published_again(
    sink: Sink, redis_client: Redis, field: str
) -> None:
    sink.publish(GOOD)
    changed = {"policy": render(GOOD).replace(b'"limit": 50', b'"limit": 90'), "epoch": b"07"}
    redis_client.hset(KEY, field, changed[field])
    assert sink.drift(GOOD) == [f"{KEY} is not policy 7 as published, somebody changed it"]
    sink.publish(GOOD)
    assert (sink.drift(GOOD), read(redis_client)) == ([], GOOD)


@pytest.mark.peers
def test_an_epoch_that_is_not_that_of_the_policy_is_drift_and_read_by_nobody(sink: Sink, redis_client: Redis) -> None:
    sink.publish(GOOD)
    redis_client.hset(KEY, "epoch", 6)
    assert sink.drift(GOOD) == [f"{KEY} holds policy 6"]
    with pytest.raises(CheckRefused, match="policy 7 under another epoch"):
        read(redis_client)
    redis_client.hset(KEY, "policy", "{}")
    with pytest.raises(CheckRefused, match="refused whole"):
        read(redis_client)
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []


@pytest.mark.peers
def test_a_key_that_cannot_be_compared_with_is_not_written_over(sink: Sink, redis_client: Redis) -> None:
    def of_another_type() -> None:
        redis_client.set(KEY, b"something")

    def without_epoch() -> None:
        redis_client.hset(KEY, mapping={"policy": render(replace(GOOD, epoch=9))})

    def of_no_number() -> None:
        redis_client.hset(KEY, mapping={"policy": render(GOOD), "epoch": "nine"})

    for spoil in (of_another_type, without_epoch, of_no_number):
        redis_client.delete(KEY)
        spoil()
        lies = redis_client.dump(KEY)
        for ask in (sink.epoch, lambda: sink.publish(GOOD)):
            with pytest.raises(CheckRefused, match="remove it and publish again"):
                ask()
        (line,) = sink.drift(GOOD)
        assert "remove it and publish again" in line
        assert redis_client.dump(KEY) == lies


@pytest.mark.peers
def test_many_publishers_at_once_end_with_the_greatest_epoch_and_never_go_back(
    redis_server: RedisServer, redis_client: Redis, tmp_path: Path
) -> None:
    start, done, went_back = threading.Barrier(9), threading.Event(), []

    def publish(mine: range) -> None:  # all are near the newest all the time
        sink = made(RedisSink, tmp_path, url=redis_server.url)
        start.wait()
        for epoch in mine:
            with suppress(CheckRefused):
                sink.publish(replace(GOOD, epoch=epoch))

    def watch() -> None:
        newest = 0
        start.wait()
        with connect(redis_server.url, timeout_ms=5_000) as mine:
            while not done.is_set():
                found = read(mine)
                epoch = found.epoch if found else 0
                if epoch < newest:
                    went_back.append((newest, epoch))
                newest = epoch

    watcher = threading.Thread(target=watch)
    publishers = [threading.Thread(target=publish, args=(range(first, 801, 8),)) for first in range(1, 9)]
    for thread in (watcher, *publishers):
        thread.start()
    for thread in publishers:
        thread.join()
    done.set()
    watcher.join()
    assert went_back == []
    assert read(redis_client) == replace(GOOD, epoch=800)


@pytest.mark.peers
@pytest.mark.parametrize("point", faults.REDIS_SINK_POINTS)
def test_a_publisher_that_was_killed_has_published_whole_or_nothing(
    sink: Sink, redis_server: RedisServer, redis_client: Redis, tmp_path: Path, point: str
) -> None:
    sink.publish(GOOD)
    newer = made_policy(8, limit("acme", "requests", 10))
    with publisher(tmp_path, redis_server.url, newer, QUOTALOOP_KILL_AT=point) as killed:
        _, err = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, err
    assert read(redis_client) == (GOOD if point == "redis_sink:checked" else newer)
    sink.publish(newer)
    assert (sink.drift(newer), read(redis_client)) == ([], newer)


@pytest.mark.peers
def test_a_redis_that_is_killed_stopped_or_started_empty(
    redis_server: RedisServer, tmp_path: Path, redis_client: Redis
) -> None:
    patient = made(RedisSink, tmp_path, url=redis_server.url, settings=Settings(patience=500))
    patient.publish(GOOD)
    redis_server.kill()
    try:
        for ask in (
            lambda: patient.publish(GOOD),
            patient.epoch,
            lambda: patient.drift(GOOD),
            lambda: read(redis_client),
        ):
            with pytest.raises(ServiceUnreachable, match=f"Redis at 127.0.0.1:{redis_server.port} does not answer"):
                ask()
    finally:
        redis_server.start()
    assert patient.drift(GOOD) == [f"{KEY} is missing"]
    patient.publish(GOOD)
    assert patient.drift(GOOD) == []
    redis_server.stop()
    try:
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable, match="does not answer"):
            patient.publish(replace(GOOD, epoch=8))
        assert time.monotonic() - began < 3
    finally:
        redis_server.go_on()


@pytest.mark.peers
def test_a_redis_that_takes_no_more_is_said_and_keeps_the_last_policy(sink: Sink, redis_client: Redis) -> None:
    sink.publish(GOOD)
    redis_client.config_set("maxmemory", "1")
    try:
        with pytest.raises(ServiceUnreachable, match=r"does not do it: .*memory"):
            sink.publish(replace(GOOD, epoch=8))
    finally:
        redis_client.config_set("maxmemory", "0")
    assert read(redis_client) == GOOD


@pytest.mark.peers
def test_a_password_is_in_no_error(redis_server: RedisServer, redis_client: Redis, tmp_path: Path) -> None:
    redis_client.config_set("requirepass", "the-right-one")
    try:
        url = f"redis://:{PASSWORD}@127.0.0.1:{redis_server.port}/0?client_name={PASSWORD}"
        with pytest.raises(ServiceUnreachable, match=r"Redis at 127\.0\.0\.1") as found:
            made(RedisSink, tmp_path, url=url).publish(GOOD)
        assert PASSWORD not in "".join(map(str, chain(found.value)))
        made(RedisSink, tmp_path, url=f"redis://:the-right-one@127.0.0.1:{redis_server.port}/0").publish(GOOD)
    finally:
        with connect(f"redis://:the-right-one@127.0.0.1:{redis_server.port}/0", timeout_ms=5_000) as opened:
            opened.config_set("requirepass", "")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """It and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "http://h",
        f"redis://:{PASSWORD}/@h:6379",
        f"redis://u:12/{PASSWORD}@h:6379",
        f"redis://:{PASSWORD}#@h:6379",
        f"redis://u:{PASSWORD}[@h:6379",
        f"redis://h:6379?no_such_option={PASSWORD}",
        f"redis://h:6379?socket_timeout={PASSWORD}",
    ],
)
def test_a_url_that_is_none_is_a_wrong_setting_and_not_said(tmp_path: Path, url: Any) -> None:
    with pytest.raises(UsageError, match=r"sink edge: url is redis://") as found:
        made(RedisSink, tmp_path, url=url)
    assert PASSWORD not in str(found.value)
    assert found.value.__suppress_context__


def test_the_url_is_required_and_the_prefix_is_a_word(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="url is"):
        made(RedisSink, tmp_path)
    for prefix in ("", 7):
        with pytest.raises(UsageError, match="prefix is a word"):
            made(RedisSink, tmp_path, url="redis://h", prefix=prefix)


def past(seed: int, tenant: str, count: int = 1_500) -> History:
    """Attempts of a tenant in twenty minutes, of two models and versions, none of them a retry."""
    chance = np.random.default_rng(seed)
    arrived = 1_772_409_600_000 + np.sort(chance.integers(0, 1_200_000, count))
    return History(
        tenant=tenant,
        model=chance.choice(np.array(["large", "small"], object), count),
        api_version=chance.choice(np.array(["v1", "v2"], object), count),
        hour_ms=np.full(count, 1_772_409_600_000),
        arrived_ms=arrived,
        ended_ms=arrived + chance.choice([0, 2, 900, 9_000], count),
        tokens=chance.integers(0, 60, count),
        compute=chance.integers(0, 5_000, count),
        was_denied=np.zeros(count, np.bool_),
        chain=np.full(count, -1),
    )


def decided(history: History, limiter: Limiter) -> list[bool]:
    """What the limiter says to each attempt; those that pass are settled when they have ended."""
    open_ones: list[tuple[int, int]] = []
    found = []
    for number, now_ms in enumerate(history.arrived_ms.tolist()):
        for end_ms, other in sorted(one for one in open_ones if one[0] <= now_ms):
            limiter.settle(history.tenant, str(other), {}, now_ms=end_ms, **of(history, other))
        open_ones = [one for one in open_ones if one[0] > now_ms]
        costs = {kind: int(history.cost(kind)[number]) for kind in KINDS}
        answer = limiter.reserve(history.tenant, str(number), costs, now_ms=now_ms, **of(history, number))
        assert answer.source == "policy"
        found.append(answer.allowed)
        if answer.allowed:
            open_ones.append((max(int(history.ended_ms[number]), now_ms + 1), number))
    return found


def of(history: History, number: int) -> dict[str, str]:
    """Model and version of an attempt."""
    return {"model": history.model[number], "api_version": history.api_version[number]}


@pytest.mark.peers
def test_our_limiter_decides_by_what_was_published_as_the_backtest_does(sink: Sink, redis_client: Redis) -> None:
    large = Scope(model="large", api_version="*")
    policy = made_policy(
        7,
        limit("acme", "requests", 50),
        limit("acme", "tokens", 1_000, scope=large),
        limit("acme", "concurrency", 4),
        limit("globex", "requests", 60, burst=5),
        limit("globex", "compute", 90_000),
    )
    safe = {kind: Rate(limit=40, per_seconds=60, burst=90) for kind in KINDS}
    policy = replace(policy, safe_capacity=safe | {"compute": Rate(limit=400_000, per_seconds=60, burst=900_000)})
    sink.publish(policy)
    found = read(redis_client)
    assert found is not None
    store = RedisStore(redis_client, secret=b"secret", clock="caller", hold_ms=10**9)
    limiter = Limiter(store, safe_capacity={kind: Rate(limit=1, per_seconds=60, burst=1) for kind in KINDS})
    limiter.load(found)
    for seed, tenant in enumerate(("acme", "globex", "initech")):
        history = past(seed, tenant)
        expected = [answer == PASSED for answer in tried(history, parse(render(policy)), OURS)]
        assert 100 < sum(expected) < 1_400
        assert decided(history, limiter) == expected
