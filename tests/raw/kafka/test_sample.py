"""How large and how old the next records are, and how long they are waited for."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import KafkaError

from quotaloop.errors import ServiceUnreachable
from quotaloop.raw.kafka.access import Access
from quotaloop.raw.kafka.plan import places
from quotaloop.raw.kafka.sample import Sample, samples
from tests.raw.kafka.memory import NOW, Memory, problem, produce

ACCESS = Access("b:1", patience_s=0.3)


def test_a_record_weighs_what_its_line_does_and_null_is_not_nothing(memory: Memory) -> None:
    one, two, _ = memory.make("t", 3).values()
    produce(one, None, None)
    produce(two, b"x" * 60, at=NOW - 5)
    produce(two, b"x" * 20, at=NOW + 5)
    found = samples(ACCESS, "t", {0: [0], 1: [0], 2: [0]})
    assert found == {0: Sample(40.0, NOW, NOW), 1: Sample(80.0, NOW - 5, NOW + 5)}


def test_what_is_larger_further_on_counts(memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, *[None] * 30_000)
    produce(kept, *[b"x" * 960] * 10_000, at=NOW - 9)
    assert samples(ACCESS, "t", {0: places(0, 40_000)}) == {0: Sample(1_000.0, NOW - 9, NOW)}


def test_offsets_without_a_record_weigh_nothing(memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    kept.records = [None] * 30 + [(NOW, b"x" * 60)] + [None] * 69
    assert samples(ACCESS, "t", {0: [0]}) == {0: Sample(1.0, NOW, NOW)}


def test_an_error_that_passes_is_waited_out(memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, b"x")
    memory.before = lambda: [problem(KafkaError._ALL_BROKERS_DOWN)]
    assert samples(ACCESS, "t", {0: [0]}) == {0: Sample(41.0, NOW, NOW)}


def test_an_error_of_no_partition_is_said_as_what_it_is(memory: Memory) -> None:
    (kept,) = memory.make("t").values()
    produce(kept, b"x")
    memory.before = lambda: [problem(KafkaError._AUTHENTICATION)]
    with pytest.raises(ServiceUnreachable, match="does not let us in"):
        samples(ACCESS, "t", {0: [0]})


def test_the_patience_is_from_one_record_to_the_next(memory: Memory) -> None:
    for kept in memory.make("t", 6).values():
        produce(kept, b"x")
    memory.is_slow = True
    memory.before = lambda: [time.sleep(0.1)][1:]
    assert len(samples(ACCESS, "t", {number: [0] for number in range(6)})) == 6


def test_records_that_do_not_come_are_not_waited_for_forever(memory: Memory) -> None:
    for kept in memory.make("t", 2).values():
        produce(kept, b"x")
    memory.before = lambda: [problem(KafkaError._TRANSPORT)]
    del memory.topics["t"][1]
    with pytest.raises(ServiceUnreachable, match="no records of t"):
        samples(ACCESS, "t", {0: [0], 1: [0]})
