"""Counts in a real Redis: as in memory, by its own clock, from several processes, and while it is away."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from redis import Redis

from peers.redis_server import RedisServer
from quotaloop.limiter import Limiter
from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.redis_store import RedisStore, connect
from quotaloop.limiter.rules import rule_of
from quotaloop.limiter.store import Ask, CounterStore, StoreUnavailable
from tests.limiter.test_limiter import SAFE, limit, policy

pytestmark = pytest.mark.peers

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
HOUR = 3_600_000
DAY_RULE = rule_of("token_bucket", 1_000, 86_400, 1_000)  # a unit in 86 s: none comes back during a test


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may kill it."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def store_at(url: str, **settings: Any) -> RedisStore:
    """A store that goes by the clock of Redis."""
    return RedisStore(connect(url, timeout_ms=2_000), secret=b"secret", **settings)


@pytest.mark.parametrize("seed", range(40))
def test_redis_and_memory_decide_alike(redis_url: str, seed: int) -> None:
    chance = random.Random(seed)
    units = chance.choice([1, 1, 1_000_000])
    rules = {
        "bucket": rule_of("token_bucket", chance.randint(1, 50) * units, chance.choice([1, 3, 60]), 9 * units),
        "fixed": rule_of("fixed_window", chance.randint(1, 50) * units, chance.choice([1, 7, 60]), 1),
        "sliding": rule_of("sliding_window", chance.randint(1, 50) * units, chance.choice([1, 7, 60]), 1),
        "log": rule_of("sliding_log", chance.randint(1, 50) * units, chance.choice([1, 7]), 1),
        "slots": Concurrency(chance.randint(1, 9), chance.randint(1, 9) * 1_000),
    }
    forever = 1_000 * HOUR
    stores: list[CounterStore] = [
        MemoryStore(hold_ms=forever, settled_ms=forever),
        store_at(redis_url, clock="caller", hold_ms=forever, settled_ms=forever),
    ]
    now_ms, names = NOON, [""]
    for number in range(300):
        steps = [0, 0, 1, 5, 100, 999, 5_000, -3, -500] if chance.random() < 0.98 else [-100_000, HOUR, -HOUR]
        now_ms += chance.choice(steps)
        some = chance.sample(sorted(rules), chance.randint(1, 5))
        asks = [Ask(key, rules[key], chance.randint(0, min(rules[key].most, 3 * units))) for key in some]
        verb = chance.choice(["spend", "spend", "reserve", "reserve", "settle", "extend"])
        if verb == "spend":
            key = chance.choice(["bucket", "fixed", "sliding", "log"])
            ask = Ask(key, rules[key], chance.randint(0, rules[key].most))
            answers: list[Any] = [store.spend("acme", ask, now_ms) for store in stores]
        else:
            name = f"r{number}" if verb == "reserve" and chance.random() < 0.8 else chance.choice(names)
            names.append(name)
            answers = [getattr(store, verb)("acme", name, asks, now_ms) for store in stores]
        assert answers[0] == answers[1], (number, verb, asks, now_ms - NOON)


def test_the_clock_of_a_host_does_not_matter(redis_url: str) -> None:
    store, ask = store_at(redis_url), Ask("k", DAY_RULE, 400)
    hosts = [time.time_ns() // 1_000_000 + moved for moved in (0, 24 * HOUR, -24 * HOUR)]
    assert [store.spend("acme", ask, now_ms).allowed for now_ms in hosts] == [True, True, False]


def test_keys_name_no_tenant_and_end_by_themselves(redis_url: str) -> None:
    store = store_at(redis_url, clock="caller")
    asks = [
        Ask(word, rule_of(word, 10, 60, 10), 1)  # type: ignore[arg-type]
        for word in ("token_bucket", "fixed_window", "sliding_window", "sliding_log")
    ]
    assert all(found.allowed for found in store.reserve("acme", "a", [*asks, Ask("s", Concurrency(1, 500), 1)], NOON))
    with Redis.from_url(redis_url, decode_responses=True) as client:
        ends = {key: client.pttl(key) for key in client.scan_iter()}
    assert len(ends) == 7
    assert not any("acme" in key for key in ends)
    assert len({key.partition("}")[0] for key in ends}) == 1  # one slot of a cluster
    assert all(0 < end <= 600_000 for end in ends.values())


def test_a_request_that_is_settled_is_remembered_for_a_while_and_no_longer(redis_url: str) -> None:
    store, asks = store_at(redis_url, settled_ms=60_000), [Ask("k", DAY_RULE, 10)]
    with Redis.from_url(redis_url) as client:
        for name, hold_ms in (("a", 600_000), ("b", 5_000)):
            store.hold_ms = hold_ms
            assert store.reserve("acme", name, asks, 0)[0].allowed
            assert [store.settle("acme", name, asks, 0) for _ in range(2)] == [True, True]
            (record,) = client.scan_iter(f"*:request:{name}")
            assert hold_ms / 2 < client.pttl(record) * (10 if name == "a" else 1) <= 600_000
            assert client.pttl(record) <= min(hold_ms, 60_000)


def test_another_secret_counts_under_other_keys(redis_url: str) -> None:
    client = connect(redis_url, timeout_ms=2_000)
    for secret in (b"one", b"two"):
        assert RedisStore(client, secret=secret).spend("acme", Ask("k", DAY_RULE, 1_000), NOON).allowed


_PROCESS = """
import json, sys
from quotaloop.limiter.redis_store import RedisStore, connect
from quotaloop.limiter.rules import rule_of
from quotaloop.limiter.store import Ask
store = RedisStore(connect(sys.argv[1], timeout_ms=5000), secret=b"secret")
ask = Ask("k", rule_of("token_bucket", 1000, 86400, 1000), 7)
print(json.dumps([store.spend("acme", ask, 0).allowed for _ in range(100)]))
"""


def test_four_processes_together_admit_what_one_would(redis_url: str) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _PROCESS, redis_url], stdout=subprocess.PIPE) for _ in range(4)
    ]
    allowed = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(map(sum, allowed)) == 1_000 // 7


def test_threads_and_forks_have_connections_of_their_own(redis_url: str) -> None:
    store, ask = store_at(redis_url), Ask("k", DAY_RULE, 1)

    def spend(_: int) -> int:
        return sum(store.spend("acme", ask, 0).allowed for _ in range(50))

    assert spend(0) == 50
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(spend, range(8))) == 400
    child = os.fork()
    if child == 0:
        os._exit(0 if spend(0) == 50 else 1)
    assert spend(0) == 50
    assert os.waitpid(child, 0)[1] == 0
    assert store.spend("acme", Ask("k", DAY_RULE, 0), 0).remaining == 1_000 - 550


def test_threads_go_on_after_a_restart_without_a_failure_each(own_server: RedisServer) -> None:
    store, ask = store_at(own_server.url), Ask("k", DAY_RULE, 1)
    with ThreadPoolExecutor(4) as threads:
        start = Barrier(4)

        def spend(_: int) -> bool:
            start.wait(20)
            return store.spend("acme", ask, 0).allowed

        assert all(threads.map(spend, range(4)))
        own_server.kill()
        own_server.start()
        assert all(threads.map(spend, range(4)))


def test_a_client_that_decodes_answers_will_do(redis_url: str) -> None:
    client = Redis.from_url(redis_url, decode_responses=True)
    assert RedisStore(client, secret=b"secret").spend("acme", Ask("k", DAY_RULE, 1), 0).remaining == 999


def test_a_redis_that_does_not_answer_is_unavailable_and_one_that_was_started_again_counts_anew(
    own_server: RedisServer,
) -> None:
    store, ask = RedisStore(connect(own_server.url, timeout_ms=200), secret=b"secret"), Ask("k", DAY_RULE, 600)
    assert store.spend("acme", ask, NOON).allowed
    own_server.stop()
    with pytest.raises(StoreUnavailable, match="Redis does not count"):
        store.spend("acme", ask, NOON)
    own_server.go_on()
    assert not store.spend("acme", ask, NOON).allowed
    own_server.kill()
    with pytest.raises(StoreUnavailable):
        store.reserve("acme", "a", [ask], NOON)
    own_server.start()
    assert store.reserve("acme", "a", [ask], NOON)[0].allowed


def test_a_limiter_whose_redis_is_killed_stopped_and_started_again_never_lets_everything_pass(
    own_server: RedisServer,
) -> None:
    store = RedisStore(connect(own_server.url, timeout_ms=200), secret=b"secret")
    made = Limiter(store, safe_capacity=SAFE, instances=4)
    made.load(policy(limit("acme", "requests", 50, per_seconds=3_600)))
    passed = {}
    for number, (name, change) in enumerate(
        [
            ("up", None),
            ("killed", own_server.kill),
            ("up again, empty", own_server.start),
            ("stopped", own_server.stop),
            ("goes on", own_server.go_on),
        ]
    ):
        if change:
            change()
        at_ms = NOON + number * 600_000
        answers = [made.reserve("acme", f"{name} {place}", {"requests": 1}, now_ms=at_ms) for place in range(60)]
        passed[name] = sum(answer.allowed for answer in answers), answers[-1].source
    assert passed == {
        "up": (50, "policy"),
        "killed": (2, "local"),
        "up again, empty": (50, "policy"),
        "stopped": (2, "local"),
        "goes on": (0, "policy"),
    }
