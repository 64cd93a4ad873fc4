"""Some records of each partition, to see how large the next ones are and how old."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, TopicPartition

from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.consumer import consumer
from quotaloop.raw.kafka.problems import passes, reason, unreachable

_RECORDS = 200  # at a place
_LINE_BYTES = 40  # of a raw line beside its payload, at most: offset, Kafka time, flag, tabs, line end
_POLL_S = 0.05
_NOTHING_THERE = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)


@dataclass(frozen=True, slots=True)
class Sample:
    """Records at some places of a partition.

    Raw bytes a unit of offset, where they are most, the least Kafka time (epoch ms; -1: one has none) and the greatest.
    """

    bytes_an_offset: float
    oldest_ms: int
    newest_ms: int = -1


def samples(access: Access, topic: str, places: Mapping[int, Sequence[int]]) -> dict[int, Sample]:
    """Of each partition from each of these offsets on, also of open transactions; none where there is no record.

    Raises ``ServiceUnreachable`` where nothing comes in time.
    """
    found: dict[int, list[_Look]] = {}
    for turn in range(max(map(len, places.values()), default=0)):
        starts = {number: some[turn] for number, some in places.items() if turn < len(some)}
        for number, look in _looks(access, topic, starts).items():
            if look.records:
                found.setdefault(number, []).append(look)
    return {number: _sample(looks) for number, looks in found.items()}


def _sample(looks: Sequence[_Look]) -> Sample:
    times = [time_ms for look in looks for _, time_ms in look.records]
    return Sample(max(look.bytes_an_offset for look in looks), min(times), max(times))


@dataclass(slots=True)
class _Look:
    """Size and time of the records from ``start`` on, up to ``reached``."""

    start: int
    reached: int
    records: list[tuple[int, int]] = field(default_factory=list)
    is_at_end: bool = False

    @property
    def is_done(self) -> bool:
        return self.is_at_end or len(self.records) >= _RECORDS

    @property
    def bytes_an_offset(self) -> float:
        return sum(size for size, _ in self.records) / max(self.reached - self.start, 1)


def _looks(access: Access, topic: str, starts: Mapping[int, int]) -> dict[int, _Look]:
    looks = {number: _Look(start, start) for number, start in starts.items()}
    with consumer(access, **{"isolation.level": "read_uncommitted"}) as reader:
        reader.assign([TopicPartition(topic, number, start) for number, start in starts.items()])
        heard = time.monotonic()
        while not all(look.is_done for look in looks.values()):
            for message in reader.consume(_RECORDS, timeout=_POLL_S):
                number = _add(access, topic, looks, message)
                if number is not None:
                    heard = time.monotonic()
                    if looks[number].is_done:
                        reader.pause([TopicPartition(topic, number)])
            if time.monotonic() - heard > access.patience_s:
                raise unreachable(access, f"no records of {topic} in {access.patience_s:.0f} s")
    return looks


def _add(access: Access, topic: str, looks: Mapping[int, _Look], message: Message) -> int | None:
    """The partition that the message said something new about, if it did."""
    error, number = message.error(), message.partition()
    if error is not None and error.code() not in _NOTHING_THERE:
        if not passes(error):
            raise reason(access, error, topic)
        return None
    if number is None or number not in looks or looks[number].is_done:
        return None
    look, offset = looks[number], message.offset() or 0
    if error is None:
        look.records.append((_LINE_BYTES + len(message.value() or b""), message.timestamp()[1]))
        look.reached = offset + 1
    else:
        look.is_at_end = True
        look.reached = max(look.reached, offset)
    return number
