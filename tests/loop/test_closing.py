"""Hours of Kafka topics: released once while they are open, counted twice when they close, and watched afterwards."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow.parquet as pq

from quotaloop.raw import closing
from quotaloop.raw.closing import Closing
from quotaloop.raw.kafka.claims import chain
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import Record, encode
from tests.loop.stores import DAY, HOUR, MINUTE, Event, Loop, assert_same, event

GRACE = 70 * MINUTE


def declare(loop: Loop, topic: str) -> None:
    """A topic that lands from Kafka."""
    loop.store.write_if_absent(f"raw/{topic}/_topic.json", json.dumps({"source": "kafka"}).encode())


def arrive(loop: Loop, topic: str, *events: Event, partition: int = 0) -> None:
    """A range of events, whose Kafka times are their own."""
    declare(loop, topic)
    start = chain(loop.store, topic).ends.get(partition, 0)
    item = Range(topic, partition, start, start + len(events))
    rows = [
        encode(Record(offset, one["ts"], json.dumps(one).encode())) for offset, one in enumerate(events, start=start)
    ]
    assert loop.store.write_if_absent(item.path, gzip.compress(b"".join(rows), 1, mtime=0))


def close(loop: Loop, topic: str, hours: int) -> None:
    """All that was written in the first ``hours`` of ``DAY`` has landed, as the topic stands now."""
    bound = DAY + hours * HOUR
    ends = chain(loop.store, topic).landed
    closing.close(loop.store, topic, Closing(bound, bound + GRACE, bound + GRACE, ends))


def many(name: str, hour: int, count: int = 20) -> list[Event]:
    """Events of one hour, some a minute."""
    return [event(f"{name}-{number}", hour * HOUR + number * 3 * MINUTE // 2) for number in range(count)]


def test_an_open_hour_is_released_once_and_moves_no_quota(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0), *many("b", 1))
    done = loop.run()
    assert done.released
    assert (loop.hours("once"), loop.hours("twice")) == ([0, 1], [])
    assert loop.release().open_hours == [DAY, DAY + HOUR]
    assert done.policy is None
    assert loop.ledger()["accepted"] == 40
    assert not loop.run().released


def test_an_hour_that_closes_is_counted_twice_without_being_built_again(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0), *many("b", 1))
    loop.run()
    before, files = loop.tables(), {entry.path for entry in loop.files("usage_hourly")}
    close(loop, "t", 1)
    assert loop.work().closing == {DAY}
    done = loop.run()
    assert done.released
    assert (loop.hours("once"), loop.hours("twice")) == ([1], [0])
    assert {entry.path for entry in loop.files("usage_hourly")} == files
    assert done.policy is not None
    after = loop.tables()
    assert_same(
        {name: rows for name, rows in after.items() if name != "ingest_ledger"},
        {name: rows for name, rows in before.items() if name != "ingest_ledger"},
    )
    close(loop, "t", 2)
    assert loop.run().released
    assert (loop.hours("once"), loop.hours("twice")) == ([], [0, 1])
    assert not loop.run().released


def test_hours_closed_one_by_one_are_as_hours_that_were_closed_at_once(loop: Loop, tmp_path: Path) -> None:
    another = Loop(tmp_path / "another")
    for number in range(3):
        arrive(loop, "t", *many(f"e{number}", number), event(f"early{number}", (number + 1) * HOUR))
        close(loop, "t", number)
        loop.run()
    close(loop, "t", 9)
    loop.run()
    for number in range(3):
        arrive(another, "t", *many(f"e{number}", number), event(f"early{number}", (number + 1) * HOUR))
    close(another, "t", 9)
    another.run()
    assert_same(loop.tables(), another.tables())
    assert loop.hours("twice") == another.hours("twice") == [0, 1, 2, 3]


def test_a_wrong_count_of_an_hour_that_closes_is_found(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0))
    loop.run()
    close(loop, "t", 1)
    (entry,) = loop.files("usage_hourly")
    path = loop.root / entry.path
    table = pq.read_table(path)
    pq.write_table(table.set_column(6, "requests", [[21]]), path)
    said = loop.call("run")
    assert said.code == 3
    assert "usage_hourly" in said.err


def test_events_that_come_after_their_hour_closed_are_counted_and_above_one_percent_keep_it_from_quotas(
    loop: Loop,
) -> None:
    arrive(loop, "t", *many("a", 0, 40), *many("b", 1, 40))
    close(loop, "t", 2)
    first = loop.run()
    assert first.derivation is not None
    assert first.derivation.unfit == {}
    arrive(loop, "t", event("late", 5 * MINUTE))
    second = loop.run()
    assert second.released
    assert loop.hours("twice") == [0, 1]
    assert loop.ledger()["accepted"] == 81
    assert second.derivation is not None
    assert second.derivation.unfit == {DAY: "late"}


def test_the_topic_that_lags_most_holds_the_hour_open(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0))
    declare(loop, "u")
    close(loop, "t", 5)
    loop.run()
    assert loop.hours("once") == [0]
    close(loop, "u", 1)
    loop.run()
    assert loop.hours("twice") == [0]


def test_a_range_that_lies_behind_one_that_was_claimed_and_has_not_landed_waits(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0, 3))
    hole = Range("t", 0, 3, 5)
    loop.store.write_if_absent(hole.claim_path, json.dumps({"end": 5, "source": "kafka", "time_ms": 1}).encode())
    arrive(loop, "t", *many("c", 0, 4))
    done = loop.run()
    assert done.unfinished == ("t: kafka",)
    assert loop.ledger()["lines"] == 3
    rows = [encode(Record(3 + number, DAY, json.dumps(one).encode())) for number, one in enumerate(many("b", 0, 2))]
    loop.store.write_if_absent(hole.path, gzip.compress(b"".join(rows), 1, mtime=0))
    loop.run()
    assert loop.ledger()["lines"] == 9


def test_a_range_without_lines_is_one_raw_file_of_nothing(loop: Loop) -> None:
    arrive(loop, "t", *many("a", 0, 3))
    lost = Range("t", 0, 3, 50)
    loop.store.write_if_absent(lost.path, gzip.compress(b"", 1, mtime=0))
    close(loop, "t", 5)
    assert loop.run().released
    assert loop.hours("twice") == [0]
    rows = loop.sql("SELECT start_offset, end_offset, lines, accepted FROM ingest_ledger ORDER BY 1")
    assert rows == [(0, 3, 3, 3), (3, 50, 0, 0)]
