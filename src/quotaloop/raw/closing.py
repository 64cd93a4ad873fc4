"""Which hours are closed: those that end, with a grace, before everything up to then had landed.

Files are complete by declaration. A Kafka topic says it by records, ``raw/<topic>/_closed/<bound>.json``, renamed in if
absent by a landing that found it so: hours before the bound were closed then. They are inputs of every later run.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from quotaloop import faults
from quotaloop.raw import topics
from quotaloop.storage.store import Store, read_files

_HOUR_MS = 3_600_000
_NEVER_MS = 4_102_444_800_000  # 2100-01-01: no event is later


@dataclass(frozen=True, slots=True)
class Closing:
    """Hours before ``bound_ms`` (epoch ms) were closed when partitions had landed up to ``ends``."""

    bound_ms: int
    looked_at_ms: int
    watermark_ms: int
    ends: Mapping[int, int]


def bound(watermark_ms: int, grace_ms: int) -> int:
    """Hours before this one (epoch ms) are closed: their end and the grace are not after the watermark.

    >>> bound(1_772_416_800_000 + 70 * 60_000, 70 * 60_000) == 1_772_416_800_000
    True
    """
    return (watermark_ms - grace_ms) // _HOUR_MS * _HOUR_MS


def close(store: Store, topic: str, closing: Closing) -> bool:
    """Record it if it closes an hour that was open; says whether it did. A topic that ended has none."""
    known = bounds(store, topic)
    if (known and known[-1] >= closing.bound_ms) or store.exists(_end_path(topic)):
        return False
    document = {
        "closed_before": closing.bound_ms,
        "looked_at_ms": closing.looked_at_ms,
        "watermark_ms": closing.watermark_ms,
        "ends": _by_text(closing.ends),
    }
    path = _path(topic, closing.bound_ms)
    is_new = store.write_if_absent(path, (json.dumps(document, sort_keys=True) + "\n").encode())
    faults.reached("kafka:closed")
    return is_new


def bounds(store: Store, topic: str) -> list[int]:
    """Bounds (epoch ms) of all records of a topic, ascending."""
    names = (info.path.rpartition("/")[2] for info in store.files(f"raw/{topic}/_closed"))
    return sorted(_bound_of(name.removesuffix(".json")) for name in names)


def end(store: Store, topic: str, ends: Mapping[int, int], now_ms: int) -> bool:
    """Record that nothing more comes from a topic, which has landed up to ``ends``, so that it holds no hour open.

    Says whether it was new; the first record stays.
    """
    document = {"ended_at_ms": now_ms, "ends": _by_text(ends)}
    return store.write_if_absent(_end_path(topic), (json.dumps(document, sort_keys=True) + "\n").encode())


def kafka_topics(store: Store) -> list[str]:
    """Topics of the raw zone that landed from Kafka."""
    return sorted(name for name, source in topics.declared(store).items() if source == "kafka")


def open_topics(store: Store) -> list[str]:
    """Kafka topics that may bring more: neither ended nor made again under their name since."""
    there = kafka_topics(store)
    superseded = {name for name in there if topics.successor(name) in there}
    return [name for name in there if name not in superseded and not store.exists(_end_path(name))]


def closed_before(store: Store) -> int | None:
    """Hours before this one (epoch ms) are closed in all Kafka topics; None if no topic holds an hour open."""
    return min(((bounds(store, topic) or [0])[-1] for topic in open_topics(store)), default=None)


def of_hours(store: Store, topic: str, hours: Iterable[int]) -> dict[int, Closing]:
    """The first record by which each of these hours (epoch ms) was closed; none for one that is open.

    The end of a topic closes all that were open.
    """
    known = bounds(store, topic)
    places = {hour: bisect_right(known, hour) for hour in hours}
    wanted = sorted({place for place in places.values() if place < len(known)})
    records = read_files(store, [_path(topic, known[place]) for place in wanted])
    read = dict(zip(wanted, map(_parsed, records), strict=True))
    if len(known) in places.values() and store.exists(_end_path(topic)):
        read[len(known)] = _read_end(store, topic)
    return {hour: read[place] for hour, place in places.items() if place in read}


def _parsed(record: bytes) -> Closing:
    document = json.loads(record)
    return Closing(
        document["closed_before"], document["looked_at_ms"], document["watermark_ms"], _by_number(document["ends"])
    )


def _read_end(store: Store, topic: str) -> Closing:
    document = json.loads(store.read(_end_path(topic)))
    ended_at_ms = document["ended_at_ms"]
    return Closing(_NEVER_MS, ended_at_ms, ended_at_ms, _by_number(document["ends"]))


def _by_text(ends: Mapping[int, int]) -> dict[str, int]:
    return {str(number): end for number, end in sorted(ends.items())}


def _by_number(ends: Mapping[str, int]) -> dict[int, int]:
    return {int(number): end for number, end in ends.items()}


def _end_path(topic: str) -> str:
    return f"raw/{topic}/_ended.json"


def _path(topic: str, bound_ms: int) -> str:
    return f"raw/{topic}/_closed/{datetime.fromtimestamp(bound_ms // 1000, UTC):%Y-%m-%dT%H}.json"


def _bound_of(name: str) -> int:
    return int(datetime.strptime(name, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) * 1000
