"""The outlet to Kafka without a broker: all stays in the spool, and nobody waits for it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from quotaloop.edge.emitter.emitter import Emitter
from quotaloop.edge.emitter.folder import FolderOutlet
from quotaloop.edge.emitter.journey import Journey
from quotaloop.edge.emitter.kafka import KafkaOutlet
from quotaloop.edge.emitter.segment import Segment
from quotaloop.edge.emitter.throttled_warnings import ThrottledWarnings
from quotaloop.raw.kafka.access import Access
from tests.edge.emitter.lines import event, landed, missing, spooled, stamps, wait_until

NOWHERE = Access("127.0.0.1:1")


def test_without_a_broker_events_stay_in_the_spool_and_the_end_comes_in_bounded_time(tmp_path: Path) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=KafkaOutlet(NOWHERE, "events"), segment_bytes=20_000)
    for number in range(500):
        gateway.write(event(number))
    assert not gateway.flush(0.2)
    began = time.monotonic()
    gateway.close(0.5)
    assert time.monotonic() - began < 10  # however busy the machine is
    assert gateway.counts.acknowledged == 0
    assert stamps(spooled(tmp_path / "spool")) == list(range(1, 501))
    after = Emitter(tmp_path / "spool", host="gw-1", outlet=FolderOutlet(tmp_path / "outbox"))
    after.write(event(500))
    after.close(20)
    events = landed(tmp_path / "outbox")
    assert [one.event_id for one in events] == [f"e-{number}" for number in range(501)]
    assert missing(events) == {}


def test_a_full_spool_without_a_broker_drops_and_blocks_nobody(tmp_path: Path) -> None:
    gateway = Emitter(tmp_path / "spool", host="gw-1", outlet=KafkaOutlet(NOWHERE, "events"), max_bytes=10_000)
    for number in range(1_000):
        gateway.write(event(number))
    gateway.close(0.1)
    kept = stamps(spooled(tmp_path / "spool"))
    assert kept == list(range(1, len(kept) + 1))
    assert (gateway.counts.written, gateway.counts.dropped) == (len(kept), 1_000 - len(kept))
    assert 9_700 <= sum(path.stat().st_size for path in (tmp_path / "spool").glob("lane-0/*.jsonl")) <= 10_000


class Recorder:
    """In place of a producer with room for so many messages."""

    def __init__(self, room: int) -> None:
        self.room, self.taken, self.reports = room, [], []

    def produce(self, topic: str, value: bytes, key: bytes | None, on_delivery: object) -> None:
        """As a producer does."""
        if len(self.taken) == self.room:
            raise BufferError
        self.taken.append((topic, key, value))
        self.reports.append(on_delivery)

    def poll(self, _: float) -> int:
        """Nothing is heard."""
        return 0


def test_lines_are_handed_over_as_a_segment_grows_in_order_and_by_tenant(tmp_path: Path) -> None:
    path, producer = tmp_path / "segment", Recorder(room=3)
    path.write_bytes(b'{"tenant":"acme"}\n{"tenant":7}\n{"tenant":"a')
    segment = Segment(path, "gw-1", "boot", size=31)
    journey = Journey(segment, "events")
    assert journey.hand_over(producer)
    assert producer.taken == [("events", b"acme", b'{"tenant":"acme"}'), ("events", None, b'{"tenant":7}')]
    for report in producer.reports:
        report(None, None)
    assert (segment.has_begun, journey.is_under_way, journey.is_over) == (True, False, False)
    path.write_bytes(path.read_bytes() + b'\xc3\xa4"}\nno JSON\n')
    segment.size, segment.is_closed = path.stat().st_size, True
    assert not journey.hand_over(producer)
    assert producer.taken[2:] == [("events", "aä".encode(), '{"tenant":"aä"}'.encode())]
    assert (journey.is_under_way, journey.is_over) == (True, False)
    producer.room = 4
    assert journey.hand_over(producer)
    assert producer.taken[3:] == [("events", None, b"no JSON")]
    for report in producer.reports[2:]:
        report(None, None)
    assert journey.is_over


def test_a_producer_that_cannot_be_made_keeps_events_in_the_spool_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outlet = KafkaOutlet(Access("127.0.0.1:1", ca="no such file", protocol="ssl"), "events")
    gateway = Emitter(tmp_path, host="gw-1", outlet=outlet)
    gateway.write(event())
    assert not gateway.flush(0.3)
    gateway.close(0.1)
    assert "events stay in the spool: topic events at 127.0.0.1:1 takes no events: " in caplog.text
    assert "Traceback" not in caplog.text
    assert len(spooled(tmp_path)) == 1


def test_brokers_that_are_away_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotaloop.edge.emitter.kafka._WARNINGS", ThrottledWarnings("here"))
    gateway = Emitter(tmp_path, host="gw-1", outlet=KafkaOutlet(NOWHERE, "events"))
    gateway.write(event())
    wait_until(lambda: "events for topic events wait in the spool: " in caplog.text)
    gateway.close(0.1)
    assert len([record for record in caplog.records if record.name == "here"]) == 1


def test_a_chunk_without_a_line_end_goes_as_one_line_and_stops_nothing_behind_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotaloop.edge.emitter.journey._WARNINGS", ThrottledWarnings("here"))
    path, producer = tmp_path / "segment", Recorder(room=9)
    path.write_bytes(b"{}\n" + bytes(262_144) + b'\n{"tenant":"acme"}\n')
    journey = Journey(Segment(path, "gw-1", "boot", size=path.stat().st_size, is_closed=True), "events")
    assert journey.hand_over(producer)
    assert [value for _, _, value in producer.taken] == [b"{}", bytes(262_144), b"", b'{"tenant":"acme"}']
    for report in producer.reports:
        report(None, None)
    assert journey.is_over
    assert "segment: 262,144 bytes without a line end are sent as one line" in caplog.text


def test_a_segment_that_stayed_empty_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = KafkaOutlet(NOWHERE, "events")
    monkeypatch.setattr(outlet, "_new", lambda: Recorder(room=0))
    one, two = (Segment(tmp_path / name, "gw-1", "boot") for name in ("one", "two"))
    assert not outlet.send([one])
    assert not outlet.send([two])
    assert list(outlet._journeys) == [two]
