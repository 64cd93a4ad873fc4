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
from quotaloop.storage.store import Store

_HOUR_MS = 3_600_000


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
    """Record it if it closes an hour that was open; says whether it did."""
    known = bounds(store, topic)
    if known and known[-1] >= closing.bound_ms:
        return False
    document = {
        "closed_before": closing.bound_ms,
        "looked_at_ms": closing.looked_at_ms,
        "watermark_ms": closing.watermark_ms,
        "ends": {str(number): end for number, end in sorted(closing.ends.items())},
    }
    path = _path(topic, closing.bound_ms)
    is_new = store.write_if_absent(path, (json.dumps(document, sort_keys=True) + "\n").encode())
    faults.reached("kafka:closed")
    return is_new


def bounds(store: Store, topic: str) -> list[int]:
    """Bounds (epoch ms) of all records of a topic, ascending."""
    names = (info.path.rpartition("/")[2] for info in store.files(f"raw/{topic}/_closed"))
    return sorted(_bound_of(name.removesuffix(".json")) for name in names)


def end(store: Store, topic: str) -> bool:
    """Record that nothing more comes from a topic, so that it holds no hour open; says whether it was new."""
    return store.write_if_absent(f"raw/{topic}/_ended.json", b"{}\n")


def kafka_topics(store: Store) -> list[str]:
    """Topics of the raw zone that landed from Kafka."""
    return sorted(name for name, source in topics.declared(store).items() if source == "kafka")


def open_topics(store: Store) -> list[str]:
    """Kafka topics that may bring more: neither ended nor made again under their name since."""
    there = kafka_topics(store)
    superseded = {name for name in there if topics.successor(name) in there}
    return [name for name in there if name not in superseded and not store.exists(f"raw/{name}/_ended.json")]


def closed_before(store: Store) -> int | None:
    """Hours before this one (epoch ms) are closed in all Kafka topics; None if no topic holds an hour open."""
    return min(((bounds(store, topic) or [0])[-1] for topic in open_topics(store)), default=None)


def of_hours(store: Store, topic: str, hours: Iterable[int]) -> dict[int, Closing]:
    """The first record by which each of these hours (epoch ms) was closed; none for one that is open."""
    known = bounds(store, topic)
    places = {hour: bisect_right(known, hour) for hour in hours}
    read = {place: _read(store, topic, known[place]) for place in set(places.values()) if place < len(known)}
    return {hour: read[place] for hour, place in places.items() if place in read}


def _read(store: Store, topic: str, bound_ms: int) -> Closing:
    document = json.loads(store.read(_path(topic, bound_ms)))
    ends = {int(number): end for number, end in document["ends"].items()}
    return Closing(document["closed_before"], document["looked_at_ms"], document["watermark_ms"], ends)


def _path(topic: str, bound_ms: int) -> str:
    return f"raw/{topic}/_closed/{datetime.fromtimestamp(bound_ms // 1000, UTC):%Y-%m-%dT%H}.json"


def _bound_of(name: str) -> int:
    return int(datetime.strptime(name, "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp()) * 1000
