"""One range: what is waited for, and what a landing finds that comes too late."""

from __future__ import annotations

import gzip
import time

import pytest
from confluent_kafka import KafkaError, Message

from quotaloop.errors import CheckRefused, ServiceUnreachable
from quotaloop.raw import lost
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.broker import Topic
from quotaloop.raw.kafka.copy import Copied, Source, copy
from quotaloop.raw.ranges import Range, landed
from quotaloop.raw.record import decode
from quotaloop.storage.local import LocalStore
from tests.raw.kafka.memory import NOW, Memory, problem, produce

ITEM = Range("t", 0, 0, 10)


def source(*, accept_lost: bool = False, patience_s: float = 0.3) -> Source:
    return Source(Access("b:1", patience_s=patience_s), Topic("t", "c", "1", (0,)), accept_lost, NOW)


def test_a_range_that_has_landed_is_not_asked_for(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10)
    kept.low = 10
    store.write_if_absent(ITEM.path, b"landed")
    advanced: list[int] = []
    assert copy(store, source(), ITEM, advanced.append) == Copied(ITEM, 0, 0)
    assert (advanced, memory.looks) == ([10], 0)


def test_a_range_ends_where_it_ends_though_there_is_more(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"%d" % number for number in range(2_000)])
    item = Range("t", 0, 2, 5)
    assert copy(store, source(), item).lines == 3
    lines = gzip.decompress(store.read(item.path)).splitlines()
    assert [(decode(line).offset, decode(line).value) for line in lines] == [(2, b"2"), (3, b"3"), (4, b"4")]


@pytest.mark.parametrize("without", [(), (3,), (0, 9), (1, 2, 3, 4, 5, 6, 7, 8)])
def test_lines_have_the_offsets_of_their_records_though_some_offsets_have_none(
    store: LocalStore, memory: Memory, without: tuple[int, ...]
) -> None:
    (kept,) = memory.make("t").values()
    for offset in range(10):
        if offset in without:
            kept.records.append(None)
        else:
            produce(kept, b"%d" % offset)
    copy(store, source(), ITEM)
    lines = gzip.decompress(store.read(ITEM.path)).splitlines()
    found = [(decode(line).offset, decode(line).value) for line in lines]
    assert found == [(offset, b"%d" % offset) for offset in range(10) if offset not in without]


def test_a_range_that_lands_elsewhere_and_is_deleted_meanwhile_is_not_refused(
    store: LocalStore, memory: Memory
) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10)

    def landed_and_deleted() -> list[Message]:
        store.write_if_absent(ITEM.path, b"landed")
        kept.low = 10
        return []

    memory.before = landed_and_deleted
    assert copy(store, source(), ITEM) == Copied(ITEM, 0, 0)
    assert store.read(ITEM.path) == b"landed"


def test_a_range_that_was_deleted_and_never_landed_is_refused(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10)
    kept.low = 4
    with pytest.raises(CheckRefused, match="offsets 0 to 4 of t/0 were deleted"):
        copy(store, source(), ITEM)
    assert (landed(store, "t"), lost.losses(store, "t")) == ([], [])


def test_the_note_says_all_that_was_lost_though_a_landing_died_that_lost_less(
    store: LocalStore, memory: Memory
) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10, at=NOW - 5)
    lost.note(store, lost.Lost(Range("t", 0, 0, 4), "lost", NOW - 9, NOW - 7))  # it died before it committed
    kept.low = 7
    assert copy(store, source(accept_lost=True), ITEM) == Copied(ITEM, 3, 60, 7)
    assert lost.losses(store, "t") == [lost.Lost(Range("t", 0, 0, 7), "lost", NOW, NOW - 5)]


def test_errors_that_pass_do_not_prolong_the_patience(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10)
    kept.stable = 5
    memory.before = lambda: [problem(KafkaError._ALL_BROKERS_DOWN)]
    begun = time.monotonic()
    with pytest.raises(ServiceUnreachable, match="nothing came of t/0/0-10"):
        copy(store, source(), ITEM)
    assert time.monotonic() - begun < 5


def test_errors_that_pass_do_no_harm_while_records_come(store: LocalStore, memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[b"x"] * 10)
    memory.before = lambda: [problem(KafkaError._TRANSPORT)]
    assert copy(store, source(), ITEM).lines == 10
