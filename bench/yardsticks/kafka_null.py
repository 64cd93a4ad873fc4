"""A topic to nowhere by confluent-kafka: ``python -m bench.yardsticks.kafka_null BROKERS TOPIC``."""

from __future__ import annotations

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from bench.meter import phase
from bench.ours import WORK


def consume(brokers: str, topic: str) -> int:
    """Every value of the topic into ``/dev/null``; how many there were."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "null",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
    seen, ended = 0, set[int]()
    with open("/dev/null", "wb") as nowhere:
        while len(ended) < len(partitions):
            for message in consumer.consume(2_000, timeout=0.1):
                error = message.error()
                if error is None:
                    nowhere.write(message.value() or b"")
                    seen += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(message.partition() or 0)
                else:
                    raise RuntimeError(error.str())
    consumer.close()
    return seen


if __name__ == "__main__":
    with phase(WORK):
        count = consume(sys.argv[1], sys.argv[2])
    print(count)
