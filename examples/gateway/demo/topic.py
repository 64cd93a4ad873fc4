"""The topic of a demonstration: made, and how much it holds."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

_TIMEOUT_S = 10.0
_PARTITIONS = 3


def make(brokers: str, topic: str) -> None:
    """Make a new topic, and wait until it is there."""
    client = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    client.create_topics([NewTopic(topic, _PARTITIONS, 1)])[topic].result(_TIMEOUT_S)


def arrived(brokers: str, topic: str) -> int:
    """All records of all partitions."""
    asked = Consumer({"bootstrap.servers": brokers, "group.id": "demo", "log_level": 0})
    try:
        partitions = asked.list_topics(topic, _TIMEOUT_S).topics[topic].partitions
        offsets = [asked.get_watermark_offsets(TopicPartition(topic, number), _TIMEOUT_S) for number in partitions]
        return sum(high - low for low, high in filter(None, offsets))
    finally:
        asked.close()
