"""Lanes and boots: no two writers share numbers, and each boot says where the one before ended."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.lane import Lane
from tests.edge.emitter.lines import before, event, landed, missing, stamps, wait_until
from tests.edge.emitter.outboxes import Away, Make


def test_two_emitters_of_one_folder_take_two_lanes(emitter: Make, tmp_path: Path, outbox: Path) -> None:
    one, two = emitter(), emitter()
    for number in range(4):
        (one if number % 2 else two).write(event(number))
    lanes = sorted(path.name for path in (tmp_path / "spool").iterdir())
    assert lanes == ["lane-0", "lane-1"]
    assert one.flush(10)
    assert two.flush(10)
    events = landed(outbox)
    assert sorted(stamps(events)) == [1, 1, 2, 2]
    assert len({each.boot for each in events}) == 2
    assert missing(events) == {}


def is_free(lane: Path) -> bool:
    """Could a process take the lane now?"""
    with open(lane / "lock", "rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_a_lane_that_was_left_is_free_also_while_a_child_has_its_lock_open(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    of_child, lane = os.dup(lock), Lane(tmp_path, lock)
    assert not is_free(tmp_path)
    lane.close()
    assert is_free(tmp_path)
    os.close(of_child)


def test_a_lane_that_nobody_holds_any_more_is_sent_by_another(emitter: Make, tmp_path: Path, outbox: Path) -> None:
    stays = emitter(segment_ms=60_000, adopt_ms=20)
    leaves = emitter(outlet=Away(outbox))
    for number in range(3):
        leaves.write(event(number))
    stays.write(event(9))
    assert landed(outbox) == []
    leaves.close(0.1)
    wait_until(lambda: len(landed(outbox)) == 3)
    wait_until(lambda: is_free(tmp_path / "spool" / "lane-1"))
    third = emitter()  # takes that lane, where the boot is known
    third.write(event(4))
    assert third.flush(10)
    events = landed(outbox)
    assert stamps(events) == [1, 2, 3, 1]
    assert before(events[3]) == (events[0].boot, 3)


def test_the_boot_before_is_named_until_an_event_is_acknowledged(emitter: Make, outbox: Path) -> None:
    first = emitter()
    for number in range(3):
        first.write(event(number))
    first.close()
    boot = landed(outbox)[0].boot
    second = emitter(segment_ms=60_000)
    second.write(event(4))
    second.write(event(5))
    assert second.flush(10)
    wait_until(lambda: second.counts.acknowledged == 2)
    second.write(event(6))
    assert second.flush(10)
    later = landed(outbox)[3:]
    assert stamps(later) == [1, 2, 3]
    assert [before(one) for one in later] == [(boot, 3), (boot, 3), (None, None)]


def test_a_boot_that_wrote_nothing_is_nobodys_boot_before(emitter: Make, outbox: Path) -> None:
    first = emitter()
    first.write(event())
    first.close()
    emitter().close()
    third = emitter()
    third.write(event())
    third.close()
    one, two = landed(outbox)
    assert before(two) == (one.boot, 1)
    assert missing([one, two]) == {}


def test_a_boot_that_was_killed_before_it_wrote_is_nobodys_boot_before(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    first = emitter()
    first.write(event())
    first.close()
    (tmp_path / "spool" / "lane-0" / "9000000000000-0123abcd.seq").write_bytes(bytes(8))
    second = emitter()
    second.write(event())
    second.close()
    one, two = landed(outbox)
    assert before(two) == (one.boot, 1)
    assert str(two.boot)[:13] == "9000000000001"


def test_a_clock_that_was_set_back_makes_no_boot_older_than_the_one_before(
    emitter: Make, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now_s in (2_000_000_000.0, 1_000_000_000.0, 1_000_000_000.5):
        monkeypatch.setattr("time.time", lambda now_s=now_s: now_s)
        gateway = emitter()
        gateway.write(event())
        gateway.close()
    one, two, three = landed(outbox)
    assert [str(boot.boot)[:13] for boot in (one, two, three)] == ["2000000000000", "2000000000001", "2000000000002"]
    assert [before(two), before(three)] == [(one.boot, 1), (two.boot, 1)]


def test_counters_of_boots_before_go_once_the_newest_is_acknowledged(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    for number in range(3):
        gateway = emitter()
        gateway.write(event(number))
        gateway.close()
    counters = [path.stem for path in (tmp_path / "spool" / "lane-0").glob("*.seq")]
    assert counters == [landed(outbox)[2].boot]


def killed(folder: Path, events: int, **options: Any) -> None:
    """A process that writes so many events and is killed before any has left."""
    child = os.fork()
    if child == 0:
        gateway = Emitter(
            folder / "spool", host="gw-1", outlet=FolderOutlet(folder / "outbox"), segment_ms=60_000, **options
        )
        for number in range(events):
            gateway.write(event(number))
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_boots_that_dropped_all_hide_no_tail_of_the_one_before_and_what_they_dropped_is_missing(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    killed(tmp_path, 3)
    (segment,) = (tmp_path / "spool" / "lane-0").glob("*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(lines[0])  # a disk has lost two of three
    killed(tmp_path, 500, max_bytes=10)
    killed(tmp_path, 20, max_bytes=10)
    killed(tmp_path, 0)
    gateway = emitter()
    gateway.write(event())
    gateway.close()
    one, last = landed(outbox)
    assert before(last) == (one.boot, 3)
    assert last.seq == 521
    assert missing([one, last]) == {one.boot: [2, 3], last.boot: list(range(1, 521))}
    after = emitter()
    after.write(event())
    after.close()
    assert [(one.seq, before(one)) for one in landed(outbox)[2:]] == [(1, (last.boot, 521))]


def test_a_boot_without_a_boot_before_shows_what_others_dropped(emitter: Make, tmp_path: Path, outbox: Path) -> None:
    killed(tmp_path, 4, max_bytes=10)
    emitter().close()
    assert len(list((tmp_path / "spool" / "lane-0").glob("*.seq"))) == 1
    gateway = emitter()
    gateway.write(event())
    gateway.close()
    (one,) = landed(outbox)
    assert (one.seq, before(one)) == (5, (None, None))


def test_a_boot_that_was_killed_before_its_counter_told_of_its_line_is_named_by_the_line(
    emitter: Make, tmp_path: Path, outbox: Path
) -> None:
    killed(tmp_path, 1)
    (counter,) = (tmp_path / "spool" / "lane-0").glob("*.seq")
    assert counter.read_bytes() == (1).to_bytes(8, "little")
    counter.write_bytes((-1).to_bytes(8, "little", signed=True))
    gateway = emitter()
    gateway.write(event())
    gateway.close()
    one, two = landed(outbox)
    assert (two.seq, before(two)) == (1, (one.boot, 1))
