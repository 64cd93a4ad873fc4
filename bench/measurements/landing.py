"""Records of a broker of this machine into the raw zone, against a plain consumer that writes them to nowhere."""

from __future__ import annotations

import os
from pathlib import Path

from bench.agreement import Disagreement
from bench.broker import fill, running
from bench.commands import ours, python, work_of
from bench.data import TOPIC, Data
from bench.meter import Usage
from bench.meter import measure as metered
from bench.pairs import Spread, in_turn, ratio, typical
from bench.results import Row
from quotaloop.raw.ranges import landed
from quotaloop.storage.local import LocalStore

AT_MOST = 1.5


def measure(data: Data, rounds: int) -> list[Row]:
    """Two rows: CPU without compression against the plain consumer, and megabytes of payload a second."""
    with data.scratch() as folder, running(folder / "cluster", "kafka") as cluster:
        brokers = cluster.environment["QUOTALOOP_KAFKA_BROKERS"]
        size = fill(brokers, data)
        os.environ["QUOTALOOP_KAFKA_BROKERS"] = brokers
        stores = [folder / f"store-{number}" for number in range(rounds)]
        waiting = iter(stores)
        runs = [lambda: _ours(data, next(waiting)), lambda: _plain(brokers), lambda: _gzip(stores[0])]
        usages = in_turn(runs, rounds)
    bare = [_less(mine, gzip) for mine, gzip in zip(usages[0], usages[2], strict=True)]
    rates = [size / usage.wall_s / 1e6 for usage in usages[0]]
    return [
        Row(
            name="land",
            work="topic to raw zone, without compression",
            yardstick_work="confluent-kafka to /dev/null",
            lines=data.lines,
            ours=typical(bare),
            yardstick=typical(usages[1]),
            value=ratio([usage.cpu_s for usage in bare], [usage.cpu_s for usage in usages[1]]),
            unit="x",
            wall_ratio=ratio([usage.wall_s for usage in usages[0]], [usage.wall_s for usage in usages[1]]),
            target=AT_MOST,
        ),
        Row(
            name="land-rate",
            work="topic to raw zone, compressed, one process",
            yardstick_work="",
            lines=data.lines,
            ours=typical(usages[0]),
            yardstick=None,
            value=Spread.of(rates),
            unit="MB/s",
            wall_ratio=None,
            target=None,
        ),
    ]


def _ours(data: Data, store: Path) -> Usage:
    usage = work_of(ours("land", store))
    count = sum(item.end - item.start for item in landed(LocalStore(store)))
    if count != data.lines:
        raise Disagreement(f"{count} of {data.lines} lines have landed")
    return usage


def _plain(brokers: str) -> Usage:
    return work_of(metered(python("bench.yardsticks.kafka_null", brokers, TOPIC)))


def _gzip(store: Path) -> Usage:
    return work_of(metered(python("bench.yardsticks.compress", store)))


def _less(mine: Usage, part: Usage) -> Usage:
    return Usage(mine.cpu_s - part.cpu_s, mine.wall_s, mine.peak_bytes)
