"""Land what Kafka topics have, in this process or spread over the tasks of a Spark session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jobs.work import Work
from quotaloop.raw.kafka.access import access
from quotaloop.raw.kafka.broker import Broker
from quotaloop.raw.kafka.copy import Copied, Source, copy
from quotaloop.raw.kafka.landing import Copier, Landed, Order, find_topic, land_topic
from quotaloop.raw.kafka.plan import Sizes
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store


def land(work: Work) -> list[Landed]:
    """What the topics of the setting ``kafka_topics`` have beyond what has landed, if it fills ranges or is old."""
    names = [name.strip() for name in work.settings.kafka_topics.split(",") if name.strip()]
    return [land_kafka(work, name, after_ms=work.settings.land_after) for name in names]


def land_kafka(
    work: Work,
    topic: str,
    *,
    after_ms: int = 0,
    accept_lost: bool = False,
    recreated: bool = False,
    now_ms: int | None = None,
) -> Landed:
    """Land one topic; the last records of a partition once they are ``after_ms`` old at ``now_ms`` (epoch ms).

    Raises what ``land_topic`` raises, and ``UsageError`` where the settings name no broker.
    """
    settings = work.settings
    source = replace(find_topic(Broker(access(settings)), topic), accept_lost=accept_lost)
    order = Order(
        sizes=Sizes(settings.range_bytes, after_ms),
        grace_ms=settings.closed_grace,
        now_ms=int(time.time() * 1000) if now_ms is None else now_ms,
        recreated=recreated,
    )
    landed = land_topic(work.store, source, order, _copier(work))
    for line in landed.said:
        work.progress.note(line)
    return landed


def _copier(work: Work) -> Copier:
    def copy_all(store: Store, source: Source, ranges: Sequence[Range]) -> Iterable[Copied]:
        if not ranges:
            return []
        with work.stage(f"land {ranges[0].topic}", sum(item.end - item.start for item in ranges), "offsets"):
            if work.settings.land_on == "spark":
                return _on_spark(work, store, source, ranges)
            return [copy(store, source, item, work.progress.advance) for item in ranges]

    return copy_all


def _on_spark(work: Work, store: Store, source: Source, ranges: Sequence[Range]) -> list[Copied]:
    from jobs.spark.spread import by_size, spread

    done = by_size(work.progress.advance, (item.end - item.start for item in ranges))
    with work.spark() as spark:
        return spread(spark, _Copy(store, source), ranges, done=done)


@dataclass(frozen=True, slots=True)
class _Copy:
    store: Store
    source: Source

    def __call__(self, item: Range) -> Copied:
        return copy(self.store, self.source, item)
