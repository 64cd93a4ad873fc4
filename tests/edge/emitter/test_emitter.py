"""The emitter with an outbox: a line an event, numbered without holes, and all of them leave."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.errors import UsageError
from tests.edge.emitter.lines import before, event, landed, missing, spooled, stamps, wait_until
from tests.edge.emitter.outboxes import Away, Make


def test_an_event_becomes_one_line_with_a_stamp_and_its_other_fields_as_they_were(emitter: Make, outbox: Path) -> None:
    gateway = emitter()
    gateway.write(event(1, "globex", model="häß"))
    assert gateway.flush(10)
    (one,) = landed(outbox)
    assert (one.event_id, one.tenant, one.model, one.duration_us) == ("e-1", "globex", "häß", 12_500)
    assert (one.host, one.seq, one.prev_boot, one.prev_seq) == ("gw-1", 1, None, None)
    (file,) = outbox.iterdir()
    assert file.name == f"gw-1.{one.boot}.00000000000000000001.jsonl"
    assert (gateway.counts.written, gateway.counts.dropped, gateway.counts.acknowledged) == (1, 0, 1)


def test_numbers_have_no_holes_over_threads_and_segments_and_lines_are_whole(emitter: Make, outbox: Path) -> None:
    gateway = emitter(segment_bytes=10_000)

    def write(thread: int) -> None:
        for number in range(500):
            gateway.write(event(number, f"t-{thread}"))

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gateway.flush(10)
    events = landed(outbox)
    assert stamps(events) == list(range(1, 2001))
    for thread in range(4):
        mine = [one.event_id for one in events if one.tenant == f"t-{thread}"]
        assert mine == [f"e-{number}" for number in range(500)]
    sizes = [file.stat().st_size for file in sorted(outbox.iterdir())]
    assert all(10_000 <= size < 10_300 for size in sizes[:-1])
    assert gateway.counts.acknowledged == 2000


def test_a_segment_leaves_by_its_age_alone(emitter: Make, outbox: Path) -> None:
    gateway = emitter(segment_ms=20)
    gateway.write(event())
    wait_until(lambda: gateway.counts.acknowledged == 1)
    assert len(landed(outbox)) == 1


def test_an_outbox_that_is_away_loses_nothing_and_gets_all_in_order(emitter: Make, tmp_path: Path) -> None:
    outlet = Away(tmp_path / "outbox")
    gateway = emitter(outlet=outlet, segment_bytes=1_000)
    for number in range(100):
        gateway.write(event(number))
    assert not gateway.flush(0.05)
    assert gateway.is_behind
    assert (gateway.counts.acknowledged, stamps(spooled(tmp_path / "spool"))) == (0, list(range(1, 101)))
    outlet.is_away = False
    assert gateway.flush(20)
    assert stamps(landed(tmp_path / "outbox")) == list(range(1, 101))
    assert (gateway.is_behind, gateway.waiting_bytes) == (False, 0)


def test_a_bug_of_an_outlet_is_said_and_events_leave_once_it_works_again(
    emitter: Make, outbox: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlet = FolderOutlet(outbox)
    with monkeypatch.context() as patch:
        patch.setattr(outlet, "send", lambda _: 1 // 0)
        gateway = emitter(outlet=outlet)
        gateway.write(event())
        wait_until(lambda: "ZeroDivisionError" in caplog.text)
    assert gateway.flush(20)


def test_who_waits_for_what_has_not_left_does_not_sit_out_the_pause_after_a_setback(
    emitter: Make, outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotaloop.edge.emitter.sender._SETBACK_S", (3600.0, 3600.0))
    outlet = Away(outbox)
    gateway = emitter(outlet=outlet)
    gateway.write(event())
    wait_until(lambda: outlet.asked > 0)
    outlet.is_away = False
    assert gateway.flush(20)


def test_what_has_not_left_at_the_end_is_sent_first_by_the_next_with_the_boot_before_it(
    emitter: Make, outbox: Path
) -> None:
    first = emitter(outlet=Away(outbox))
    for number in range(5):
        first.write(event(number))
    first.close(0.1)
    assert first.counts.acknowledged == 0
    second = emitter()
    second.write(event(5))
    assert second.flush(10)
    events = landed(outbox)
    assert stamps(events) == [1, 2, 3, 4, 5, 1]
    assert before(events[5]) == (events[0].boot, 5)
    assert missing(events) == {}
    assert second.counts.acknowledged == 1


def test_a_stamp_that_an_event_has_already_is_replaced_and_the_callers_event_stays_as_it_is(
    emitter: Make, outbox: Path
) -> None:
    gateway = emitter()
    mine = event(host="other", boot="b", seq=77, prev_boot="c", prev_seq=5)
    kept = dict(mine)
    gateway.write(mine)
    assert gateway.flush(10)
    (one,) = landed(outbox)  # no key stands twice: the parser would refuse it
    assert (one.host, one.seq, before(one)) == ("gw-1", 1, (None, None))
    assert mine == kept


def test_what_is_written_after_the_end_is_sent_by_the_next(emitter: Make, tmp_path: Path, outbox: Path) -> None:
    gateway = emitter()
    gateway.write(event(1))
    gateway.close()
    gateway.write(event(2))
    assert stamps(landed(outbox)) == [1]
    assert len(spooled(tmp_path / "spool")) == 1
    assert "quotaloop-emitter" not in {thread.name for thread in threading.enumerate()}
    gateway.close()
    emitter().close()
    one, late = landed(outbox)
    assert (late.event_id, late.seq, before(late)) == ("e-2", 1, (one.boot, 1))


@pytest.mark.parametrize("host", ["", "a b", "x" * 129, 'a"b'])
def test_a_host_that_no_event_may_have_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(UsageError, match="host is 1-128 of"):
        Emitter(tmp_path, host=host, outlet=FolderOutlet(tmp_path / "outbox"))
