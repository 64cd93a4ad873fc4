"""What cannot be written fails no request, and is shown to be missing."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from quotaloop.edge.emitter.segment import Segment, mend
from tests.edge.emitter.lines import before, event, landed, missing, sized, stamps
from tests.edge.emitter.outboxes import Away, Make


def test_an_event_for_which_the_spool_has_no_room_is_counted_and_shown_to_be_missing(
    emitter: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outlet = Away(tmp_path / "outbox")
    gateway = emitter(outlet=outlet, max_bytes=1_000)
    with caplog.at_level(logging.WARNING, "quotaloop.edge.emitter.emitter"):
        for number in range(10):
            gateway.write(event(number))
    written = gateway.counts.written
    assert 3 <= written <= 5  # 1,000 bytes hold as many lines of a little more than 200
    assert gateway.counts.dropped == 10 - written
    assert gateway.waiting_bytes <= 1_000
    assert [record.message for record in caplog.records if record.name.endswith(".emitter")] == [
        "an event was dropped: the spool is full"
    ]
    outlet.is_away = False
    assert gateway.flush(20)
    gateway.write(event(11))
    assert gateway.flush(20)
    events = landed(tmp_path / "outbox")
    assert stamps(events) == [*range(1, written + 1), 11]
    assert missing(events) == {events[0].boot: list(range(written + 1, 11))}


def test_what_was_dropped_last_is_shown_by_the_next_boot(emitter: Make, outbox: Path) -> None:
    first = emitter(outlet=Away(outbox), max_bytes=300)
    for number in range(7):
        first.write(event(number))
    first.close(0.1)
    assert (first.counts.written, first.counts.dropped) == (1, 6)
    second = emitter()
    second.write(event(8))
    second.close()
    events = landed(outbox)
    assert missing(events) == {events[0].boot: [2, 3, 4, 5, 6, 7]}


def test_an_event_is_65536_bytes_at_most_and_one_that_is_larger_is_missing(emitter: Make, outbox: Path) -> None:
    gateway = emitter()
    gateway.write(event())
    gateway.flush(10)
    (line,) = [file.read_bytes() for file in outbox.iterdir()]
    stamp = len(line) - 1 - len(line.partition(b',"host"')[0]) - 1  # what a stamp adds
    gateway.write(sized(65_536 - stamp))
    gateway.write(sized(65_537 - stamp))
    gateway.write(event())
    assert gateway.flush(10)
    lengths = [len(line) for file in sorted(outbox.iterdir()) for line in file.read_bytes().splitlines()]
    assert max(lengths) == 65_536
    assert (gateway.counts.written, gateway.counts.dropped) == (3, 1)
    assert list(missing(landed(outbox)).values()) == [[3]]


@pytest.mark.parametrize("bad", [{"x": object()}, {"x": "\ud800"}, {"x": {1j: 2}}, {}])
def test_what_is_no_json_fails_no_request_and_is_missing(emitter: Make, outbox: Path, bad: dict[str, Any]) -> None:
    gateway = emitter()
    for one in (event(), bad, event()):
        gateway.write(one)
    assert gateway.flush(10)
    assert list(missing(landed(outbox)).values()) == [[2]]
    assert gateway.counts.dropped == 1


def test_a_disk_that_refuses_a_line_drops_it_and_takes_back_the_half_it_took(
    emitter: Make, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, write = emitter(segment_ms=60_000), os.write
    gateway.write(event(1))
    calls = []

    def half(handle: int, line: bytes) -> int:
        calls.append(line)
        if len(calls) == 1:
            return write(handle, line[:40])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("quotaloop.edge.emitter.spool.os.write", half)
    gateway.write(event(2))
    monkeypatch.undo()
    gateway.write(event(3))
    assert [len(line) - len(calls[1]) for line in calls] == [40, 0]
    assert gateway.flush(10)
    events = landed(outbox)
    assert [one.event_id for one in events] == ["e-1", "e-3"]
    assert (gateway.counts.dropped, list(missing(events).values())) == (1, [[2]])


def test_a_line_that_is_written_in_two_parts_is_whole(
    emitter: Make, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, write = emitter(), os.write
    monkeypatch.setattr("quotaloop.edge.emitter.spool.os.write", lambda handle, line: write(handle, line[:150]))
    gateway.write(event(1))
    monkeypatch.undo()
    assert gateway.flush(10)
    assert [one.event_id for one in landed(outbox)] == ["e-1"]


def test_a_torn_last_line_is_not_sent_and_is_missing(
    emitter: Make, tmp_path: Path, outbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = emitter(outlet=Away(outbox))
    first.write(event(1))
    first.write(event(2))
    first.close(0.1)
    (segment,) = (tmp_path / "spool" / "lane-0").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes()[:-30])
    second = emitter()
    second.write(event(3))
    second.close()
    events = landed(outbox)
    assert [one.event_id for one in events] == ["e-1", "e-3"]
    assert missing(events) == {events[0].boot: [2]}
    assert all(file.read_bytes().endswith(b"}\n") for file in outbox.iterdir())
    assert [record.message for record in caplog.records if record.name.endswith(".lane")] == [
        "lane-0: 1 lines were torn when their writer was killed, and count as missing"
    ]


def test_a_counter_that_the_disk_has_lost_is_made_up_for_by_what_its_lines_show(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    first = emitter(outlet=Away(outbox))
    for number in range(4):
        first.write(event(number))
    first.close(0.1)
    (counter,) = (tmp_path / "spool" / "lane-0").glob("*.seq")
    counter.write_bytes(bytes(8))
    second = emitter()
    second.write(event(5))
    second.close()
    events = landed(outbox)
    assert before(events[4]) == (events[0].boot, 4)


def test_a_long_tail_of_nuls_that_a_power_cut_left_is_cut_off_and_the_lines_before_it_leave(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    first = emitter(outlet=Away(outbox))
    first.write(event(1))
    first.write(event(2))
    first.close(0.1)
    (segment,) = (tmp_path / "spool" / "lane-0").glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + bytes(200_000))
    emitter().close()
    assert [one.event_id for one in landed(outbox)] == ["e-1", "e-2"]
    assert all(file.read_bytes().endswith(b"}\n") for file in outbox.iterdir())


def test_a_segment_of_nuls_alone_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(bytes(200_000))
    segment = Segment(path, "gw-1", "boot", size=200_000)
    assert mend(segment) == 200_000
    assert (segment.size, path.stat().st_size) == (0, 0)
