"""Land what Kafka topics have, in this process or spread over the tasks of a Spark session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from jobs.work import Work
from quotaloop.errors import QuotaloopError
from quotaloop.raw.kafka import ending
from quotaloop.raw.kafka.access import NoBroker, access
from quotaloop.raw.kafka.broker import Broker
from quotaloop.raw.kafka.copy import Copied, Source, copy
from quotaloop.raw.kafka.landing import Copier, Landed, Order, find_topic, land_topic
from quotaloop.raw.kafka.plan import Sizes
from quotaloop.raw.kafka.problems import NoAnswer, NoTopic
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store


def land(work: Work) -> list[Landed]:
    """What the topics of the setting ``kafka_topics`` have beyond what has landed, if it fills ranges or is old.

    All are landed; then the first error is raised, and those after it were noted. Where Kafka does not answer, nothing
    more is asked. A topic that has ended may be gone.
    """
    names = [name.strip() for name in work.settings.kafka_topics.split(",") if name.strip()]
    landed: list[Landed] = []
    errors: list[QuotaloopError] = []
    for name in names:
        try:
            landed.append(land_kafka(work, name, after_ms=work.settings.land_after))
        except (NoAnswer, NoBroker) as error:
            errors.append(error)
            break
        except QuotaloopError as error:
            if not (isinstance(error, NoTopic) and ending.has_ended(work.store, name)):
                errors.append(error)
    for other in errors[1:]:
        work.progress.note(str(other))
    if errors:
        raise errors[0]
    return landed


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
    now_ms = _now_ms() if now_ms is None else now_ms
    source = replace(find_topic(access(settings), topic), accept_lost=accept_lost, now_ms=now_ms)
    order = Order(
        sizes=Sizes(settings.range_bytes, after_ms), grace_ms=settings.closed_grace, now_ms=now_ms, recreated=recreated
    )
    landed = land_topic(work.store, source, order, _copier(work))
    for line in landed.said:
        work.progress.note(line)
    return landed


def end_kafka(work: Work, topic: str, *, accept_lost: bool = False, recreated: bool = False) -> Landed:
    """Land what is left of a topic and record that nothing more comes.

    Where its cluster does not have it any more, what has landed is all; with ``accept_lost`` also where no such cluster
    answers. Raises what ``land_kafka`` raises, and ``CheckRefused`` where something is left.
    """
    now_ms = _now_ms()
    try:
        find_topic(access(work.settings), topic)
    except (NoBroker, NoTopic, NoAnswer) as error:
        cluster = Broker(access(work.settings)).cluster() if isinstance(error, NoTopic) else None
        return ending.end_without_kafka(work.store, topic, error, now_ms, cluster=cluster, accept_lost=accept_lost)
    landed = land_kafka(work, topic, accept_lost=accept_lost, recreated=recreated, now_ms=now_ms)
    ending.end(work.store, landed, now_ms)
    return landed


def _now_ms() -> int:
    return int(time.time() * 1000)


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
