"""The Kafka sink against a real broker: all or nothing for who reads what is committed, never older, read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType
from msgspec.structs import replace

from quotaloop import faults
from quotaloop.errors import CheckRefused, QuotaloopError, ServiceUnreachable, UsageError
from quotaloop.quotas.policy import Policy, render
from quotaloop.settings import Settings
from quotaloop.sinks.kafka.records import HEAD, policy_of, records
from quotaloop.sinks.kafka.sink import KafkaSink
from quotaloop.sinks.kafka.table import partition_of
from quotaloop.sinks.sink import Sink
from tests.servers import Cluster
from tests.sinks.pushes import GOOD, REFUSED, limit
from tests.sinks.pushes import policy as made_policy
from tests.sinks.pushes import sink as made

pytestmark = pytest.mark.cluster

NEWER = made_policy(8, limit("acme", "requests", 10), limit("initech", "tokens", 500))
PUBLISHER = """
import sys
from pathlib import Path
from quotaloop.quotas.policy import parse
from quotaloop.settings import Settings
from quotaloop.sinks.kafka.sink import KafkaSink
from tests.sinks.pushes import sink
folder, brokers, topic = Path(sys.argv[1]), *sys.argv[2:]
made = sink(KafkaSink, folder, settings=Settings(kafka_brokers=brokers), topic=topic)
made.publish(parse((folder / "policy.json").read_bytes()))
"""


@pytest.fixture
def name() -> str:
    """Of a topic that no other test knows; it is not there yet."""
    return f"limits-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def sink(tmp_path: Path, brokers: str, name: str) -> Sink:
    return edge(tmp_path, brokers, name, partitions=3)


def edge(folder: Path, brokers: str, name: str, patience: int = 20_000, **options: Any) -> Sink:
    """A sink to the topic."""
    settings = Settings(kafka_brokers=brokers, patience=patience)
    return made(KafkaSink, folder, settings=settings, topic=name, **options)


def publisher(folder: Path, brokers: str, name: str, policy: Policy, **environment: str) -> subprocess.Popen[bytes]:
    """A process that publishes."""
    (folder / "policy.json").write_bytes(render(policy))
    return subprocess.Popen(
        [sys.executable, "-c", PUBLISHER, str(folder), brokers, name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        stderr=subprocess.PIPE,
    )


def make(brokers: str, name: str, partitions: int = 1, **chosen: str) -> None:
    """A topic with these settings, by their names with _ for a dot."""
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    config = {key.replace("_", "."): value for key, value in chosen.items()}
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()


def configure(brokers: str, name: str) -> dict[str, str]:
    """The settings of a topic."""
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    asked = ConfigResource(ResourceType.TOPIC, name)
    return {key: entry.value for key, entry in admin.describe_configs([asked])[asked].result().items()}


def produce(brokers: str, name: str, values: Mapping[bytes, bytes | None], partition: int | None = None) -> None:
    """Write without a transaction, as a client of Java would."""
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    for key, value in values.items():
        producer.produce(name, value, key, **({} if partition is None else {"partition": partition}))
    assert producer.flush(20) == 0


def messages(brokers: str, name: str, isolation: str = "read_committed") -> list[tuple[int, bytes, bytes | None]]:
    """Partition, key and value of all messages of a topic, as a limiter reads them."""
    chosen = {"bootstrap.servers": brokers, "group.id": "limiter", "isolation.level": isolation}
    reader = Consumer(chosen | {"enable.partition.eof": True, "fetch.wait.max.ms": 10})
    numbers = set(reader.list_topics(name).topics[name].partitions)
    reader.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers])
    found = []
    while numbers:
        for message in reader.consume(100, 0.1):
            error = message.error()
            if error is None:
                found.append((message.partition() or 0, message.key() or b"", message.value()))
            elif error.code() == KafkaError._PARTITION_EOF:
                numbers.discard(message.partition() or 0)
    reader.close()
    return found


def limits(brokers: str, name: str, isolation: str = "read_committed") -> Policy | None:
    """The policy that a limiter comes to, which keeps a table by key."""
    table = {key: value for _, key, value in messages(brokers, name, isolation)}
    return policy_of({key: value for key, value in table.items() if value is not None})


def test_the_policy_lies_there_by_tenant_where_clients_of_java_write_it(sink: Sink, brokers: str, name: str) -> None:
    assert (sink.epoch(), sink.drift(GOOD)) == (None, [f"topic {name} is missing"])
    sink.publish(GOOD)
    assert (sink.epoch(), sink.drift(GOOD), limits(brokers, name)) == (7, [], GOOD)
    found = messages(brokers, name)
    assert {key: value for _, key, value in found} == records(GOOD)
    assert all(number == partition_of(key, 3) for number, key, _ in found)
    assert configure(brokers, name)["cleanup.policy"] == "compact"
    keys = [f"tenant-{number}" for number in range(300)]
    produce(brokers, name, {key.encode(): b"" for key in keys})
    assert {key: number for number, key, value in messages(brokers, name) if value == b""} == {
        key.encode(): partition_of(key.encode(), 3) for key in keys
    }


def test_a_topic_that_is_made_has_the_partitions_asked_for_and_one_otherwise(
    tmp_path: Path, brokers: str, name: str
) -> None:
    edge(tmp_path, brokers, name).publish(GOOD)
    assert {number for number, _, _ in messages(brokers, name)} == {0}
    assert [key for _, key, _ in messages(brokers, name)] == [b"acme", b"globex", HEAD]
    with pytest.raises(UsageError, match=r"cannot be made: .*replicat"):
        edge(tmp_path, brokers, f"{name}-3", replication=3).publish(GOOD)


@pytest.mark.parametrize("refused", REFUSED)
def test_a_policy_that_is_not_valid_or_older_leaves_the_last_good_one(
    sink: Sink, brokers: str, name: str, refused: Policy
) -> None:
    sink.publish(GOOD)
    with pytest.raises(CheckRefused, match="refused whole"):
        sink.publish(refused)
    assert sink.drift(GOOD) == []
    assert limits(brokers, name) == GOOD


def test_tenants_that_left_get_a_tombstone_and_older_limits_return_under_a_newer_epoch(
    sink: Sink, brokers: str, name: str
) -> None:
    sink.publish(GOOD)
    assert sink.drift(NEWER) == [
        "_policy is of policy 7",
        "acme is of policy 7",
        "globex lies there, and is not of the policy",
        "initech is missing",
    ]
    sink.publish(NEWER)
    assert (sink.epoch(), sink.drift(NEWER), limits(brokers, name)) == (8, [], NEWER)
    assert (partition_of(b"globex", 3), b"globex", None) in messages(brokers, name)
    again = replace(GOOD, epoch=9)
    sink.publish(again)
    assert (sink.drift(again), limits(brokers, name)) == ([], again)
    with pytest.raises(CheckRefused, match=r"policy 8 is refused whole: .* holds policy 9, push a newer one"):
        sink.publish(NEWER)


def test_publishing_twice_writes_nothing_the_second_time(sink: Sink, brokers: str, name: str) -> None:
    sink.publish(GOOD)
    sink.publish(GOOD)
    assert len(messages(brokers, name, "read_uncommitted")) == 3


def test_tenants_lie_under_their_identities(tmp_path: Path, brokers: str, name: str) -> None:
    settings = Settings(kafka_brokers=brokers)
    sink = made(KafkaSink, tmp_path, settings=settings, tenants={"acme": "team-7"}, topic=name)
    sink.publish(GOOD)
    assert {key for _, key, _ in messages(brokers, name)} == {b"team-7", b"globex", HEAD}
    assert (sink.drift(GOOD), limits(brokers, name)) == ([], GOOD)


def test_what_somebody_wrote_is_drift_until_it_is_published_again(sink: Sink, brokers: str, name: str) -> None:
    sink.publish(GOOD)
    found = records(GOOD)
    produce(brokers, name, {b"acme": found[b"acme"].replace(b"50", b"90"), b"globex": None, b"zebra": b"text"})
    assert sink.drift(GOOD) == [
        "acme is not as published, somebody changed it",
        "globex is missing",
        "zebra lies there, and is not of the policy",
    ]
    with pytest.raises(CheckRefused):
        limits(brokers, name)
    sink.publish(GOOD)
    assert (sink.drift(GOOD), limits(brokers, name)) == ([], GOOD)


def test_a_push_without_a_transaction_that_was_cut_off_is_seen_and_ended_by_a_newer_one(
    sink: Sink, brokers: str, name: str
) -> None:
    sink.publish(GOOD)
    produce(brokers, name, {b"acme": records(NEWER)[b"acme"]})
    assert sink.epoch() == 8
    assert sink.drift(GOOD) == ["acme is of policy 8"]
    with pytest.raises(CheckRefused, match="holds policy 8, push a newer one"):
        sink.publish(GOOD)
    sink.publish(NEWER)
    assert (sink.drift(NEWER), limits(brokers, name)) == ([], NEWER)


def test_a_transaction_that_was_aborted_is_in_force_for_nobody(sink: Sink, brokers: str, name: str) -> None:
    sink.publish(GOOD)
    other = begun(brokers, name, NEWER)
    waiting = [line for line in sink.drift(GOOD) if "transaction that is open" in line]
    assert len(waiting) == len({partition_of(key, 3) for key in records(NEWER)})
    assert (sink.epoch(), limits(brokers, name)) == (7, GOOD)
    other.abort_transaction(20)
    assert (sink.epoch(), limits(brokers, name)) == (7, GOOD)
    sink.publish(NEWER)
    assert (sink.drift(NEWER), limits(brokers, name)) == ([], NEWER)


def begun(brokers: str, name: str, policy: Policy) -> Producer:
    """A transaction of somebody else, with a policy for a topic of three partitions."""
    other = Producer({"bootstrap.servers": brokers, "transactional.id": uuid.uuid4().hex})
    other.init_transactions(20)
    other.begin_transaction()
    for key, value in records(policy).items():
        other.produce(name, value, key, partition=partition_of(key, 3))
    assert other.flush(20) == 0
    return other


def test_a_publication_that_readers_cannot_see_yet_is_not_said_to_be_done(
    sink: Sink, tmp_path: Path, brokers: str, name: str
) -> None:
    sink.publish(GOOD)
    other = begun(brokers, name, replace(NEWER, epoch=9))
    with pytest.raises(ServiceUnreachable, match="committed, and waits behind another's open transaction"):
        edge(tmp_path, brokers, name, patience=1_000).publish(NEWER)
    assert limits(brokers, name) == GOOD
    other.abort_transaction(20)
    sink.publish(NEWER)
    assert (sink.drift(NEWER), limits(brokers, name)) == ([], NEWER)


@pytest.mark.parametrize("point", faults.KAFKA_SINK_POINTS)
def test_a_publisher_that_was_killed_has_published_whole_or_nothing(
    sink: Sink, brokers: str, name: str, tmp_path: Path, point: str
) -> None:
    sink.publish(GOOD)
    with publisher(tmp_path, brokers, name, NEWER, QUOTALOOP_KILL_AT=point) as killed:
        _, err = killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL, err
    if point == "kafka_sink:sent":
        assert limits(brokers, name) == GOOD
        assert "transaction that is open" in sink.drift(NEWER)[0]
        assert "acme is of policy 7" in sink.drift(NEWER)
        assert sink.epoch() == 7
    sink.publish(NEWER)
    assert (sink.drift(NEWER), limits(brokers, name)) == ([], NEWER)


def test_a_publisher_that_slept_while_another_published_commits_nothing(
    sink: Sink, brokers: str, name: str, tmp_path: Path
) -> None:
    sink.publish(GOOD)
    with publisher(tmp_path, brokers, name, NEWER, QUOTALOOP_STOP_AT="kafka_sink:sent") as sleeper:
        _, status = os.waitpid(sleeper.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        newest = replace(GOOD, epoch=9)
        sink.publish(newest)
        os.kill(sleeper.pid, signal.SIGCONT)
        _, err = sleeper.communicate(timeout=60)
    assert (
        err.decode()
        .splitlines()[-1]
        .endswith(f"CheckRefused: topic {name}: another publication began meanwhile, publish again")
    )
    assert err.startswith(b"Traceback")  # librdkafka says nothing by itself
    assert b"|FATAL|" not in err
    assert (sink.drift(newest), limits(brokers, name)) == ([], newest)


def test_publishers_at_once_never_go_back_and_end_once_one_is_alone(tmp_path: Path, brokers: str, name: str) -> None:
    edge(tmp_path, brokers, name).publish(replace(GOOD, epoch=1))
    start, published, other = threading.Barrier(4), [], []

    def publish(mine: range) -> None:  # all are near the newest all the time
        sink = edge(tmp_path, brokers, name)
        start.wait()
        for epoch in mine:
            try:
                sink.publish(replace(GOOD, epoch=epoch))
                published.append(epoch)
            except CheckRefused as error:
                other.append(str(error))

    threads = [threading.Thread(target=publish, args=(range(first, 42, 4),)) for first in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert published
    assert all("push a newer one" in line or "another publication began" in line for line in other)
    heads = [value for _, key, value in messages(brokers, name) if key == HEAD]
    order = [int((value or b"").partition(b'"epoch":')[2].partition(b",")[0]) for value in heads]
    assert order == sorted(set(order))
    assert set(order) == {1, *published}
    found = limits(brokers, name)
    assert found == replace(GOOD, epoch=max(published))


def test_a_topic_that_is_not_compacted_alone_is_refused_and_not_written_to(
    tmp_path: Path, brokers: str, name: str
) -> None:
    for number, chosen in enumerate(("delete", "compact,delete")):
        mine = f"{name}-{number}"
        make(brokers, mine, cleanup_policy=chosen)
        sink = edge(tmp_path, brokers, mine)
        said = f"topic {mine} would forget limits, its cleanup.policy is {chosen} and not compact"
        with pytest.raises(CheckRefused, match=said):
            sink.publish(GOOD)
        assert sink.drift(GOOD)[0] == said
        assert messages(brokers, mine, "read_uncommitted") == []


def test_the_topic_of_somebody_else_is_not_written_to(tmp_path: Path, brokers: str, name: str) -> None:
    make(brokers, name, cleanup_policy="compact")
    produce(brokers, name, {b"user-1": b"{}", b"user-2": b"{}"})
    sink = edge(tmp_path, brokers, name)
    with pytest.raises(CheckRefused, match=f"topic {name} holds 2 keys and none of a policy"):
        sink.publish(GOOD)
    assert len(messages(brokers, name, "read_uncommitted")) == 2
    assert sink.epoch() is None


def test_a_tenant_that_is_larger_than_a_message_may_be_is_refused_whole(
    tmp_path: Path, brokers: str, name: str
) -> None:
    make(brokers, name, cleanup_policy="compact", max_message_bytes="2000")
    sink = edge(tmp_path, brokers, name)
    sink.publish(GOOD)
    wide = made_policy(8, *(limit("acme", kind, 5, evidence={"n": "x" * 900}) for kind in ("requests", "tokens")))
    with pytest.raises(
        CheckRefused, match=r"policy 8 is refused whole: acme takes \d+ bytes, .*max.message.bytes 2000"
    ):
        sink.publish(wide)
    assert (sink.drift(GOOD), limits(brokers, name)) == ([], GOOD)
    many = made_policy(9, *(limit(f"t-{number}", "requests", 5) for number in range(500)))
    sink.publish(many)  # in batches that the broker takes
    assert (sink.drift(many), limits(brokers, name)) == ([], many)


def test_a_record_just_as_large_as_a_message_may_be_is_taken(tmp_path: Path, brokers: str, name: str) -> None:
    make(brokers, name, cleanup_policy="compact", max_message_bytes="10000")
    sink = edge(tmp_path, brokers, name)
    just = 10_000 - 93 - len("acme") - len(records(sized(0))[b"acme"])
    sink.publish(sized(just))
    assert limits(brokers, name) == sized(just)
    with pytest.raises(CheckRefused, match=r"max\.message\.bytes"):
        sink.publish(replace(sized(just + 1), epoch=9))


def sized(size: int) -> Policy:
    """A policy with so many characters more."""
    return made_policy(8, limit("acme", "requests", 5, evidence={"n": "x" * size}))


def test_a_topic_that_has_grown_is_drift_until_tenants_lie_in_their_new_partitions(
    tmp_path: Path, brokers: str, name: str
) -> None:
    sink = edge(tmp_path, brokers, name)
    sink.publish(GOOD)
    admin: Any = AdminClient({"bootstrap.servers": brokers})
    admin.create_partitions([NewPartitions(name, 5)])[name].result()
    while len(admin.list_topics(name, timeout=10).topics[name].partitions) < 5:
        pass
    assert "acme lies in another partition than its own (0)" in sink.drift(GOOD)
    sink.publish(GOOD)
    assert sink.drift(GOOD) == []
    lying = {(number, key): value for number, key, value in messages(brokers, name)}
    assert {place for place, value in lying.items() if value is not None} == {
        (partition_of(key, 5), key) for key in records(GOOD)
    }


def test_a_topic_that_the_broker_has_compacted_still_holds_the_policy(tmp_path: Path, brokers: str, name: str) -> None:
    at_once = {"segment_ms": "100", "min_cleanable_dirty_ratio": "0.01", "delete_retention_ms": "0"}
    make(brokers, name, cleanup_policy="compact", **at_once)
    sink = edge(tmp_path, brokers, name)
    for epoch in range(1, 6):
        sink.publish(replace(GOOD, epoch=epoch))
    last, end = replace(NEWER, epoch=6), time.monotonic() + 60
    sink.publish(last)
    while sum(key == HEAD for _, key, _ in messages(brokers, name)) > 3:
        assert time.monotonic() < end
    assert (sink.epoch(), sink.drift(last), limits(brokers, name)) == (6, [], last)
    newest = replace(GOOD, epoch=7)
    sink.publish(newest)
    assert (sink.drift(newest), limits(brokers, name)) == ([], newest)


def test_many_tenants_are_published_and_read_back_whole(sink: Sink, brokers: str, name: str) -> None:
    many = made_policy(8, *(limit(f"tenant-{number:05}", "requests", number + 1) for number in range(20_000)))
    sink.publish(many)
    assert (sink.drift(many), limits(brokers, name)) == ([], many)
    assert len(sink.drift(GOOD)) == 100


def test_a_broker_that_is_away_ends_every_question_in_bounded_time(tmp_path: Path) -> None:
    sink = edge(tmp_path, "127.0.0.1:1", "any", patience=1_000)
    asks: list[Callable[[], object]] = [lambda: sink.publish(GOOD), sink.epoch, lambda: sink.drift(GOOD)]
    for ask in asks:
        began = time.monotonic()
        with pytest.raises(ServiceUnreachable, match=r"Kafka at 127\.0\.0\.1:1 cannot be reached") as found:
            ask()
        assert time.monotonic() - began < 4
        assert "\n" not in str(found.value)


@pytest.mark.faults
def test_a_broker_that_stops_midway_is_said_in_bounded_time_and_the_next_publication_ends_it(
    tmp_path: Path, cluster: Cluster, brokers: str, name: str
) -> None:
    sink = edge(tmp_path, brokers, name, patience=5_000)
    sink.publish(GOOD)
    raised: list[QuotaloopError] = []

    def publish() -> None:
        for epoch in range(8, 10_000):
            try:
                sink.publish(replace(GOOD, epoch=epoch))
            except QuotaloopError as error:
                raised.append(error)
                return

    thread = threading.Thread(target=publish)
    thread.start()
    thread.join(2)
    began = time.monotonic()
    cluster.kill("kafka", "STOP")
    try:
        thread.join(60)
        assert time.monotonic() - began < 20
    finally:
        cluster.kill("kafka")
        cluster.start("kafka")
    assert not thread.is_alive()
    assert [type(error).exit_code for error in raised] == [ServiceUnreachable.exit_code]
    assert "\n" not in str(raised[0])
    last = replace(NEWER, epoch=20_000)
    edge(tmp_path, brokers, name).publish(last)
    assert limits(brokers, name) == last


def test_a_policy_goes_over_sasl_and_tls_and_the_password_is_in_no_error(
    tmp_path: Path, brokers: str, name: str, cluster: Cluster
) -> None:
    at = cluster.environment
    secure: dict[str, Any] = {
        "kafka_brokers": at["KAFKA_SASL_BROKERS"],
        "kafka_security": "sasl_ssl",
        "kafka_username": at["KAFKA_SASL_USER"],
        "kafka_ca": at["KAFKA_CA_FILE"],
        "patience": 5_000,
    }
    right = Settings(**secure, kafka_password_file=at["KAFKA_SASL_PASSWORD_FILE"])
    made(KafkaSink, tmp_path, settings=right, topic=name).publish(GOOD)
    assert limits(brokers, name) == GOOD
    wrong = Settings(**secure, kafka_password="not-the-password")
    with pytest.raises(ServiceUnreachable, match="Kafka at") as found:
        made(KafkaSink, tmp_path, settings=wrong, topic=name).publish(GOOD)
    assert "not-the-password" not in str(found.value)
