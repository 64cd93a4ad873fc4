"""The emitter with a real broker: all events arrive, a tenant's in order, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from quotaloop.edge.emitter.boot import last_number
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.kafka import KafkaOutlet
from quotaloop.events.event import Event
from quotaloop.raw.kafka.access import Access
from tests.cluster.topics import Topic, new_topic
from tests.edge.emitter.lines import before, event, missing, parsed, spooled, stamps, wait_until
from tests.servers import Cluster

pytestmark = pytest.mark.cluster

WRITER = """
import sys
from itertools import count
from pathlib import Path
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.kafka import KafkaOutlet
from quotaloop.raw.kafka.access import Access
from tests.edge.emitter.lines import event
outlet = KafkaOutlet(Access(sys.argv[2]), sys.argv[3])
emitter = Emitter(Path(sys.argv[1]), host="gw-1", outlet=outlet, segment_bytes=100_000, segment_ms=50)
for number in count():
    emitter.write(event(number, "t-%d" % (number % 7)))
    if emitter.counts.acknowledged >= 1_000:
        print("sent", flush=True)
        break
for number in count():
    emitter.write(event(number, "t-%d" % (number % 7)))
"""


@pytest.fixture
def topic(brokers: str) -> Topic:
    """A topic of three partitions, which no other test knows."""
    return new_topic(brokers, 3)


def made(folder: Path, topic: Topic) -> Emitter:
    """An emitter to the topic, with segments of about 100 lines."""
    return Emitter(folder, host="gw-1", outlet=KafkaOutlet(Access(topic.brokers), topic.name), segment_bytes=20_000)


def arrived(topic: Topic) -> list[tuple[int, bytes, bytes]]:
    """Partition, key and value of all that lies in the topic, each partition in its order."""
    reader = Consumer({"bootstrap.servers": topic.brokers, "group.id": "reader", "enable.partition.eof": True})
    left = set(reader.list_topics(topic.name, timeout=20).topics[topic.name].partitions)
    reader.assign([TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in left])
    found = []
    while left:
        for message in reader.consume(1_000, 0.2):
            error = message.error()
            if error is None:
                found.append((message.partition() or 0, message.key() or b"", message.value() or b""))
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard(message.partition() or 0)
    reader.close()
    return found


def once(lines: Iterable[bytes]) -> list[Event]:
    """Events without those that came again, which must be the same to the byte."""
    by_stamp: dict[tuple[str | None, int | None], bytes] = {}
    for line in lines:
        (one,) = parsed([line])
        assert by_stamp.setdefault((one.boot, one.seq), line) == line
    return parsed(by_stamp.values())


def in_order(events: Iterable[Event]) -> bool:
    """Are each tenant's events in the order of their numbers, a boot after the other?"""
    found: dict[str, list[tuple[str, int]]] = {}
    for one in events:
        found.setdefault(one.tenant, []).append((one.boot or "", one.seq or 0))
    return all(places == sorted(places) for places in found.values())


def test_each_event_is_one_record_by_tenant_and_leaves_nothing_in_the_spool(tmp_path: Path, topic: Topic) -> None:
    gateway = made(tmp_path, topic)
    for number in range(1_000):
        gateway.write(event(number, f"t-{number % 7}"))
    assert gateway.flush(60)
    gateway.close()
    found = arrived(topic)
    events = parsed(value for _, _, value in found)
    assert sorted(stamps(events)) == list(range(1, 1_001))
    assert all(key == one.tenant.encode() for (_, key, _), one in zip(found, events, strict=True))
    assert len({(number, key) for number, key, _ in found}) == 7
    assert in_order(events)
    assert (gateway.counts.acknowledged, gateway.waiting_bytes) == (1_000, 0)
    assert list(tmp_path.glob("lane-*/*.jsonl")) == []


def test_an_event_arrives_while_its_segment_is_still_open(tmp_path: Path, topic: Topic) -> None:
    outlet = KafkaOutlet(Access(topic.brokers), topic.name)
    first = made(tmp_path, topic)
    first.write(event(0))
    first.close(60)
    gateway = Emitter(tmp_path, host="gw-1", outlet=outlet, segment_ms=600_000, adopt_ms=600_000)
    gateway.write(event(1))
    wait_until(lambda: len(arrived(topic)) == 2, 60)
    gateway.write(event(2))
    wait_until(lambda: len(arrived(topic)) == 3, 60)
    assert len(spooled(tmp_path)) == 2

    def names_the_boot_before() -> bool:
        gateway.write(event(3))
        return before(spooled(tmp_path)[-1]) != (None, None)

    wait_until(lambda: not names_the_boot_before(), 60)
    gateway.close(60)
    events = parsed(value for _, _, value in arrived(topic))
    assert before(events[1]) == (events[0].boot, 1)
    assert missing(events) == {}


@pytest.mark.faults
def test_a_child_of_a_process_that_sends_sends_by_itself(tmp_path: Path, topic: Topic) -> None:
    gateway = made(tmp_path, topic)
    gateway.write(event(1))
    assert gateway.flush(60)
    child = os.fork()
    if child == 0:
        gateway.write(event(2))
        gateway.close(60)
        os._exit(gateway.counts.acknowledged)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    gateway.write(event(3))
    gateway.close(60)
    events = parsed(value for _, _, value in arrived(topic))
    assert sorted((one.event_id, one.seq) for one in events) == [("e-1", 1), ("e-2", 1), ("e-3", 2)]


@pytest.mark.faults
def test_a_topic_that_is_made_later_gets_all(tmp_path: Path, brokers: str) -> None:
    topic = Topic(brokers, f"late-{uuid.uuid4().hex[:12]}")
    gateway = made(tmp_path, topic)
    for number in range(300):
        gateway.write(event(number, f"t-{number % 7}"))
    assert not gateway.flush(8)  # longer than a producer waits for a topic
    assert gateway.is_behind
    topic.make(3)
    assert gateway.flush(60)
    gateway.close()
    events = once(value for _, _, value in arrived(topic))
    assert sorted(stamps(events)) == list(range(1, 301))
    assert in_order(events)


def test_a_writer_that_is_killed_repeats_lines_and_misses_none_but_the_one_it_was_in(
    tmp_path: Path, topic: Topic
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), topic.brokers, topic.name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"sent\n"
        writer.kill()
    assert writer.returncode == -signal.SIGKILL
    (counter,) = (tmp_path / "lane-0").glob("*.seq")
    last = last_number(counter)
    gateway = made(tmp_path, topic)
    gateway.write(event())
    assert gateway.flush(60)
    gateway.close()
    events = once(value for _, _, value in arrived(topic))
    mine = sorted(stamps(one for one in events if one.boot == counter.stem))
    assert mine == list(range(1, len(mine) + 1))
    assert last - len(mine) in (0, 1)
    (after,) = [one for one in events if one.boot != counter.stem]
    assert before(after) == (counter.stem, last)
    assert in_order(events)


@pytest.mark.faults
def test_a_broker_that_is_killed_while_events_are_written_gets_all_of_them(
    tmp_path: Path, cluster: Cluster, topic: Topic
) -> None:
    gateway = made(tmp_path, topic)

    def write(first: int, last: int) -> None:
        for number in range(first, last):
            gateway.write(event(number, f"t-{number % 7}"))

    write(0, 1_000)
    wait_until(lambda: gateway.counts.acknowledged > 0, 60)
    write(1_000, 2_000)
    cluster.kill("kafka")
    try:
        write(2_000, 3_000)
        assert not gateway.flush(3)
    finally:
        cluster.start("kafka")
    write(3_000, 4_000)
    assert gateway.flush(120)
    gateway.close()
    events = once(value for _, _, value in arrived(topic))
    assert sorted(stamps(events)) == list(range(1, 4_001))
    assert in_order(events)
    assert missing(events) == {}
    assert (gateway.counts.acknowledged, gateway.counts.dropped) == (4_000, 0)
