"""How many records a topic holds."""

from __future__ import annotations

from confluent_kafka import Consumer, TopicPartition

_TIMEOUT_S = 10.0


def arrived(brokers: str, topic: str) -> int:
    """All records of all partitions; 0 where there is no such topic."""
    asked = Consumer({"bootstrap.servers": brokers, "group.id": "demo", "log_level": 0})
    try:
        partitions = asked.list_topics(topic, _TIMEOUT_S).topics[topic].partitions
        offsets = [asked.get_watermark_offsets(TopicPartition(topic, number), _TIMEOUT_S) for number in partitions]
        return sum(high - low for low, high in filter(None, offsets))
    finally:
        asked.close()
