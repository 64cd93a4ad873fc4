"""Topics of the real broker, as tests make, fill and spoil them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

Value = bytes | None
_COMMITTED, _ALL = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
_PATIENCE_S = 30


@dataclass(frozen=True)
class Topic:
    """A topic of its own name on a broker."""

    brokers: str
    name: str

    def produce(self, *values: Value, partition: int = 0, at: int | None = None) -> None:
        """Write values in order; ``at`` is their Kafka time (epoch ms)."""
        producer = self._producer()
        send(producer, self.name, [(partition, at, value) for value in values])

    def produce_all(self, records: Iterable[tuple[int, int | None, Value]]) -> None:
        """Write records of partition, Kafka time and value in order."""
        send(self._producer(), self.name, records)

    def begin(self, *values: Value, partition: int = 0, at: int | None = None) -> Producer:
        """Write values in a transaction that is still open; the caller commits or aborts it."""
        producer = self._producer(**{"transactional.id": uuid.uuid4().hex})
        producer.init_transactions()
        producer.begin_transaction()
        send(producer, self.name, [(partition, at, value) for value in values])
        return producer

    def until_nothing_is_open(self) -> None:
        """Wait for the end of transactions that were committed or aborted: a broker tells partitions of it later."""
        admin = self._admin()
        partitions = admin.list_topics(self.name, timeout=10).topics[self.name].partitions
        wanted = {TopicPartition(self.name, number): OffsetSpec.latest() for number in partitions}
        end_s = time.monotonic() + _PATIENCE_S
        while _latest(admin, wanted, _COMMITTED) != _latest(admin, wanted, _ALL):
            assert time.monotonic() < end_s, f"a transaction in {self.name} does not end"

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """What retention does: records before the offset are gone."""
        place = TopicPartition(self.name, partition, offset)
        admin = self._admin()
        admin.delete_records([place])[place].result()

    def grow(self, partitions: int) -> None:
        """Give it more partitions."""
        admin = self._admin()
        admin.create_partitions([NewPartitions(self.name, partitions)])[self.name].result()

    def make(self, partitions: int) -> None:
        """Create it; its records stay."""
        wanted = NewTopic(self.name, partitions, 1, config={"retention.ms": "-1"})
        admin = self._admin()
        admin.create_topics([wanted])[self.name].result()

    def remove(self) -> None:
        """Delete it; back when the broker no longer lists it."""
        admin = self._admin()
        admin.delete_topics([self.name])[self.name].result()
        while self.name in admin.list_topics(timeout=10).topics:
            pass

    def _admin(self) -> Any:
        return AdminClient({"bootstrap.servers": self.brokers})

    def _producer(self, **more: Any) -> Producer:
        chosen = {"bootstrap.servers": self.brokers, "linger.ms": 5, "enable.idempotence": True, "log_level": 0}
        return Producer(chosen | more)


def new_topic(brokers: str, partitions: int = 1) -> Topic:
    """A topic that no other test knows."""
    topic = Topic(brokers, f"t-{uuid.uuid4().hex[:12]}")
    topic.make(partitions)
    return topic


def _latest(admin: Any, wanted: Any, level: IsolationLevel) -> list[int]:
    return [found.result().offset for found in admin.list_offsets(wanted, isolation_level=level).values()]


def send(producer: Producer, topic: str, records: Iterable[tuple[int, int | None, Value]]) -> None:
    """Produce and wait until the broker has all of it."""
    failures: list[str] = []

    def heard(error: Any, _: Any) -> None:
        if error is not None:
            failures.append(str(error))

    for partition, at, value in records:
        times = {} if at is None else {"timestamp": at}
        while True:
            try:
                producer.produce(topic, value, partition=partition, on_delivery=heard, **times)
                break
            except BufferError:
                producer.poll(1)
        producer.poll(0)
    assert producer.flush(60) == 0
    assert failures == []


def numbered(first: int, last: int) -> Sequence[bytes]:
    """Values that tell themselves apart."""
    return [b"value %06d" % number for number in range(first, last)]
