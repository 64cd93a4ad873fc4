"""One claimed range, from the broker to its file: the same function in a loop and in a task of Spark."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from quotaloop import faults
from quotaloop.errors import CheckRefused
from quotaloop.raw.compression import compressor
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Broker, Topic
from quotaloop.raw.kafka.problems import PASSING, reason, unreachable
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import encode_batch
from quotaloop.storage.store import Store

_BATCH = 2_000
_POLL_S = 0.05

Progress = Callable[[int], None]  # called with offsets that are through


@dataclass(frozen=True, slots=True)
class Source:
    """A topic to copy from. ``accept_lost``: land what is left of a range whose first offsets were deleted."""

    access: Access
    topic: Topic
    accept_lost: bool = False


@dataclass(frozen=True, slots=True)
class Copied:
    """A range that has landed: its lines, their payload in bytes, and how many of its offsets were lost."""

    range: Range
    lines: int
    bytes: int
    lost: int = 0


def copy(store: Store, source: Source, item: Range, progress: Progress = lambda _: None) -> Copied:
    """Land exactly this range; if it is there already it stays as it is.

    Raises ``CheckRefused`` where its offsets were deleted or the topic was made again meanwhile, and
    ``ServiceUnreachable``.
    """
    lines = size = 0
    broker = Broker(source.access)
    first = _first_kept(source, broker, item)
    with store.create() as pending:
        gzip = compressor()
        for batch in _batches(source, item, first, progress):
            data = encode_batch(*batch)
            pending.write(gzip.compress(data))
            lines += len(batch[0])
            size += len(data)
        pending.write(gzip.flush())
        faults.reached("kafka:copied")
        _still_the_same(source, broker)
        if first > item.start:
            note = {"start": item.start, "end": first, "reason": "lost"}
            store.write_if_absent(item.lost_path, (json.dumps(note, sort_keys=True) + "\n").encode())
        pending.commit(item.path)
    faults.reached("kafka:range")
    return Copied(item, lines, size, first - item.start)


def lost(item: Range) -> CheckRefused:
    """What is said where offsets are gone."""
    return CheckRefused(
        f"lost: offsets {item.start} to {item.end} of {item.topic}/{item.partition} were deleted before they could be "
        f"landed; to go on without them: quotaloop land kafka --topic {item.topic.partition('@')[0]} --accept-lost"
    )


def _first_kept(source: Source, broker: Broker, item: Range) -> int:
    """The first offset of the range that the broker still has, or its end."""
    low = broker.low(source.topic, item.partition)
    if low > item.start and not source.accept_lost:
        raise lost(Range(item.topic, item.partition, item.start, min(low, item.end)))
    return max(item.start, min(low, item.end))


def _batches(
    source: Source, item: Range, first: int, progress: Progress
) -> Iterator[tuple[list[int], list[int], list[bytes | None]]]:
    """Offsets, Kafka times and values of the range's records. Offsets need not follow one another."""
    if first >= item.end:
        return
    consumer = Consumer(source.access.consumer())
    try:
        consumer.assign([TopicPartition(source.topic.name, item.partition, first)])
        heard, done = time.monotonic(), first
        while done < item.end:
            messages = consumer.consume(_BATCH, timeout=_POLL_S)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > source.access.patience_s:
                raise unreachable(source.access, f"nothing came of {item} in {source.access.patience_s:.0f} s")
            kept, reached = _of_range(source, item, messages)
            if kept:
                times = [kind_and_time[1] for kind_and_time in map(Message.timestamp, kept)]
                yield [message.offset() or 0 for message in kept], times, [message.value() for message in kept]
            progress(min(max(reached, done), item.end) - done)
            done = max(reached, done)
    finally:
        consumer.close()


def _of_range(source: Source, item: Range, messages: list[Message]) -> tuple[list[Message], int]:
    """Messages that belong to the range, and the offset that was reached with all of them."""
    kept: list[Message] = []
    reached = 0
    for message in messages:
        error = message.error()
        offset = message.offset() or 0
        if error is None:
            reached = offset + 1
            if offset < item.end:
                kept.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            reached = offset
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise lost(item)
        elif not error.retriable() and error.code() not in PASSING:
            raise reason(source.access, error, source.topic.name)
    return kept, reached


def _still_the_same(source: Source, broker: Broker) -> None:
    """What was read is of this topic, and not of one that was made again under its name meanwhile."""
    now = broker.topic(source.topic.name)
    if (now.cluster, now.topic_id) != (source.topic.cluster, source.topic.topic_id):
        raise CheckRefused(f"topic_recreated: {source.topic.name} was made again while it was read; land it again")
