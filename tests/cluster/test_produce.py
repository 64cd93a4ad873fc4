"""The sample gets into a topic once, however often its producer is cut off and begun again."""

from __future__ import annotations

import subprocess
import sys

import pytest
from confluent_kafka import Consumer, TopicPartition
from sample.produce import PARTITIONS, SAMPLE, records, sample

from tests.cluster.topics import Topic, new_topic

pytestmark = pytest.mark.cluster


def produce(topic: Topic, *, status: int = 0) -> str:
    """What the producer says; it has to end with ``status``."""
    command = [sys.executable, str(SAMPLE.with_name("produce.py")), topic.brokers, topic.name]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == status, ended.stderr
    return ended.stdout + ended.stderr


def values(topic: Topic, partition: int, count: int) -> list[bytes]:
    """The first values of a partition."""
    consumer = Consumer({"bootstrap.servers": topic.brokers, "group.id": "test", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic.name, partition, 0)])
        return [message.value() for message in consumer.consume(count, 20)]
    finally:
        consumer.close()


def test_a_producer_goes_on_where_one_was_cut_off(brokers: str) -> None:
    topic, whole = new_topic(brokers, PARTITIONS), list(records(sample()))
    topic.produce_all(whole[:5_000])
    assert produce(topic).startswith(f"{len(whole) - 5_000:,} records written")
    for number in range(PARTITIONS):
        wanted = [value for partition, _, value in whole if partition == number]
        assert values(topic, number, len(wanted)) == wanted
    assert produce(topic).startswith("0 records written")
    topic.produce(b"one more")
    assert "choose another" in produce(topic, status=1)


def test_the_sample_is_not_written_behind_other_records(brokers: str) -> None:
    topic = new_topic(brokers, PARTITIONS)
    topic.produce(b"not of the sample")
    assert "choose another" in produce(topic, status=1)
