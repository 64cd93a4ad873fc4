"""What a landing makes of what brokers say: what is claimed, closed, refused and given up."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jobs.ingest.land import end_kafka, land
from jobs.work import Work
from quotaloop.errors import CheckRefused, ServiceUnreachable, UsageError
from quotaloop.raw import lost
from quotaloop.raw.kafka import landing
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Topic
from quotaloop.raw.kafka.claims import chain, claim
from quotaloop.raw.kafka.copy import copy
from quotaloop.raw.kafka.landing import Landed, Order, find_topic, land_topic
from quotaloop.raw.kafka.plan import Sizes
from quotaloop.raw.kafka.problems import unreachable
from quotaloop.raw.ranges import Range, check_tiling, landed
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore
from tests.raw.kafka.memory import NOW, Memory, produce

HOUR = 3_600_000
GRACE = 70 * 60_000


def land_once(
    store: LocalStore, topic: str = "t", *, accept_lost: bool = False, recreated: bool = False, now_ms: int = NOW
) -> Landed:
    source = replace(find_topic(Access("b:1", patience_s=1), topic), accept_lost=accept_lost, now_ms=now_ms)
    order = Order(sizes=Sizes(1_000, 0), grace_ms=GRACE, now_ms=now_ms, recreated=recreated)
    return land_topic(store, source, order, lambda where, what, items: [copy(where, what, item) for item in items])


def spans(store: LocalStore, topic: str = "t") -> list[tuple[int, int, int]]:
    found = landed(store, topic)
    check_tiling(found)
    return [(item.partition, item.start, item.end) for item in found]


def lines(store: LocalStore, topic: str = "t") -> list[bytes]:
    return b"".join(gzip.decompress(store.read(item.path)) for item in landed(store, topic)).splitlines()


def closings(store: LocalStore, topic: str = "t") -> list[dict[str, object]]:
    return [json.loads(store.read(info.path)) for info in store.files(f"raw/{topic}/_closed")]


@pytest.mark.parametrize(
    ("other_end", "gone"), [(15, [(12, 15), (15, 20)]), (22, [(12, 20)])], ids=["shorter", "beyond what is lost"]
)
def test_what_is_lost_is_landed_in_one_chain_with_what_another_landing_claims_meanwhile(
    store: LocalStore,
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    other_end: int,
    gone: list[tuple[int, int]],
) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 12)
    land_once(store)
    produce(kept, *[b"x"] * 12)
    kept.low = 20
    look = landing._look

    def look_and_sleep(*given: Any) -> Any:
        found = look(*given)
        list(claim(store, [Range("t", 0, 12, other_end)], "kafka", 1))
        return found

    monkeypatch.setattr(landing, "_look", look_and_sleep)
    land_once(store, accept_lost=True)
    assert spans(store) == [(0, 0, 12), (0, 12, other_end), (0, other_end, 24)]
    assert lines(store)[12:] == [b"%d\t%d\t.\tx" % (offset, NOW) for offset in range(20, 24)]
    assert [(item.range.start, item.range.end) for item in lost.losses(store, "t")] == gone


def test_what_is_lost_is_a_claim_of_its_own_where_nobody_else_claims(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, b"x")
    land_once(store)
    produce(kept, *[b"x"] * 5)
    kept.low = 4
    done = land_once(store, accept_lost=True)
    assert done.said == ["3 offsets of t/0/1-4 were lost"]
    assert spans(store) == [(0, 0, 1), (0, 1, 4), (0, 4, 6)]
    sources = [json.loads(store.read(Range("t", 0, start, 0).claim_path))["source"] for start in (0, 1, 4)]
    assert sources == ["kafka", "lost", "kafka"]
    assert lost.losses(store, "t") == [lost.Lost(Range("t", 0, 1, 4), "lost", NOW, NOW)]


def test_hours_are_closed_up_to_the_look_where_everything_has_landed(store: LocalStore, memory: Memory) -> None:
    one, two = memory.make("t", 2).values()
    produce(one, b"a", b"b", at=NOW - 9 * HOUR)
    produce(two, b"c", at=NOW - 5 * HOUR)
    done = land_once(store, now_ms=NOW)
    assert (done.watermark_ms, done.ends, done.waiting) == (NOW, {0: 2, 1: 1}, {})
    bound = (NOW - GRACE) // HOUR * HOUR
    record = {"closed_before": bound, "looked_at_ms": NOW, "watermark_ms": NOW, "ends": {"0": 2, "1": 1}}
    assert closings(store) == [record]


def test_an_open_transaction_closes_hours_up_to_its_first_record_alone(store: LocalStore, memory: Memory) -> None:
    one, two = memory.make("t", 2).values()
    produce(one, b"a", at=NOW)
    produce(two, b"b", at=NOW - 9 * HOUR)
    produce(two, b"c", b"d", at=NOW - 5 * HOUR)
    two.stable = 1
    marks = []
    for _ in range(2):  # the second does not look at what the first has landed
        done = land_once(store)
        assert (done.ends, done.waiting) == ({0: 1, 1: 1}, {1: 2})
        marks.append(done.watermark_ms)
    assert marks == [NOW - 9 * HOUR, NOW - 5 * HOUR]
    assert [(record["closed_before"], record["watermark_ms"], record["ends"]) for record in closings(store)] == [
        ((mark - GRACE) // HOUR * HOUR, mark, {"0": 1, "1": 1}) for mark in marks
    ]


def test_open_records_whose_time_is_ahead_close_nothing(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, b"a", at=NOW + HOUR)
    kept.stable = 0
    assert land_once(store).watermark_ms is None
    assert closings(store) == []


def test_all_partitions_that_are_refused_are_named_in_one_line(store: LocalStore, memory: Memory) -> None:
    partitions = memory.make("t", 4)
    for kept in partitions.values():
        produce(kept, *[b"x"] * 3)
    land_once(store)
    for kept in partitions.values():
        produce(kept, *[b"x"] * 3)
    partitions[0].low, partitions[2].low = 5, 6
    del partitions[3].records[1:]
    with pytest.raises(CheckRefused) as said:
        land_once(store)
    assert str(said.value) == (
        "lost: offsets 3 to 5 of t/0, 3 to 6 of t/2 were deleted before they could be landed; to go on without them: "
        "quotaloop land kafka --topic t --accept-lost; "
        "offsets run backwards: 2 offsets from 1 to 3 of t/3 have landed, and the brokers end before them; to go on "
        "with another beginning: quotaloop land kafka --topic t --recreated"
    )
    assert chain(store, "t").landed == {0: 3, 1: 6, 2: 3, 3: 3}


@pytest.mark.parametrize("topic_id", ["2", "1"], ids=["made again", "backwards"])
def test_what_a_topic_owes_that_was_made_again_lands_without_lines(
    store: LocalStore, memory: Memory, topic_id: str
) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 3)
    land_once(store)
    claimed = [Range("t", 0, 3, 6), Range("t", 0, 6, 9)]
    list(claim(store, claimed, "kafka", 1))
    (kept,) = memory.make("t", topic_id=topic_id).values()
    produce(kept, b"y", b"y")
    with pytest.raises(CheckRefused):
        land_once(store)
    done = land_once(store, recreated=True)
    assert done.topic == "t@2"
    assert done.said == ["3 offsets of t/0/3-6 were lost", "3 offsets of t/0/6-9 were lost"]
    assert (spans(store), chain(store, "t").owed) == ([(0, 0, 3), (0, 3, 6), (0, 6, 9)], [])
    assert lost.losses(store, "t") == [lost.Lost(item, "recreated", NOW) for item in claimed]
    assert (len(lines(store)), len(lines(store, "t@2"))) == (3, 2)


def test_what_a_landing_claimed_of_the_old_topic_at_last_is_completed_by_the_next(
    store: LocalStore, memory: Memory
) -> None:
    memory.make("t")
    land_once(store)
    memory.make("t", topic_id="2")
    land_once(store, recreated=True)
    list(claim(store, [Range("t", 0, 0, 5)], "kafka", 1))  # of a landing that slept
    assert land_once(store).said == ["5 offsets of t/0/0-5 were lost"]
    assert spans(store) == [(0, 0, 5)]


def test_every_topic_is_landed_before_the_first_that_was_refused_is_said(tmp_path: Path, memory: Memory) -> None:
    settings = Settings(store=str(tmp_path / "store"), kafka_brokers="b:1", kafka_topics="a,b,none,c", land_after=0)
    for name in "abc":
        (kept,) = memory.make(name).values()
        produce(kept, b"x")
    work = Work(settings)
    with pytest.raises(UsageError, match="no topic none"):
        land(work)
    memory.topics["a"][0].records.clear()
    for name in "bc":
        produce(memory.topics[name][0], b"y")
    with pytest.raises(CheckRefused, match=r"backwards.* a/0 "):
        land(work)
    assert [spans(LocalStore(tmp_path / "store"), name) for name in "abc"] == [
        [(0, 0, 1)],
        [(0, 0, 1), (0, 1, 2)],
        [(0, 0, 1), (0, 1, 2)],
    ]


def test_a_name_that_only_the_store_knows_is_a_wrong_call(memory: Memory) -> None:
    with pytest.raises(UsageError, match=r"--topic t$"):
        find_topic(Access("b:1"), "t@2")
    assert memory.looks == 0


def test_a_topic_that_has_ended_may_be_gone(tmp_path: Path, memory: Memory) -> None:
    work = Work(Settings(store=str(tmp_path / "store"), kafka_brokers="b:1", kafka_topics="a,b", land_after=0))
    for name in "ab":
        produce(memory.make(name)[0], b"x")
    land(work)
    del memory.topics["a"]
    with pytest.raises(UsageError, match="no topic a"):
        land(work)
    end_kafka(work, "a")
    produce(memory.topics["b"][0], b"y")
    assert [landed.topic for landed in land(work)] == ["b"]


def test_nothing_more_is_asked_of_brokers_that_do_not_answer(
    tmp_path: Path, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def silent(broker: Any, name: str) -> Topic:
        asked.append(name)
        raise unreachable(broker.access, "no answer in time")

    monkeypatch.setattr(type(memory.broker(None)), "topic", silent)
    with pytest.raises(ServiceUnreachable):
        land(Work(Settings(store=str(tmp_path / "store"), kafka_brokers="b:1", kafka_topics="a,b")))
    assert asked == ["a"]


def test_it_is_said_where_no_hour_closes(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, b"x", at=NOW + 1)
    kept.stable = 0
    found = land_once(store)
    assert (found.watermark_ms, [line.partition(":")[0] for line in found.said]) == (None, ["no hour of t closes"])
