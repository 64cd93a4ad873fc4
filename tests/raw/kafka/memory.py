"""Topics in this process, for what no real broker can be made to do at will: the clients ask these instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from quotaloop.raw.kafka.broker import Offsets, Topic
from quotaloop.raw.kafka.problems import NoTopic

NOW = 1_772_409_600_000


@dataclass
class Kept:
    """A partition: Kafka time and value of each record, None for an offset without one.

    ``stable`` is where open transactions begin, if there are any.
    """

    records: list[tuple[int, bytes | None] | None] = field(default_factory=list)
    low: int = 0
    stable: int | None = None

    @property
    def offsets(self) -> Offsets:
        """As a broker says them."""
        high = len(self.records)
        return Offsets(self.low, high if self.stable is None else self.stable, high)


@dataclass
class Memory:
    """A cluster. ``before`` is called when a consumer is about to answer, and gives messages that come first."""

    topics: dict[str, dict[int, Kept]] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    before: Callable[[], Iterable[Message]] = tuple
    cluster: str = "c"
    is_slow: bool = False  # one partition at a time
    looks: int = 0

    def make(self, name: str, partitions: int = 1, topic_id: str = "1") -> dict[int, Kept]:
        """A topic without records, in the place of one of its name."""
        self.topics[name] = {number: Kept() for number in range(partitions)}
        self.ids[name] = topic_id
        return self.topics[name]

    def broker(self, access: Any) -> Any:
        """What stands for ``Broker``."""
        return _Broker(self, access)

    def consumer(self, settings: Any) -> Any:
        """What stands for ``Consumer``."""
        return _Consumer(self, settings["isolation.level"] == "read_committed")


def produce(kept: Kept, *values: bytes | None, at: int = NOW) -> None:
    """Write values of one Kafka time."""
    kept.records += [(at, value) for value in values]


def problem(code: int) -> Message:
    """An error that is of no partition."""
    return Message(error=KafkaError(code, "said"))


class _Broker:
    def __init__(self, memory: Memory, access: Any) -> None:
        self.memory, self.access = memory, access

    def topic(self, name: str) -> Topic:
        self.memory.looks += 1
        if name not in self.memory.topics:
            raise NoTopic(f"Kafka has no topic {name}; create it")
        return Topic(name, self.cluster(), self.memory.ids[name], tuple(self.memory.topics[name]))

    def cluster(self) -> str:
        return self.memory.cluster

    def offsets(self, topic: Topic) -> dict[int, Offsets]:
        return {number: kept.offsets for number, kept in self.memory.topics[topic.name].items()}

    def low(self, topic: Topic, partition: int) -> int:
        self.memory.looks += 1
        return self.memory.topics[topic.name][partition].low


class _Consumer:
    def __init__(self, memory: Memory, is_committed: bool) -> None:
        self.memory, self.is_committed = memory, is_committed
        self.places: dict[int, int] = {}

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self.topic = places[0].topic
        self.places = {place.partition: place.offset for place in places}

    def pause(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            del self.places[place.partition]

    def close(self) -> None:
        pass

    def consume(self, count: int, timeout: float) -> list[Message]:  # noqa: ARG002
        found = list(self.memory.before())
        for number, start in list(self.places.items())[: 1 if self.memory.is_slow else None]:
            kept = self.memory.topics[self.topic].get(number)
            if kept is None:
                continue
            end = kept.offsets.stable if self.is_committed else kept.offsets.high
            if start < kept.low:
                return [*found, Message(topic=self.topic, partition=number, error=_error("_AUTO_OFFSET_RESET"))]
            stop = min(end, start + count)
            found += [self._message(number, offset) for offset in range(start, stop) if kept.records[offset]]
            self.places[number] = stop
            if stop == end:
                error = _error("_PARTITION_EOF")
                found.append(Message(topic=self.topic, partition=number, offset=end, error=error))
        return found

    def _message(self, number: int, offset: int) -> Message:
        record = self.memory.topics[self.topic][number].records[offset]
        assert record is not None
        time_ms, value = record
        return Message(topic=self.topic, partition=number, offset=offset, value=value, timestamp=(1, time_ms))


def _error(name: str) -> KafkaError:
    return KafkaError(getattr(KafkaError, name), name)
