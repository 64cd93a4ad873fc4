"""Processes that are killed or fork: what they wrote is there, and what they could not is shown to be missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from quotaloop.edge.emitter.boot import last_number
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.kafka import KafkaOutlet
from quotaloop.edge.emitter.outlet import Outlet
from quotaloop.raw.kafka.access import Access
from tests.edge.emitter.lines import before, event, landed, missing, spooled, stamps, wait_until

WRITER = """
import sys
import threading
from itertools import count
from pathlib import Path
from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from tests.edge.emitter.lines import event
folder = Path(sys.argv[1])
emitter = Emitter(
    folder / "spool", host="gw-1", outlet=FolderOutlet(folder / "outbox"), segment_bytes=100_000, segment_ms=50
)
for number in count():
    emitter.write(event(number, "t-%d" % (number % 7)))
    if number == 0:
        print("writes", flush=True)
"""
NOWHERE = Access("127.0.0.1:1")


def kill_a_writer(folder: Path) -> None:
    """Let one write until it has sent something, and kill it."""
    files = len(list((folder / "outbox").glob("*")))
    command = [sys.executable, "-c", WRITER, str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writes\n"
        wait_until(lambda: len(list((folder / "outbox").glob("*"))) > files + 3)
        writer.kill()
    assert writer.returncode == -signal.SIGKILL


def test_a_writer_that_is_killed_loses_at_most_the_line_it_was_in_and_that_one_shows(tmp_path: Path) -> None:
    counters: dict[str, int] = {}
    for _ in range(3):
        kill_a_writer(tmp_path)
        found = {path.stem: last_number(path) for path in (tmp_path / "spool" / "lane-0").glob("*.seq")}
        boot = max(found)
        counters[boot] = found[boot]
    last = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"))
    last.write(event())
    last.close(20)
    events = landed(tmp_path / "outbox")
    assert spooled(tmp_path / "spool") == []
    boots = sorted(counters)
    assert len(boots) == 3
    for boot in boots:
        mine = stamps(one for one in events if one.boot == boot)
        assert mine == list(range(1, len(mine) + 1))
        assert counters[boot] - len(mine) in (0, 1)
        assert missing(events).get(boot, []) == list(range(len(mine) + 1, counters[boot] + 1))
    firsts = [next(one for one in events if one.boot == boot) for boot in boots[1:]]
    assert [before(one) for one in firsts] == [(boot, counters[boot]) for boot in boots[:2]]
    assert before(events[-1]) == (boots[2], counters[boots[2]])


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a fork of this process that does the work."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_child_writes_in_a_lane_of_its_own_and_its_parent_goes_on_in_its(tmp_path: Path) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"), segment_ms=60_000)
    gateway.write(event(1))

    def work() -> None:
        for number in (10, 11):
            gateway.write(event(number))
        gateway.close(10)
        assert (gateway.counts.written, gateway.counts.acknowledged) == (2, 2)

    assert in_child(work) == 0
    assert in_child(lambda: None) == 0
    gateway.write(event(2))
    gateway.close(10)
    events = landed(tmp_path / "outbox")
    lives = {one.boot: [each.event_id for each in events if each.boot == one.boot] for one in events}
    assert sorted(lives.values()) == [["e-1", "e-2"], ["e-10", "e-11"]]
    assert missing(events) == {}
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["lane-0", "lane-1"]


def test_children_that_are_forked_while_threads_write_are_not_stuck(tmp_path: Path) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"))
    done = threading.Event()

    def write() -> None:
        while not done.is_set():
            gateway.write(event())

    def work() -> None:
        signal.alarm(60)  # ends a child that is stuck
        gateway.write(event(2))

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert [in_child(work) for _ in range(10)] == [0] * 10
    finally:
        done.set()
        for thread in threads:
            thread.join()
    gateway.close(20)
    assert len([one for one in spooled(tmp_path / "spool") if one.event_id == "e-2"]) == 10


def test_a_child_that_never_writes_keeps_no_lane_from_others(tmp_path: Path) -> None:
    up, done = os.pipe(), os.pipe()

    def work() -> None:
        Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox")).write(event())
        if os.fork() == 0:
            os.close(done[1])
            os.write(up[1], b"x")
            os.read(done[0], 1)  # outlives the one that made the emitter
            os._exit(0)

    assert in_child(work) == 0
    assert os.read(up[0], 1) == b"x"
    Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox")).close()
    for end in (*up, *done):
        os.close(end)
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["lane-0"]
    assert len(landed(tmp_path / "outbox")) == 1


def test_a_lane_is_free_at_once_where_a_child_was_just_forked(tmp_path: Path) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"))
    done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(done[1])
        os.read(done[0], 1)
        os._exit(0)
    gateway.close(10)
    Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox")).close()
    for end in done:
        os.close(end)
    os.waitpid(child, 0)
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["lane-0"]


FORKING = """
import os, sys
from pathlib import Path
from tests.edge.emitter.lines import event
from tests.edge.emitter.test_processes import NOWHERE, kafka
gateway = kafka(Path(sys.argv[1]))
gateway.write(event(1))
gateway.flush(0.3)
child = os.fork()
if child == 0:
    gateway.write(event(2))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
gateway.write(event(3))
gateway.close(0.3)
"""


def kafka(folder: Path) -> Emitter:
    """An emitter to a broker that is not there."""
    outlet: Outlet = KafkaOutlet(NOWHERE, "events")
    return Emitter(folder, host="gw-1", outlet=outlet)


def test_a_child_of_a_process_with_a_producer_writes_and_ends_as_any_other(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path)], env=environment, capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    events = spooled(tmp_path)
    assert [(one.event_id, one.seq) for one in events] == [("e-1", 1), ("e-3", 2), ("e-2", 1)]
