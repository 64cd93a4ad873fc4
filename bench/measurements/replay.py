"""Attempts a second through a compiled replay, one core, and that it decides as the limiter itself does."""

from __future__ import annotations

import time

import numpy as np

from bench.agreement import Disagreement
from bench.data import Data
from bench.meter import Usage
from bench.pairs import Spread, in_turn, typical
from bench.results import Row
from quotaloop.limiter.memory import MemoryStore
from quotaloop.limiter.rules import Algorithm, rule_of
from quotaloop.limiter.store import Ask
from quotaloop.quotas.trial.replay import PASSED, Attempts, Counter, replay

ALGORITHMS: tuple[Algorithm, ...] = ("token_bucket", "fixed_window", "sliding_window", "sliding_log")
AT_LEAST = 5.0  # million a second
_DAY_MS, _MIDNIGHT_MS = 86_400_000, 1_772_409_600_000
_COMPARED = 200_000
_SEED = 11


def measure(data: Data, rounds: int) -> list[Row]:
    """A row for each algorithm: a day of attempts of one tenant, about half of them refused."""
    attempts = _attempts(data.lines)
    limit = data.lines * 50 // (_DAY_MS // 60_000) // 2
    for algorithm in ALGORITHMS:
        _compare(attempts, algorithm, limit)
    counters = [Counter(algorithm, limit, 60_000, limit) for algorithm in ALGORITHMS]
    usages = in_turn([lambda counter=counter: _timed(attempts, counter) for counter in counters], rounds)
    return [
        Row(
            name=f"replay-{algorithm}",
            work=f"a day through {algorithm}, one core",
            yardstick_work="",
            lines=data.lines,
            ours=typical(found),
            yardstick=None,
            value=Spread.of([data.lines / used.cpu_s / 1e6 for used in found]),
            unit="M/s",
            wall_ratio=None,
            target=AT_LEAST,
            at_least=True,
        )
        for algorithm, found in zip(ALGORITHMS, usages, strict=True)
    ]


def _attempts(count: int) -> Attempts:
    """Of 1 to 99 tokens each, at any time of a day."""
    dice = np.random.default_rng(_SEED)
    arrived = np.sort(dice.integers(0, _DAY_MS, count)) + _MIDNIGHT_MS
    costs = dice.integers(1, 100, (1, count))
    return Attempts(arrived, arrived + 1_000, costs, np.full(count, -1), np.zeros(count, np.bool_))


def _timed(attempts: Attempts, counter: Counter) -> Usage:
    began, cpu = time.perf_counter(), time.process_time()
    replay(attempts, [counter])
    return Usage(time.process_time() - cpu, time.perf_counter() - began, 0)


def _compare(attempts: Attempts, algorithm: Algorithm, limit: int) -> None:
    """The first attempts by the limiter's own code; it also compiles the replay."""
    store, rule = MemoryStore(), rule_of(algorithm, limit, 60, limit)
    times, costs = attempts.arrived_ms[:_COMPARED].tolist(), attempts.costs[0, :_COMPARED].tolist()
    mine = [store.spend("t", Ask("k", rule, cost), now).allowed for now, cost in zip(times, costs, strict=True)]
    replayed = replay(attempts, [Counter(algorithm, limit, 60_000, limit)])[:_COMPARED] == PASSED
    if mine != replayed.tolist():
        raise Disagreement(f"{algorithm}: the replay and the limiter differ")
