"""The MQTT bridge against a real mosquitto: what it takes, when it acknowledges, and what it is refused."""

from __future__ import annotations

import gc
import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError
from paho.mqtt.client import MQTTMessage

from peers.mosquitto import Mosquitto, program
from quotaloop.bridge.mqtt import Counts
from quotaloop.bridge.mqtt_access import MqttAccess
from quotaloop.errors import ServiceUnreachable, UsageError
from quotaloop.raw.kafka.problems import NoAnswer
from tests.bridge.certificates import Certificates
from tests.bridge.parts import Message, Outlet, Running, publish, wait_until

PASSWORD = "not-to-be-said"
PAYLOADS = [b'{"event_id": "1"}', b"", b"\x00\xff\xfe\x80", "\u00e9\u2028".encode(), b"two\nlines", b"x" * 60_000]


def needs_mosquitto() -> None:
    """Fail with what to do where it is missing."""
    if program() is None:
        pytest.fail("mosquitto is not installed; make test-peers installs it")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    needs_mosquitto()
    with Mosquitto(tmp_path) as running:
        yield running


def access(broker: Mosquitto, client_id: str = "one", **more: Any) -> MqttAccess:
    """A member of the group."""
    return MqttAccess(url=broker.url, topic="devices/#", client_id=client_id, **more)


def numbered(first: int, last: int) -> list[Message]:
    """Messages that tell themselves apart."""
    return [("devices/a", b"%04d" % number) for number in range(first, last)]


def values(*outlets: Outlet) -> list[bytes]:
    """What lies in the outlets."""
    return [value for outlet in outlets for _, value in outlet.records]


def living() -> list[object]:
    """All objects that something holds."""
    gc.collect()
    return gc.get_objects()


def joined(running: Running) -> Running:
    """Once it is a member of the group."""
    wait_until(lambda: running.bridge.is_open or running.raised, "it does not connect")
    return running


def gone(member: MqttAccess) -> None:
    """A member that is known to the broker and not there."""
    with Running(member, Outlet()) as running:
        joined(running).stop()


@pytest.mark.peers
def test_payloads_are_copied_byte_for_byte_under_their_topic_and_acknowledged(broker: Mosquitto) -> None:
    outlet = Outlet()
    messages = [(f"devices/{number}/\u00e9", payload) for number, payload in enumerate(PAYLOADS)]
    with Running(access(broker), outlet) as running:
        joined(running)
        publish(broker.port, messages)
        wait_until(lambda: running.counts.acknowledged == len(messages), "not all came")
        counts = running.stop()
    assert outlet.records == [(topic.encode(), payload) for topic, payload in messages]
    assert counts == Counts(received=6, delivered=6, acknowledged=6)
    again = Outlet()
    with Running(access(broker), again, idle_s=0.5) as running:
        assert running.join() == Counts()


@pytest.mark.peers
def test_bridges_of_a_group_share_the_messages(broker: Mosquitto) -> None:
    outlets = [Outlet(), Outlet()]
    with Running(access(broker, "one"), outlets[0]) as one, Running(access(broker, "two"), outlets[1]) as two:
        joined(one)
        joined(two)
        publish(broker.port, numbered(0, 200))
        wait_until(lambda: one.counts.acknowledged + two.counts.acknowledged == 200, "not all came")
    assert sorted(values(*outlets)) == [value for _, value in numbered(0, 200)]
    assert all(outlet.records for outlet in outlets)


@pytest.mark.peers
def test_bridges_of_two_groups_get_every_message_each(broker: Mosquitto) -> None:
    outlets = [Outlet(), Outlet()]
    members = [access(broker, "one"), access(broker, "two", group="other")]
    with Running(members[0], outlets[0]) as one, Running(members[1], outlets[1]) as two:
        joined(one)
        joined(two)
        publish(broker.port, numbered(0, 20))
        wait_until(lambda: one.counts.acknowledged == two.counts.acknowledged == 20, "not all came")
    assert values(outlets[0]) == values(outlets[1]) == [value for _, value in numbered(0, 20)]


@pytest.mark.peers
def test_nothing_is_acknowledged_before_kafka_has_it_and_the_rest_comes_again(broker: Mosquitto) -> None:
    first, second = Outlet(holds=True), Outlet()
    with Running(access(broker), first, patience_s=0.2) as running:
        joined(running)
        publish(broker.port, numbered(0, 10))
        wait_until(lambda: running.counts.received == 10, "not all came")
        first.report(0, 1, 2)
        wait_until(lambda: running.counts.acknowledged == 3, "what Kafka has is not acknowledged")
        assert running.stop() == Counts(received=10, delivered=3, acknowledged=3, left=7)
    with Running(access(broker), second, idle_s=0.5) as running:
        assert running.join() == Counts(received=7, again=7, delivered=7, acknowledged=7)
    assert values(second) == [value for _, value in numbered(3, 10)]


@pytest.mark.peers
def test_messages_are_acknowledged_in_the_order_in_which_they_came(broker: Mosquitto) -> None:
    outlet = Outlet(holds=True)
    with Running(access(broker), outlet, patience_s=0.2) as running:
        joined(running)
        publish(broker.port, numbered(0, 4))
        wait_until(lambda: running.counts.received == 4, "not all came")
        outlet.report(3, 1)
        wait_until(lambda: running.counts.delivered == 2, "no report was heard")
        assert running.counts.acknowledged == 0
        outlet.report(0)
        wait_until(lambda: running.counts.acknowledged == 2, "0 and 1 are done")
        assert running.stop() == Counts(received=4, delivered=3, acknowledged=2, left=2)


@pytest.mark.peers
def test_a_stop_gives_kafka_time_for_what_was_taken_and_takes_no_more(broker: Mosquitto) -> None:
    first, second = Outlet(holds=True), Outlet()
    with Running(access(broker), first) as running:
        joined(running)
        publish(broker.port, numbered(0, 5))
        wait_until(lambda: running.counts.received == 5, "not all came")
        running.tell()
        wait_until(lambda: running.bridge.is_stopping, "it does not hear")
        publish(broker.port, numbered(5, 300))  # more than it reads until it is done
        first.report(*range(5))
        assert running.join() == Counts(received=5, delivered=5, acknowledged=5)
    with Running(access(broker), second, idle_s=0.5) as running:
        running.join()
    assert values(first, second) == [value for _, value in numbered(0, 300)]


@pytest.mark.peers
def test_the_receive_maximum_bounds_what_is_under_way(broker: Mosquitto) -> None:
    outlet = Outlet(holds=True)
    with Running(access(broker, receive_maximum=100), outlet, patience_s=0.2) as running:
        joined(running)
        publish(broker.port, numbered(0, 1_000))
        wait_until(lambda: running.counts.received >= 100, "not as many as may came")
        outlet.report(0)
        wait_until(lambda: running.counts.received > 100, "one more may come")
        counts = running.stop()
    assert counts.acknowledged == 1
    assert counts.left == counts.received - 1 <= 200  # this mosquitto sends twice as many at times


@pytest.mark.peers
def test_a_broker_that_ended_and_is_back_sends_what_it_kept(broker: Mosquitto) -> None:
    outlet = Outlet(holds=True)
    with Running(access(broker), outlet) as running:
        joined(running)
        publish(broker.port, numbered(0, 10))
        wait_until(lambda: running.counts.received == 10, "not all came")
        outlet.report(0, 1)
        wait_until(lambda: running.counts.acknowledged == 2, "what Kafka has is not acknowledged")
        broker.end()
        outlet.holds = False
        broker.start()
        wait_until(lambda: running.said and running.said[-1].endswith("is back"), "it does not connect again")
        publish(broker.port, numbered(10, 20))
        wait_until(lambda: set(values(outlet)) == {value for _, value in numbered(0, 20)}, "not all came again")
        wait_until(lambda: running.counts.received == running.counts.acknowledged + 8, "not all is acknowledged")
        counts = running.stop()
    assert counts.received == counts.acknowledged + 8 == 20 + counts.again
    assert 8 <= counts.again <= 10  # it may end before it has read the two acknowledgements
    _, lost, back = running.said
    assert lost.startswith(f"MQTT broker at 127.0.0.1:{broker.port}: the connection ended (")
    assert back == f"MQTT broker at 127.0.0.1:{broker.port} is back"


@pytest.mark.peers
def test_a_bridge_alone_gets_what_came_before_it_was_back_at_a_broker_that_restarted(broker: Mosquitto) -> None:
    alone = access(broker, group="")
    gone(alone)
    publish(broker.port, numbered(0, 5))
    broker.end()
    broker.start()
    publish(broker.port, numbered(5, 10))
    outlet = Outlet()
    with Running(alone, outlet, idle_s=0.5) as running:
        running.join()
    assert values(outlet) == [value for _, value in numbered(0, 10)]


@pytest.mark.peers
def test_a_broker_that_has_forgotten_the_session_is_said(tmp_path: Path) -> None:
    needs_mosquitto()
    with Mosquitto(tmp_path) as broker, Running(access(broker), Outlet()) as running:
        joined(running)
        broker.kill()
        (tmp_path / "mosquitto.db").unlink(missing_ok=True)
        broker.start()
        wait_until(lambda: any("has forgotten the session" in line for line in running.said), "it is not said")


@pytest.mark.peers
def test_what_kafka_did_not_take_is_sent_again_by_the_broker(broker: Mosquitto) -> None:
    first, second = Outlet(holds=True), Outlet()
    with Running(access(broker), first, second) as running:
        joined(running)
        publish(broker.port, numbered(0, 5))
        wait_until(lambda: running.counts.received == 5, "not all came")
        first.report(0)
        wait_until(lambda: running.counts.acknowledged == 1, "what Kafka has is not acknowledged")
        first.failure = KafkaError(KafkaError._FATAL)
        wait_until(lambda: running.counts.acknowledged == 5, "not all is acknowledged")
        assert running.stop() == Counts(received=9, again=4, delivered=5, acknowledged=5)
    assert values(second) == [value for _, value in numbered(1, 5)]


@pytest.mark.peers
def test_a_kafka_that_is_away_when_it_is_tried_again_is_waited_for(broker: Mosquitto) -> None:
    first, second = Outlet(holds=True), Outlet()
    with Running(access(broker), first, NoAnswer("away"), NoAnswer("away"), second) as running:
        joined(running)
        publish(broker.port, numbered(0, 5))
        wait_until(lambda: running.counts.received == 5, "not all came")
        first.failure = KafkaError(KafkaError._FATAL)
        wait_until(lambda: running.counts.acknowledged == 5 or running.raised, "not all is acknowledged")
        assert running.stop() == Counts(received=10, again=5, delivered=5, acknowledged=5)
    assert values(second) == [value for _, value in numbered(0, 5)]
    place = f"MQTT broker at 127.0.0.1:{broker.port}"
    assert running.said[2:] == [
        "Kafka at none:9092 does not answer: what comes waits with the broker",
        f"{place} is back",
    ]


def test_a_kafka_that_is_away_at_the_beginning_ends_it() -> None:
    nobody = MqttAccess(url="mqtt://127.0.0.1:1", topic="devices/#", client_id="one")
    failed = Outlet()
    failed.failure = KafkaError(KafkaError._FATAL)
    with Running(nobody, failed, NoAnswer("away")) as running, pytest.raises(NoAnswer):
        running.join()


@pytest.mark.peers
def test_payloads_are_not_kept_until_they_are_acknowledged(broker: Mosquitto) -> None:
    outlet = Outlet(holds=True)
    with Running(access(broker), outlet, patience_s=0.2) as running:
        joined(running)
        publish(broker.port, numbered(0, 10))
        wait_until(lambda: running.counts.received == 10, "not all came")
        outlet.report(*range(1, 10))
        wait_until(lambda: running.counts.delivered == 9, "no report was heard")
        wait_until(lambda: not any(type(one) is MQTTMessage for one in living()), "messages are kept")
        assert running.counts.acknowledged == 0


@pytest.mark.peers
def test_a_payload_that_kafka_never_takes_is_said_and_holds_nobody_up(broker: Mosquitto) -> None:
    outlet, large = Outlet(most_bytes=100), b"x" * 100
    with Running(access(broker), outlet) as running:
        joined(running)
        publish(broker.port, [("devices/a", b"1"), ("devices/b", large), ("devices/a", b"2")])
        wait_until(lambda: running.counts.acknowledged == 3, "not all is acknowledged")
        assert running.stop() == Counts(received=3, delivered=2, acknowledged=3, too_large=1)
    assert values(outlet) == [b"1", b"2"]
    digest = sha256(large).hexdigest()
    limit = "topic events has max.message.bytes 100"
    assert running.said[1:] == [f"not copied: 100 bytes from devices/b (sha256 {digest}), {limit}"]


@pytest.mark.peers
def test_what_was_published_while_no_member_was_there_waits(broker: Mosquitto) -> None:
    gone(access(broker))
    publish(broker.port, numbered(0, 30))
    outlet = Outlet()
    with Running(access(broker), outlet, idle_s=0.5) as running:
        assert running.join().acknowledged == 30
    assert values(outlet) == [value for _, value in numbered(0, 30)]


@pytest.mark.peers
def test_a_member_that_leaves_takes_what_is_its_own_and_gets_nothing_more(broker: Mosquitto) -> None:
    members, outlets = [access(broker, "one"), access(broker, "two")], [Outlet(), Outlet()]
    for member in members:
        gone(member)
    publish(broker.port, numbered(0, 20))
    with Running(members[0], outlets[0], idle_s=0.5, leave=True) as running:
        joined(running)
        publish(broker.port, numbered(20, 30))
        assert 0 < running.join().acknowledged < 20
    assert max(values(outlets[0])) < b"0020"
    with Running(members[1], outlets[1], idle_s=0.5) as running:
        running.join()
    assert sorted(values(*outlets)) == [value for _, value in numbered(0, 30)]
    with Running(members[0], Outlet(), idle_s=0.5) as running:
        assert running.join() == Counts()


@pytest.mark.peers
def test_retained_messages_are_copied_once_a_session(broker: Mosquitto) -> None:
    publish(broker.port, [("devices/a", b"before")], retain=True)
    outlets = [Outlet(), Outlet()]
    for outlet in outlets:
        with Running(access(broker), outlet, idle_s=0.5) as running:
            running.join()
    assert [values(outlet) for outlet in outlets] == [[b"before"], []]


@pytest.mark.peers
def test_messages_of_qos_0_are_copied_while_there_is_room(broker: Mosquitto) -> None:
    outlet = Outlet(holds=True)
    with Running(access(broker, receive_maximum=3), outlet, patience_s=0.2) as running:
        joined(running)
        publish(broker.port, numbered(0, 5), qos=0)
        wait_until(lambda: running.counts.received == 5, "not all came")
        outlet.report(0, 1, 2)
        wait_until(lambda: running.counts.delivered == 3, "no report was heard")
        assert running.stop() == Counts(received=5, delivered=3, dropped=2)


@pytest.mark.peers
def test_devices_of_qos_2_are_served_too(broker: Mosquitto) -> None:
    outlet = Outlet()
    with Running(access(broker), outlet) as running:
        joined(running)
        publish(broker.port, numbered(0, 5), qos=2)
        wait_until(lambda: running.counts.acknowledged == 5, "not all came")
    assert values(outlet) == [value for _, value in numbered(0, 5)]


def test_a_broker_that_is_away_is_said_in_bounded_time() -> None:
    nobody = MqttAccess(url="mqtt://127.0.0.1:1", topic="devices/#", client_id="one")
    with Running(nobody, Outlet(), patience_s=0.3) as running, pytest.raises(ServiceUnreachable) as found:
        running.join()
    assert str(found.value).startswith("MQTT broker at 127.0.0.1:1 cannot be reached: ")
    assert str(found.value).endswith("; start it or correct --url")


@pytest.mark.peers
def test_a_broker_that_starts_within_our_patience_is_found(tmp_path: Path) -> None:
    needs_mosquitto()
    broker = Mosquitto(tmp_path)
    with Running(access(broker), Outlet()) as running, broker:
        joined(running)
        running.stop()
    assert running.said == [
        f"$share/quotaloop/devices/# of MQTT broker at 127.0.0.1:{broker.port} goes into topic events of Kafka"
    ]


@pytest.mark.peers
def test_a_password_lets_us_in_and_a_wrong_one_is_said_at_once_and_nowhere_written(tmp_path: Path) -> None:
    needs_mosquitto()
    users = tmp_path / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "bridge", PASSWORD], check=True)
    with Mosquitto(tmp_path, ["allow_anonymous false", f"password_file {users}"]) as broker:
        with Running(access(broker, username="bridge", password=PASSWORD), Outlet()) as running:
            joined(running).stop()
        for wrong in ({"username": "bridge", "password": f"{PASSWORD}-2"}, {}):
            with Running(access(broker, **wrong), Outlet()) as running, pytest.raises(ServiceUnreachable) as found:
                running.join()
            place = f"MQTT broker at 127.0.0.1:{broker.port}"
            assert str(found.value) == (
                f"{place} does not let us in (Not authorized): correct --username and the password"
            )
    assert PASSWORD not in repr(access(broker, username="bridge", password=PASSWORD))


@pytest.mark.peers
def test_messages_come_over_tls_and_a_broker_that_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    needs_mosquitto()
    ours, others = Certificates(tmp_path / "ours"), Certificates(tmp_path / "others")
    lines = ["allow_anonymous true", f"cafile {ours.ca}", f"certfile {ours.server}", f"keyfile {ours.server_key}"]
    with Mosquitto(tmp_path, [*lines, "require_certificate true"]) as broker:
        url = broker.url.replace("mqtt://", "mqtts://")
        right = replace(access(broker), url=url, ca=str(ours.ca), cert=str(ours.client), key=str(ours.client_key))
        with Running(right, Outlet()) as running:
            joined(running).stop()
        wrong = replace(right, ca=str(others.ca))
        with Running(wrong, Outlet()) as running, pytest.raises(ServiceUnreachable, match=r"is not trusted .*--ca"):
            running.join()
        for refused in (replace(right, cert="", key=""), access(broker)):
            short = Running(refused, Outlet(), patience_s=0.3)
            with short, pytest.raises(ServiceUnreachable, match="cannot be reached"):
                short.join()


@pytest.mark.peers
def test_a_subscription_that_is_refused_is_an_error(tmp_path: Path) -> None:
    needs_mosquitto()
    plugins = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
    if not plugins:
        pytest.skip("this mosquitto has no plugin that refuses subscriptions")
    rules = tmp_path / "rules.json"
    subprocess.run(["mosquitto_ctrl", "dynsec", "init", rules, "bridge", PASSWORD], check=True, capture_output=True)
    found = json.loads(rules.read_text())
    found["roles"][0]["acls"] = []
    rules.write_text(json.dumps(found))
    lines = ["allow_anonymous false", f"plugin {plugins[0]}", f"plugin_opt_config_file {rules}"]
    with Mosquitto(tmp_path, lines) as broker:
        member = access(broker, username="bridge", password=PASSWORD)
        with Running(member, Outlet()) as running, pytest.raises(ServiceUnreachable) as raised:
            running.join()
    assert str(raised.value).endswith(
        "refuses the subscription $share/quotaloop/devices/# (Not authorized): may we read it?"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "http://h"},
        {"url": "mqtt://"},
        {"url": "mqtt://h:x"},
        {"url": "mqtt://h/path"},
        {"url": f"mqtt://user:{PASSWORD}@h"},
        {"topic": "a/#/b"},
        {"topic": "$share/g/a"},
        {"group": "a/b"},
        {"client_id": ""},
        {"password": PASSWORD},
        {"url": "mqtts://h", "cert": "c.pem"},
        {"ca": "ca.pem"},
        {"receive_maximum": 0},
        {"receive_maximum": 65_536},
    ],
)
def test_what_cannot_be_is_a_wrong_call_without_the_password(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"url": "mqtt://h", "topic": "a/#", "client_id": "one"}
    with pytest.raises(UsageError) as found:
        MqttAccess(**right | wrong)
    assert PASSWORD not in str(found.value)


def test_certificates_that_cannot_be_read_are_a_wrong_call(tmp_path: Path) -> None:
    member = MqttAccess(url="mqtts://h", topic="a", client_id="one", ca=str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match=r"none\.pem cannot be read"):
        member.client()


def test_ports_are_those_of_mqtt_and_ipv6_is_in_brackets() -> None:
    places = {"mqtt://h": "h:1883", "mqtts://h": "h:8883", "mqtt://[::1]:7": "[::1]:7"}
    for url, place in places.items():
        assert MqttAccess(url=url, topic="a", client_id="one").place == place
