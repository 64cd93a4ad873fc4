"""A few records of each partition, to see how large and how old the next ones are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.problems import reason, unreachable

_RECORDS = 200  # of a partition
_POLL_S = 0.05
_NOTHING_THERE = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)


@dataclass(frozen=True, slots=True)
class Sample:
    """Some records from an offset on: payload a unit of offset, and their least Kafka time (-1: they have none)."""

    bytes_an_offset: float
    oldest_ms: int


def samples(access: Access, topic: str, starts: Mapping[int, int]) -> dict[int, Sample]:
    """Of each partition from its offset on, also of open transactions; none where there is no record.

    Raises ``ServiceUnreachable`` where the brokers do not send them in time.
    """
    if not starts:
        return {}
    looks = {number: _Look() for number in starts}
    consumer = Consumer(access.consumer() | {"isolation.level": "read_uncommitted"})
    try:
        consumer.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
        deadline = time.monotonic() + access.patience_s
        while not all(look.is_done for look in looks.values()):
            if time.monotonic() > deadline:
                raise unreachable(access, "records do not come in time")
            for message in consumer.consume(_RECORDS, timeout=_POLL_S):
                number = message.partition()
                assert number is not None
                _add(access, looks[number], message)
                if looks[number].is_done:
                    consumer.pause([TopicPartition(topic, number)])
    finally:
        consumer.close()
    return {number: look.sample() for number, look in looks.items() if look.records}


@dataclass(slots=True)
class _Look:
    """Offset, size and time of the records of a partition so far."""

    records: list[tuple[int, int, int]] = field(default_factory=list)
    is_at_end: bool = False

    @property
    def is_done(self) -> bool:
        return self.is_at_end or len(self.records) >= _RECORDS

    def sample(self) -> Sample:
        offsets, sizes, times = zip(*self.records, strict=True)
        return Sample(sum(sizes) / (max(offsets) - min(offsets) + 1), min(times))


def _add(access: Access, look: _Look, message: Message) -> None:
    error = message.error()
    if error is None:
        look.records.append((message.offset() or 0, len(message.value() or b""), message.timestamp()[1]))
    elif error.code() in _NOTHING_THERE:
        look.is_at_end = True
    elif not error.retriable():
        raise reason(access, error, message.topic() or "")
