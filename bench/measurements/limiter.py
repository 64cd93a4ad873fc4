"""Decisions a second, one thread: this limiter, ``limits`` and ``throttled-py``, in memory and over one Redis.

A thousand tenants ask in turn, each for more than its limit, so that about half of the decisions are refusals.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import limits
import throttled
from limits import storage, strategies

from bench.data import Data
from bench.meter import Usage
from bench.pairs import Spread, in_turn, typical
from bench.results import Row
from peers.redis_server import RedisServer
from quotaloop.limiter.leased_store import LeasedStore
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.redis_store import RedisStore, connect
from quotaloop.limiter.rules import Algorithm, rule_of
from quotaloop.limiter.store import Ask, CounterStore

_TENANTS = [f"tenant-{number}" for number in range(1_000)]
_IN_MEMORY, _OVER_REDIS = 400_000, 20_000  # decisions
_AT_LEAST = {"limiter-memory": 500.0, "limiter-redis": 8.0, "limiter-leased": 200.0}  # thousands a second
_SECONDS = 3_600  # a limit is for so long: no window ends during a run, but by chance
_WORKS = {
    "limiter-memory": "fixed window, in memory",
    "limiter-memory-gcra": "GCRA, in memory",
    "limits-memory": "the same by `limits`: fixed window, in memory",
    "throttled-memory": "the same by `throttled-py`: fixed window, in memory",
    "limiter-redis": "fixed window over one Redis, one call a decision",
    "limiter-redis-gcra": "GCRA over one Redis, one call a decision",
    "limits-redis": "the same by `limits`: fixed window over one Redis",
    "throttled-redis": "the same by `throttled-py`: fixed window over one Redis",
    "limiter-leased": "GCRA over one Redis, 50 units a lease",
}


def measure(data: Data, rounds: int) -> list[Row]:
    """A row for each limiter; in memory by CPU, over Redis by wall time, in which a round trip is waited for."""
    in_memory = {
        "limiter-memory": lambda: _ours(MemoryStore(), "fixed_window", _IN_MEMORY),
        "limiter-memory-gcra": lambda: _ours(MemoryStore(), "gcra", _IN_MEMORY),
        "limits-memory": lambda: _limits("memory://", _IN_MEMORY),
        "throttled-memory": lambda: _throttled(throttled.MemoryStore(), _IN_MEMORY),
    }
    rows = _rows(in_memory, rounds, _IN_MEMORY, lambda used: used.cpu_s)
    with data.scratch() as folder, RedisServer(folder) as server:
        url = server.url
        shared = {
            "limiter-redis": lambda: _ours(_redis(url), "fixed_window", _OVER_REDIS),
            "limiter-redis-gcra": lambda: _ours(_redis(url), "gcra", _OVER_REDIS),
            "limits-redis": lambda: _limits(url, _OVER_REDIS),
            "throttled-redis": lambda: _throttled(throttled.RedisStore(server=url), _OVER_REDIS),
        }
        rows += _rows(shared, rounds, _OVER_REDIS, lambda used: used.wall_s)
        leased = {"limiter-leased": lambda: _ours(_leased(url), "gcra", _IN_MEMORY)}
        rows += _rows(leased, rounds, _IN_MEMORY, lambda used: used.wall_s)
    return rows


def _rows(
    runs: Mapping[str, Callable[[], Usage]], rounds: int, count: int, seconds: Callable[[Usage], float]
) -> list[Row]:
    usages = in_turn(list(runs.values()), rounds)
    return [
        Row(
            name=name,
            work=_WORKS[name],
            yardstick_work="",
            lines=count,
            ours=typical(found),
            yardstick=None,
            value=Spread.of([count / seconds(used) / 1_000 for used in found]),
            unit="k/s",
            wall_ratio=None,
            target=_AT_LEAST.get(name),
            at_least=True,
        )
        for name, found in zip(runs, usages, strict=True)
    ]


def _ours(store: CounterStore, algorithm: Algorithm, count: int) -> Usage:
    limit = count // len(_TENANTS) // 2
    ask = Ask(f"requests-{time.monotonic_ns()}", rule_of(algorithm, limit, _SECONDS, limit), 1)
    spend, clock = store.spend, time.time_ns
    return _timed(lambda tenant: spend(tenant, ask, clock() // 1_000_000), count)


def _limits(url: str, count: int) -> Usage:
    limiter = strategies.FixedWindowRateLimiter(storage.storage_from_string(url))
    item = limits.RateLimitItemPerHour(count // len(_TENANTS) // 2, namespace=str(time.monotonic_ns()))
    return _timed(lambda tenant: limiter.hit(item, tenant), count)


def _throttled(store: Any, count: int) -> Usage:
    limiter = throttled.Throttled(
        using="fixed_window",
        quota=throttled.per_hour(count // len(_TENANTS) // 2),
        store=store,
        key_prefix=str(time.monotonic_ns()),
    )
    return _timed(limiter.limit, count)


def _redis(url: str) -> RedisStore:
    return RedisStore(connect(url, timeout_ms=5_000), secret=b"bench")


def _leased(url: str) -> LeasedStore:
    return LeasedStore(_redis(url), units=50, lease_ms=1_000)


def _timed(decide: Callable[[str], object], count: int) -> Usage:
    began, cpu = time.perf_counter(), time.process_time()
    for number in range(count):
        decide(_TENANTS[number % len(_TENANTS)])
    return Usage(time.process_time() - cpu, time.perf_counter() - began, 0)
