"""A limiter that is kept at the newest policy of a real topic of Kafka, whatever else lies in it."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from quotaloop.edge.follow import Read, from_kafka
from quotaloop.raw.kafka.access import access
from quotaloop.settings import Settings
from quotaloop.sinks.kafka.records import HEAD, records
from quotaloop.sinks.kafka.sink import KafkaSink
from quotaloop.sinks.kafka.table import partition_of
from quotaloop.sinks.sink import Sink
from tests.edge.followers import PATIENCE_S, epoch, follower, left
from tests.sinks.pushes import limit, policy, sink

pytestmark = pytest.mark.cluster


@pytest.fixture
def name() -> str:
    """Of a topic that no other test knows; it is not there yet."""
    return f"followed-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(brokers: str) -> Settings:
    return Settings(kafka_brokers=brokers, patience=20_000)


@pytest.fixture
def topic(settings: Settings, tmp_path: Path, name: str) -> Sink:
    return sink(KafkaSink, tmp_path, settings=settings, topic=name, partitions=3)


@pytest.fixture
def read(settings: Settings, name: str) -> Read:
    return from_kafka(access(settings), name)


def produce(brokers: str, name: str, key: bytes, value: bytes | None, partition: int) -> None:
    """Write what is not of a publication."""
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce(name, value, key, partition=partition)
    assert producer.flush(20) == 0


def test_each_policy_that_is_published_to_a_topic_is_loaded_once(topic: Sink, read: Read) -> None:
    made = follower(read)
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 1)  # there is no topic yet
    topic.publish(epoch(1))
    assert (made.look(), made.epoch, left(made.limiter)) == (True, 1, 10)
    assert (made.look(), made.problem) == (False, "")
    topic.publish(epoch(2))
    topic.publish(epoch(3))
    assert (made.look(), made.epoch, left(made.limiter), made.problem) == (True, 3, 30, "")
    assert read() == epoch(3)


def test_a_topic_is_read_again_only_when_it_has_grown(topic: Sink, read: Read) -> None:
    topic.publish(epoch(1))
    first = read()
    assert first == epoch(1)
    assert read() is first
    topic.publish(epoch(2))
    assert read() == epoch(2)


def test_tenants_of_all_partitions_come_together_and_one_that_left_the_policy_is_gone(topic: Sink, read: Read) -> None:
    many = policy(4, *(limit(f"tenant-{number:02}", "requests", number) for number in range(1, 31)))
    topic.publish(many)
    assert read() == many
    few = policy(5, limit("tenant-07", "requests", 5))
    topic.publish(few)
    assert read() == few


def test_what_is_not_one_policy_changes_nothing_until_the_next_is_published(
    topic: Sink, read: Read, brokers: str, name: str
) -> None:
    topic.publish(epoch(1))
    made = follower(read)
    made.look()
    acme = partition_of(b"acme", 3)
    produce(brokers, name, b"acme", records(epoch(2))[b"acme"], acme)  # the new limits, and the old head
    assert [made.look(), made.look()] == [False, False]
    assert (made.problem, left(made.limiter)) == ("what lies there is not policy 1 as a whole", 10)
    produce(brokers, name, HEAD, b"\xff", partition_of(HEAD, 3))
    assert made.look() is False
    assert made.problem.startswith("what lies there is not a policy as published")
    topic.publish(epoch(3))
    assert (made.look(), made.problem, left(made.limiter)) == (True, "", 30)


def test_a_topic_that_holds_nothing_any_more_changes_nothing(topic: Sink, read: Read, brokers: str, name: str) -> None:
    topic.publish(epoch(1))
    made = follower(read)
    made.look()
    for key in (b"acme", HEAD):
        produce(brokers, name, key, None, partition_of(key, 3))
    assert (made.look(), made.problem, left(made.limiter)) == (False, "", 10)


def test_a_topic_that_got_more_partitions_is_followed_on(topic: Sink, read: Read, brokers: str, name: str) -> None:
    many = [limit(f"tenant-{number:02}", "requests", number) for number in range(1, 31)]
    topic.publish(policy(1, *many))
    assert read() == policy(1, *many)
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    admin.create_partitions([NewPartitions(name, 7)])[name].result()
    end = time.monotonic() + PATIENCE_S
    while len(admin.list_topics(name, timeout=10).topics[name].partitions) < 7:
        assert time.monotonic() < end
    topic.publish(policy(2, *many))
    made = follower(read)
    assert (made.look(), made.problem, made.epoch) == (True, "", 2)


def test_a_thread_loads_what_is_published_while_it_runs(topic: Sink, read: Read) -> None:
    made = follower(read, every_ms=10).start()
    try:
        for number in (1, 2):
            topic.publish(epoch(number))
            assert made.wait_for(number, PATIENCE_S)
            assert left(made.limiter) == 10 * number
    finally:
        made.stop()


def test_a_broker_that_is_away_is_a_problem_and_no_more() -> None:
    away = access(Settings(kafka_brokers="127.0.0.1:1", patience=500))
    made = follower(from_kafka(away, "any"))
    assert made.look() is False
    assert made.problem.startswith("Kafka at 127.0.0.1:1 cannot be reached")
    assert left(made.limiter) == 1
