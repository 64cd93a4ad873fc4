"""One claimed range, from the broker to its file: the same function in a loop and in a task of Spark."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller

from confluent_kafka import KafkaError, Message, TopicPartition

from quotaloop import faults
from quotaloop.errors import CheckRefused
from quotaloop.raw.compression import compressor
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Broker, Topic
from quotaloop.raw.kafka.consumer import consumer
from quotaloop.raw.kafka.problems import passes, reason, unreachable
from quotaloop.raw.kafka.sample import samples
from quotaloop.raw.lost import Lost, note
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import encode_batch
from quotaloop.storage.store import Store

_BATCH = 500  # what is encoded at once stays in the cache of a core
_POLL_S = 0.05
_ERROR, _OFFSET, _TIMESTAMP, _VALUE = map(methodcaller, ("error", "offset", "timestamp", "value"))

Progress = Callable[[int], None]  # called with offsets that are through


@dataclass(frozen=True, slots=True)
class Source:
    """A topic to copy from at ``now_ms`` (epoch ms).

    ``accept_lost``: land what is left of a range whose first offsets were deleted.
    """

    access: Access
    topic: Topic
    accept_lost: bool = False
    now_ms: int = 0


@dataclass(frozen=True, slots=True)
class Copied:
    """A range that has landed: lines and bytes that were copied, and how many offsets were lost.

    All are 0 of one that somebody else had landed.
    """

    range: Range
    lines: int
    bytes: int
    lost: int = 0


def copy(store: Store, source: Source, item: Range, progress: Progress = lambda _: None) -> Copied:
    """Land exactly this range; if it is there already it stays as it is.

    Raises ``CheckRefused`` where its offsets were deleted or the topic was made again before anybody landed it, and
    ``ServiceUnreachable``.
    """
    if store.exists(item.path):
        progress(item.end - item.start)
        return Copied(item, 0, 0)
    try:
        return _copied(store, source, item, progress)
    except CheckRefused:
        if not store.exists(item.path):
            raise
        return Copied(item, 0, 0)


def lost(ranges: Sequence[Range]) -> CheckRefused:
    """What is said where offsets are gone; ranges of one topic."""
    gone = ", ".join(f"{item.start} to {item.end} of {item.topic}/{item.partition}" for item in ranges)
    return CheckRefused(
        f"lost: offsets {gone} were deleted before they could be landed; to go on without them: "
        f"quotaloop land kafka --topic {ranges[0].topic.partition('@')[0]} --accept-lost"
    )


def _copied(store: Store, source: Source, item: Range, progress: Progress) -> Copied:
    lines = size = 0
    broker = Broker(source.access)
    low = broker.low(source.topic, item.partition)
    first = max(item.start, min(low, item.end))
    gone = Range(item.topic, item.partition, item.start, first)
    if first > item.start and not source.accept_lost:
        raise lost([gone])
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
            note(store, Lost(gone, "lost", source.now_ms, _next_ms(source, item.partition, low)))
        pending.commit(item.path)
    faults.reached("kafka:range")
    return Copied(item, lines, size, first - item.start)


def _next_ms(source: Source, partition: int, low: int) -> int | None:
    """The greatest Kafka time among the first records that are kept, where all have one that is not still to come."""
    found = samples(source.access, source.topic.name, {partition: [low]}).get(partition)
    if found is None or found.oldest_ms < 0 or found.newest_ms > source.now_ms:
        return None
    return found.newest_ms


def _batches(
    source: Source, item: Range, first: int, progress: Progress
) -> Iterator[tuple[Sequence[int], list[int], list[bytes | None]]]:
    """Offsets, Kafka times and values of the range's records. Offsets need not follow one another."""
    if first >= item.end:
        return
    with consumer(source.access) as reader:
        reader.assign([TopicPartition(source.topic.name, item.partition, first)])
        heard, done = time.monotonic(), first
        while done < item.end:
            kept, reached = _of_range(source, item, reader.consume(_BATCH, timeout=_POLL_S))
            if kept:
                times = [time_ms for _, time_ms in map(_TIMESTAMP, kept)]
                yield _offsets(kept), times, list(map(_VALUE, kept))
            if reached > done:
                progress(min(reached, item.end) - done)
                heard, done = time.monotonic(), reached
            elif time.monotonic() - heard > source.access.patience_s:
                raise unreachable(source.access, f"nothing came of {item} in {source.access.patience_s:.0f} s")


def _offsets(messages: list[Message]) -> Sequence[int]:
    """Offsets of messages in their order; where none is left out, without asking each."""
    first, last = _OFFSET(messages[0]), _OFFSET(messages[-1])
    return range(first, last + 1) if last - first == len(messages) - 1 else list(map(_OFFSET, messages))


def _of_range(source: Source, item: Range, messages: list[Message]) -> tuple[list[Message], int]:
    """Messages that belong to the range, and the offset that was reached with all of them."""
    if messages and not any(map(_ERROR, messages)) and _OFFSET(messages[-1]) < item.end:
        return messages, _OFFSET(messages[-1]) + 1
    kept: list[Message] = []
    reached = 0
    for message in messages:
        error, offset = message.error(), _OFFSET(message)
        if error is None:
            reached = offset + 1
            if offset < item.end:
                kept.append(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            reached = offset
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise lost([item])
        elif not passes(error):
            raise reason(source.access, error, source.topic.name)
    return kept, reached


def _still_the_same(source: Source, broker: Broker) -> None:
    """What was read is of this topic, and not of one that was made again under its name meanwhile."""
    now = broker.topic(source.topic.name)
    if (now.cluster, now.topic_id) != (source.topic.cluster, source.topic.topic_id):
        raise CheckRefused(f"topic_recreated: {source.topic.name} was made again while it was read; land it again")
