"""Write the sample into a Kafka topic: ``produce.py BROKERS TOPIC``. A topic that has all of it is left alone.

Records are keyed by tenant; their Kafka time is the event's own, and that of the line before where a line has none.
Each partition gets its records in one order: where a call was cut off, the next one goes on, landed or not.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

SAMPLE = Path(__file__).with_name("requests.jsonl.gz")
PARTITIONS = 4
_DAYS_LATER_MS = 7 * 86_400_000  # later than this, a time is one of the sample's oddities

Record = tuple[int, int, bytes]


def records(lines: Iterable[bytes], partitions: int = PARTITIONS) -> Iterator[Record]:
    """Partition, Kafka time (epoch ms) and value of every line, in order."""
    first = last = None
    for line in lines:
        tenant, time = _tenant_and_time(line)
        first = first or time
        if time is not None and first is not None and first <= time < first + _DAYS_LATER_MS:
            last = time
        yield crc32(tenant.encode()) % partitions, last or first or 0, line.rstrip(b"\n")


def sample() -> Iterator[bytes]:
    """The lines of the sample."""
    with gzip.open(SAMPLE) as lines:
        yield from lines


def produce(brokers: str, topic: str) -> int:
    """Make the topic and fill it; the number of records written, 0 where it has them already."""
    ends = _ends(brokers, topic)
    seen: Counter[int] = Counter()
    last: dict[int, bytes] = {}
    missing: list[Record] = []
    for record in records(sample()):
        partition, _, value = record
        if seen[partition] < ends[partition]:
            last[partition] = value
        else:
            missing.append(record)
        seen[partition] += 1
    if any(end > seen[partition] for partition, end in ends.items()) or _last_values(brokers, topic, ends) != last:
        raise SystemExit(f"topic {topic} has other records than the sample's: choose another")
    _write(brokers, topic, missing)
    return len(missing)


def _ends(brokers: str, topic: str) -> dict[int, int]:
    """How many records each partition has; a topic that is not there is made."""
    admin = AdminClient({"bootstrap.servers": brokers})
    if topic not in admin.list_topics(timeout=20).topics:
        # The sample's times are old: retention would delete it.
        admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])[topic].result()
        return dict.fromkeys(range(PARTITIONS), 0)
    latest = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
    return {place.partition: found.result().offset for place, found in admin.list_offsets(latest).items()}


def _last_values(brokers: str, topic: str, ends: dict[int, int]) -> dict[int, bytes]:
    """The last record of each partition that has one."""
    places = [TopicPartition(topic, partition, end - 1) for partition, end in ends.items() if end]
    if not places:
        return {}
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "sample", "enable.auto.commit": False})
    try:
        consumer.assign(places)
        return {message.partition(): message.value() for message in consumer.consume(len(places), 20)}
    finally:
        consumer.close()


def _write(brokers: str, topic: str, missing: Iterable[Record]) -> None:
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 20, "log_level": 0})
    for partition, time, value in missing:
        while True:
            try:
                producer.produce(topic, value, partition=partition, timestamp=time, on_delivery=_heard)
                break
            except BufferError:
                producer.poll(1)
    if left := producer.flush(60):
        raise SystemExit(f"{left} records could not be written to {brokers}")


def _heard(error: Any, _: Any) -> None:
    if error is not None:
        raise KafkaException(error)


def _tenant_and_time(line: bytes) -> tuple[str, int | None]:
    try:
        event = json.loads(line)
        at = event["ts"]
        time = at if isinstance(at, int) else int(datetime.fromisoformat(at).timestamp() * 1000)
        return str(event["tenant"]), time
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return "", None


if __name__ == "__main__":
    try:
        count = produce(*sys.argv[1:])
    except KafkaException as error:
        raise SystemExit(f"Kafka: {error}") from error
    print(f"{count:,} records written to {sys.argv[2]}")
