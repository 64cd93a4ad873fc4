"""A topic ends by the operator's word: when nothing of it waits, or when Kafka does not have it any more."""

from __future__ import annotations

import json

import pytest

from quotaloop.raw import closing, lost
from quotaloop.raw.kafka import broker, landing
from quotaloop.raw.kafka.claims import claim
from quotaloop.raw.ranges import Range, landed
from quotaloop.storage.local import LocalStore
from tests.raw.kafka.conftest import Call
from tests.raw.kafka.memory import Memory, produce


@pytest.fixture
def topic(memory: Memory, call: Call) -> str:
    """One that has landed 3 offsets, and has nothing more."""
    (kept,) = memory.make("t").values()
    produce(kept, b"a", b"b", b"c")
    assert call("--topic", "t")[0] == 0
    return "t"


def ended(store: LocalStore) -> dict[str, int] | None:
    path = "raw/t/_ended.json"
    found: dict[str, int] | None = json.loads(store.read(path))["ends"] if store.exists(path) else None
    return found


def test_a_topic_that_has_ended_holds_no_hour_open(store: LocalStore, memory: Memory, topic: str, call: Call) -> None:
    produce(memory.topics[topic][0], b"d")
    assert closing.open_topics(store) == [topic]
    code, out, _ = call("--topic", topic, "--ended")
    assert (code, out) == (0, "t: 1 lines in 1 ranges\n")
    assert (closing.open_topics(store), ended(store)) == ([], {"0": 4})


def test_a_topic_of_which_something_waits_has_not_ended(
    store: LocalStore, memory: Memory, topic: str, call: Call
) -> None:
    kept = memory.topics[topic][0]
    produce(kept, b"d", b"e", b"f")
    kept.stable = 4
    code, out, err = call("--topic", topic, "--ended")
    assert (code, out) == (3, "")
    assert err.splitlines()[-1].startswith("quotaloop: t has not ended: offsets wait in open transactions, 2 of t/0;")
    assert ended(store) is None
    kept.stable = None
    assert call("--topic", topic, "--ended")[0] == 0
    assert ended(store) == {"0": 6}


def test_a_topic_that_kafka_does_not_have_any_more_ends_with_what_has_landed(
    store: LocalStore, memory: Memory, topic: str, call: Call
) -> None:
    del memory.topics[topic]
    assert call("--topic", topic)[0] == 2
    code, out, _ = call("--topic", topic, "--ended")
    said = "t has ended with what has landed, up to offset 3 of partition 0: Kafka has no topic t"
    assert (code, out) == (0, f"nothing new to land\n{said}\n")
    assert (ended(store), closing.open_topics(store)) == ({"0": 3}, [])


@pytest.mark.parametrize("brokers", ["127.0.0.1:1", ""], ids=["brokers that are gone", "no brokers"])
def test_a_topic_ends_without_brokers_by_another_word_alone(
    store: LocalStore, topic: str, call: Call, monkeypatch: pytest.MonkeyPatch, brokers: str
) -> None:
    monkeypatch.setattr(landing, "Broker", broker.Broker)
    monkeypatch.setenv("QUOTALOOP_KAFKA_BROKERS", brokers)
    for words in ((), ("--ended",)):
        assert call("--topic", topic, *words)[0] == (5 if brokers else 2)
    assert ended(store) is None
    code, out, _ = call("--topic", topic, "--ended", "--accept-lost")
    assert (code, out.count("\n")) == (0, 2)
    assert ended(store) == {"0": 3}


def test_a_topic_does_not_end_because_another_cluster_does_not_have_it(
    store: LocalStore, memory: Memory, topic: str, call: Call
) -> None:
    memory.cluster = "other"
    del memory.topics[topic]
    assert call("--topic", topic, "--ended")[0] == 2
    assert ended(store) is None


def test_a_topic_that_never_landed_has_no_end(store: LocalStore, memory: Memory, call: Call) -> None:
    assert memory.topics == {}
    assert call("--topic", "t", "--ended")[0] == 2
    assert call("--topic", "t@2", "--ended")[0] == 2
    assert list(store.files("raw")) == []


def test_what_was_claimed_and_cannot_come_is_given_up_by_another_word(
    store: LocalStore, memory: Memory, topic: str, call: Call
) -> None:
    list(claim(store, [Range("t", 0, 3, 7)], "kafka", 1))
    del memory.topics[topic]
    code, _, err = call("--topic", topic, "--ended")
    assert code == 3
    assert "lost: t/0/3-7 were claimed" in err
    assert err.endswith("land kafka --topic t --ended --accept-lost\n")
    assert ended(store) is None
    assert call("--topic", topic, "--ended", "--accept-lost")[0] == 0
    assert ended(store) == {"0": 7}
    assert landed(store, "t")[-1] == Range("t", 0, 3, 7)
    assert [(one.range, one.reason) for one in lost.losses(store, "t")] == [(Range("t", 0, 3, 7), "ended")]
