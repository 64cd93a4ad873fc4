"""A disk or a system that fails for a while: no request fails, and events leave once it works again."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from tests.edge.emitter.lines import event, landed, missing, stamps, wait_until
from tests.edge.emitter.outboxes import Away, Make

SPOOL = "quotaloop.edge.emitter.spool"


@pytest.fixture
def failing_close(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, the end of each segment fails, as on a network disk that is over its quota."""
    close = os.close

    def fail(handle: int) -> None:
        is_segment = Path(f"/proc/self/fd/{handle}").readlink().suffix == ".jsonl"
        close(handle)
        if is_segment:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    return lambda: monkeypatch.setattr(os, "close", fail)


def test_a_segment_whose_end_the_disk_refuses_is_closed_all_the_same_and_that_is_said(
    emitter: Make,
    outbox: Path,
    failing_close: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"{SPOOL}._WARNINGS", ThrottledWarnings("here"))
    outlet = Away(outbox)  # else the outbox closes files as well
    by_size, by_age = emitter(outlet=outlet, segment_bytes=10), emitter(outlet=outlet, segment_ms=20)
    failing_close()
    by_size.write(event(1))
    by_age.write(event(2))
    wait_until(lambda: by_age._life is not None and all(one.is_closed for one in by_age._life.spool.waiting()))
    monkeypatch.undo()
    outlet.is_away = False
    assert by_size.flush(20)
    assert by_age.flush(20)
    assert (by_size.counts.dropped, len(landed(outbox))) == (0, 2)
    assert "a segment was closed, and lines of it may not be on disk: Disk quota exceeded" in caplog.text


def test_what_fails_when_old_segments_are_closed_does_not_end_the_thread(
    emitter: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = emitter()
    with monkeypatch.context() as patch:
        patch.setattr(f"{SPOOL}.Spool.close_old", lambda _: 1 // 0)
        gateway.write(event())
        wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert gateway.flush(20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_came_to_an_end_is_started_again_by_what_is_written(
    emitter: Make, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotaloop.edge.emitter.sender._AGAIN_S", 0.0)
    gateway = emitter(segment_ms=20)
    life = gateway._life
    assert life is not None
    with monkeypatch.context() as patch:
        patch.setattr(life.sender, "_turn", lambda: exec("raise SystemExit"))
        life.sender.wake()
        wait_until(lambda: life.sender.is_down)
    gateway.write(event())
    wait_until(lambda: gateway.counts.acknowledged == 1)
    assert len(landed(outbox)) == 1


def test_events_wait_in_the_spool_while_no_thread_can_be_started(
    emitter: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotaloop.edge.emitter.sender._AGAIN_S", 0.0)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        gateway = emitter()
        gateway.write(event(1))
        gateway.write(event(2))
        assert not gateway.flush(0.0)
    gateway.write(event(3))
    assert gateway.flush(20)
    assert stamps(landed(tmp_path / "outbox")) == [1, 2, 3]


def test_a_child_on_a_full_disk_leaves_no_counters_and_shows_what_it_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"))
    opened: list[Path] = []

    def full(handle: int, _: bytes) -> int:
        opened.append(Path(f"/proc/self/fd/{handle}").readlink())
        raise OSError(errno.ENOSPC, "No space left on device")

    gateway.forked()  # as a child begins
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        patch.setattr("quotaloop.edge.emitter.emitter._AGAIN_S", 3600.0)
        for number in range(1000):
            gateway.write(event(number))
        assert [path.suffix for path in opened] == [".seq"]
        assert not opened[0].exists()
    assert (gateway.counts.written, gateway.counts.dropped) == (0, 1000)
    gateway._begin_at_s = 0.0  # an hour later
    gateway.write(event(1001))
    gateway.close(20)
    (one,) = landed(tmp_path / "outbox")
    assert one.seq == 1001
    assert missing([one]) == {one.boot: list(range(1, 1001))}
