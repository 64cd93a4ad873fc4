"""Write the sample into a Kafka topic: ``produce.py BROKERS TOPIC``. A topic that has all of it is left alone.

Records are keyed by tenant; their Kafka time is the event's own, and that of the line before where a line has none.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from zlib import crc32

from confluent_kafka import KafkaException, Producer, TopicPartition
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
    admin = AdminClient({"bootstrap.servers": brokers})
    if topic in admin.list_topics(timeout=20).topics:
        ends = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        there = sum(found.result().offset for found in admin.list_offsets(ends).values())
        wanted = sum(1 for _ in sample())
        if there == wanted:
            return 0
        raise SystemExit(f"topic {topic} has {there} records and not the sample's {wanted}: choose another")
    # The sample's times are old: retention would delete it.
    admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])[topic].result()
    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True, "linger.ms": 20, "log_level": 0})
    written = 0
    for partition, time, value in records(sample()):
        while True:
            try:
                producer.produce(topic, value, partition=partition, timestamp=time)
                break
            except BufferError:
                producer.poll(1)
        written += 1
    if left := producer.flush(60):
        raise SystemExit(f"{left} records could not be written to {brokers}")
    return written


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
