"""The MQTT bridge between a real mosquitto and a real Kafka: killed anywhere, nothing is lost, no byte is changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from jobs import stages
from jobs.work import Work
from peers.mosquitto import Mosquitto, program
from quotaloop.faults import BRIDGE_POINTS
from quotaloop.storage.parquet import read_tables
from tests.bridge.parts import Message, publish, wait_until
from tests.cluster.raw_zone import RawZone
from tests.cluster.topics import Topic
from tests.servers import Cluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(program() is None, reason="mosquitto is not installed: bin/check-mosquitto"),
]

LONG = pytest.mark.faults  # together they take minutes: short runs see bytes, and both ends with a kill in between
PAYLOADS = [b'{"event_id": "1"}', b"", b"\x00\xff\xfe\x80", "\u00e9\u2028".encode(), b"two\nlines", b"x" * 60_000]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with Mosquitto(folder) as running:
        yield running


class Process:
    """The command in a process of its own; as a context, it is ended at the end."""

    def __init__(self, broker: Mosquitto, topic: Topic, *words: str, **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUOTALOOP_")}
        mine = {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "QUOTALOOP_KAFKA_BROKERS": topic.brokers,
            "QUOTALOOP_MQTT_URL": broker.url,
            "QUOTALOOP_MQTT_CLIENT_ID": "one",
        }
        to = ("--topic", "devices/#", "--to", topic.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quotaloop", "--json", "bridge", "mqtt", *to, *words],
            env=clean | mine | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )

    def __enter__(self) -> Process:
        return self

    def await_start(self) -> None:
        """Wait until it is a member of the group; what it says then is not in what ``end`` gives."""
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert b" goes into topic " in line, line

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self, number: int | None = None) -> tuple[int, str, str]:
        """Exit code and what it wrote, once it has ended, after a signal if one is given."""
        if number is not None:
            self._process.send_signal(number)
        out, err = self._process.communicate(timeout=90)
        return self._process.returncode, out.decode(), err.decode()

    def counts(self, number: int | None = None) -> dict[str, int]:
        """What it counted; it has to end well."""
        code, out, err = self.end(number)
        assert code == 0, err
        found: dict[str, int] = json.loads(out)
        return found


def drained(broker: Mosquitto, topic: Topic, **environment: str) -> dict[str, int]:
    """The counts of a bridge that ends when nothing has come for a while."""
    with Process(broker, topic, "--until-idle", "1s", **environment) as process:
        return process.counts()


def records(topic: Topic) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of all records, by partition."""
    reader = Consumer({"bootstrap.servers": topic.brokers, "group.id": "test", "enable.partition.eof": True})
    numbers = set(reader.list_topics(topic.name).topics[topic.name].partitions)
    reader.assign([TopicPartition(topic.name, number, OFFSET_BEGINNING) for number in numbers])
    found = []
    while numbers:
        for message in reader.consume(1_000, 0.1):
            error = message.error()
            if error is None:
                found.append((message.key(), message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                numbers.discard(message.partition() or 0)
    reader.close()
    return found


def has(topic: Topic, count: int) -> bool:
    """Are there so many records?"""
    return len(records(topic)) >= count


def numbered(first: int, last: int) -> list[Message]:
    """Messages that tell themselves apart, each of a length of its own, of two devices."""
    return [(f"devices/{number % 2}", b"%06d" % number + b"." * number) for number in range(first, last)]


def test_bytes_arrive_unchanged_under_their_topic_and_a_signal_ends_it_well(broker: Mosquitto, topic: Topic) -> None:
    assert drained(broker, topic)["received"] == 0
    messages = [(f"devices/{number}", payload) for number, payload in enumerate(PAYLOADS)]
    publish(broker.port, messages)
    for number in (signal.SIGTERM, signal.SIGINT):
        with Process(broker, topic) as process:
            process.await_start()
            wait_until(lambda: len(records(topic)) >= len(messages), "not all came")
            counts = process.counts(number)
        assert counts["left"] == 0
        assert counts["received"] == counts["delivered"] == counts["acknowledged"]
    assert records(topic) == [(name.encode(), payload) for name, payload in messages]


@LONG
@pytest.mark.parametrize("point", BRIDGE_POINTS)
def test_a_bridge_that_was_killed_has_lost_nothing(broker: Mosquitto, topic: Topic, point: str) -> None:
    drained(broker, topic)
    messages = numbered(0, 300)
    publish(broker.port, messages)
    with Process(broker, topic, QUOTALOOP_KILL_AT=point) as process:
        code, _, err = process.end()
    assert code == -signal.SIGKILL, err
    before = records(topic)
    assert (len(before) > 0) == (point in ("bridge:delivered", "bridge:acknowledged")) or point == "bridge:produced"
    counts = drained(broker, topic)
    found = Counter(records(topic))
    assert set(found) == {(name.encode(), payload) for name, payload in messages}
    assert found.total() == len(before) + counts["delivered"]


@LONG
def test_a_bridge_that_is_killed_again_and_again_has_lost_nothing(broker: Mosquitto, topic: Topic) -> None:
    drained(broker, topic)
    for first in range(0, 2_000, 500):
        with Process(broker, topic):
            publish(broker.port, numbered(first, first + 500))
            enough = len(records(topic)) + 50
            wait_until(partial(has, topic, enough), "nothing came")
    drained(broker, topic)
    assert set(records(topic)) == {(name.encode(), payload) for name, payload in numbered(0, 2_000)}


@pytest.mark.faults
def test_what_comes_while_kafka_is_away_waits_with_the_broker(
    broker: Mosquitto, topic: Topic, cluster: Cluster
) -> None:
    drained(broker, topic)
    messages = numbered(0, 900)
    with Process(broker, topic, "--receive-maximum", "50") as process:
        process.await_start()
        publish(broker.port, messages[:300])
        wait_until(lambda: len(records(topic)) == 300, "not all came")
        cluster.kill("kafka")
        try:
            publish(broker.port, messages[300:600])
        finally:
            cluster.start("kafka")
        publish(broker.port, messages[600:])
        wait_until(lambda: set(records(topic)) == {(name.encode(), payload) for name, payload in messages}, "some lack")
        code, out, err = process.end(signal.SIGTERM)
    assert code == 0, err
    counts = json.loads(out)
    assert (counts["acknowledged"], counts["left"]) == (900, 0)
    assert err == f"quotaloop: Kafka at {topic.brokers} does not answer: what comes waits with the broker\n"
    assert len(records(topic)) == 900


@pytest.mark.faults
def test_a_stop_while_kafka_is_away_leaves_what_it_has_with_the_broker(
    broker: Mosquitto, topic: Topic, cluster: Cluster
) -> None:
    drained(broker, topic)
    messages = numbered(0, 100)
    with Process(broker, topic, QUOTALOOP_PATIENCE="1s") as process:
        publish(broker.port, messages[:10])
        wait_until(lambda: len(records(topic)) == 10, "not all came")
        cluster.kill("kafka")
        try:
            publish(broker.port, messages[10:])
            code, out, err = process.end(signal.SIGTERM)
        finally:
            cluster.start("kafka")
    assert code == 0, err
    counts = json.loads(out)
    assert counts["received"] == counts["acknowledged"] + counts["left"]
    assert counts["acknowledged"] == 10
    drained(broker, topic)
    assert set(records(topic)) == {(name.encode(), payload) for name, payload in messages}


@LONG
def test_a_broker_that_restarts_sends_again_what_kafka_may_not_have(broker: Mosquitto, topic: Topic) -> None:
    drained(broker, topic)
    messages = numbered(0, 400)
    publish(broker.port, messages)
    broker.end()
    broker.start()
    with Process(broker, topic) as process:
        wait_until(lambda: len(records(topic)) > 20, "nothing came")
        broker.end()
        broker.start()
        wait_until(lambda: set(records(topic)) == {(name.encode(), payload) for name, payload in messages}, "some lack")
        process.counts(signal.SIGTERM)
    assert drained(broker, topic)["received"] == 0


@LONG
def test_a_payload_too_large_for_the_topic_is_said_and_small_ones_beside_it_are_copied(
    broker: Mosquitto, brokers: str
) -> None:
    topic = Topic(brokers, f"small-{time.time_ns()}")
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    admin.create_topics([NewTopic(topic.name, 1, 1, config={"max.message.bytes": "5000"})])[topic.name].result()
    drained(broker, topic)
    messages = [("devices/a", b"%04d" % number * 300) for number in range(200)]
    just = b"x" * (5_000 - 93 - len("devices/a"))
    publish(broker.port, [*messages, ("devices/a", b"x" * 5_000), ("devices/a", just)])
    with Process(broker, topic, "--until-idle", "1s") as process:
        code, out, err = process.end()
    assert code == 0, err
    counts = json.loads(out)
    assert (counts["too_large"], counts["delivered"], counts["acknowledged"]) == (1, 201, 202)
    assert [line[:56] for line in err.splitlines() if " goes into " not in line] == [
        "quotaloop: not copied: 5000 bytes from devices/a (sha256"
    ]
    assert [value for _, value in records(topic)] == [*(payload for _, payload in messages), just]


@LONG
def test_a_topic_that_was_deleted_ends_the_bridge(broker: Mosquitto, topic: Topic) -> None:
    drained(broker, topic)
    with Process(broker, topic) as process:
        process.await_start()
        publish(broker.port, numbered(0, 5))
        wait_until(lambda: len(records(topic)) == 5, "not all came")
        topic.remove()
        publish(broker.port, numbered(5, 10))
        code, out, err = process.end()
    assert (code, out) == (2, ""), err
    assert f"has no topic {topic.name}" in err.splitlines()[-1]
    topic.make(1)
    drained(broker, topic)
    assert set(records(topic)) == {(name.encode(), payload) for name, payload in numbered(5, 10)}


@LONG
def test_what_cannot_be_is_said_in_one_line_with_its_exit_code(broker: Mosquitto, topic: Topic) -> None:
    nobody = {"QUOTALOOP_PATIENCE": "1s"}
    cases = [
        (Process(broker, Topic(topic.brokers, "none")), 2, "no topic none; name another with --to, or create it"),
        (Process(broker, topic, "--url", "mqtt://127.0.0.1:1", **nobody), 5, "MQTT broker at 127.0.0.1:1 cannot be"),
        (Process(broker, topic, QUOTALOOP_KAFKA_BROKERS="127.0.0.1:1", **nobody), 5, "Kafka at 127.0.0.1:1 cannot"),
        (Process(broker, topic, "--session", "0s"), 2, "--session is from 1s"),
        (Process(broker, topic, "--password-file", "none", "--username", "u"), 2, "none cannot be read"),
    ]
    for process, expected, said in cases:
        with process:
            code, out, err = process.end()
        assert (code, out, err.count("\n")) == (expected, "", 1), err
        assert said in err


@LONG
def test_a_wrong_password_is_one_line_without_it(tmp_path: Path, topic: Topic) -> None:
    users = tmp_path / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "bridge", "the-right-one"], check=True)
    with Mosquitto(tmp_path, ["allow_anonymous false", f"password_file {users}"]) as broker:
        words = ("--username", "bridge", "--until-idle", "0s")
        with Process(broker, topic, *words, QUOTALOOP_MQTT_PASSWORD="not-to-be-said") as process:
            code, out, err = process.end()
        (tmp_path / "password").write_text("the-right-one\n")
        with Process(broker, topic, *words, "--password-file", str(tmp_path / "password")) as process:
            process.counts()
    assert (code, out, err.count("\n")) == (5, "", 1)
    assert "does not let us in (Not authorized)" in err
    assert "not-to-be-said" not in err


def test_events_that_devices_repeat_end_as_duplicates_downstream(
    broker: Mosquitto,
    topic: Topic,
    zone: RawZone,
    spark: object,  # noqa: ARG001 - the build finds the session
) -> None:
    drained(broker, topic)
    now_ms = time.time_ns() // 1_000_000  # the hours of what is six hours old are closed
    usual = {
        "ts": now_ms - 6 * 3_600_000,
        "tenant": "acme",
        "route": "/r",
        "api_version": "v1",
        "status": 200,
        "duration_ms": 1,
    }
    events = [
        (f"devices/{number % 7}", json.dumps({"event_id": f"e-{number}", **usual}).encode()) for number in range(1_000)
    ]
    publish(broker.port, [*events, *events[100:160], ("devices/0", b""), ("devices/0", b"no event")])
    with Process(broker, topic, QUOTALOOP_KILL_AT="bridge:delivered") as process:
        process.end()
    counts = drained(broker, topic)
    lines = len(records(topic))
    assert lines >= 1_062
    assert counts["received"] == 1_062
    zone.land(topic)
    made = stages.build(Work(zone.settings))
    ledger = read_tables(zone.store, [made.ledger.path])[0].to_pylist()
    found = {name: sum(row[name] for row in ledger) for name in ("lines", "accepted", "duplicate", "quarantined")}
    quarantined = sum(value in (b"", b"no event") for _, value in records(topic))
    assert found == {
        "lines": lines,
        "accepted": 1_000,
        "duplicate": lines - 1_000 - quarantined,
        "quarantined": quarantined,
    }
