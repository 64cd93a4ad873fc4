"""Units: what is in them, what their note says, and that an interruption changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quotaloop.events.columns import EVENTS_SCHEMA
from quotaloop.events.event import Parsed
from quotaloop.parsed import blocks as blocks_module
from quotaloop.parsed.block import RAW_CAP, REJECTS_SCHEMA, parse_record
from quotaloop.parsed.blocks import blocks
from quotaloop.parsed.parse import parse_unit
from quotaloop.parsed.unit import Note, Unit, missing, parse_note, units
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, Record, encode
from quotaloop.storage.local import LocalStore
from tests.events.bad_lines import (
    ACCEPTED,
    CASES,
    KAFKA_TIME_MS,
    LATE_BOUND_MS,
    SECRETS,
    TS_MS,
    event,
    land_cases,
)

PRINT = "f00d"
HOUR = TS_MS  # ten o'clock


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def put(store: LocalStore, values: list[bytes | None], *, start: int = 0, kafka_time_ms: int = KAFKA_TIME_MS) -> Unit:
    item = Range("t", 4, start, start + len(values))
    lines = b"".join(encode(Record(start + number, kafka_time_ms, value)) for number, value in enumerate(values))
    store.write_if_absent(item.path, gzip.compress(lines))
    return Unit(item, PRINT)


def parse(store: LocalStore, unit: Unit) -> Note:
    return parse_unit(store, unit, late_bound_ms=LATE_BOUND_MS)


def table(store: LocalStore, path: str) -> pa.Table:
    return pq.read_table(io.BytesIO(store.read(path)))


def test_a_unit_holds_events_rejects_and_a_note(store: LocalStore) -> None:
    unit = put(store, [event("a"), b"x", event("b", region="eu"), event("c", ts=TS_MS - LATE_BOUND_MS * 2)], start=10)
    note = parse(store, unit)
    events, rejects = table(store, unit.events_path), table(store, unit.rejects_path)
    assert (events.schema, rejects.schema) == (EVENTS_SCHEMA, REJECTS_SCHEMA)
    assert events.select(["event_id", "topic", "partition", "range_start", "offset"]).to_pylist() == [
        {"event_id": "a", "topic": "t", "partition": 4, "range_start": 10, "offset": 10},
        {"event_id": "b", "topic": "t", "partition": 4, "range_start": 10, "offset": 12},
    ]
    first, second = rejects.to_pylist()
    assert first == {
        "topic": "t",
        "partition": 4,
        "offset": 11,
        "kafka_time": datetime(2026, 3, 1, 10, 0, 1, tzinfo=UTC),
        "reason": "syntax",
        "length": 1,
        "sha256": hashlib.sha256(b"x").hexdigest(),
        "raw": b"x",
        "parser": PRINT,
    }
    assert (second["offset"], second["reason"]) == (13, "late")
    assert (note.lines, note.events, note.late, note.reasons) == (4, 2, 1, {"syntax": 1})
    assert note.unknown_fields == {"region": 1}
    assert parse_note(store.read(unit.note_path)) == note


def test_the_note_says_what_is_in_the_events_file(store: LocalStore) -> None:
    unit = put(store, [event("a")])
    note = parse(store, unit)
    data = store.read(unit.events_path)
    assert (note.events_sha256, note.events_bytes) == (hashlib.sha256(data).hexdigest(), len(data))


def test_the_note_counts_hours_and_how_far_they_reach(store: LocalStore) -> None:
    """An event is in flight in [start, end): one that ends just at the hour does not reach into it."""
    hour = 3_600_000
    unit = put(
        store,
        [
            event("a", ts=HOUR, duration_ms=hour),
            event("b", ts=HOUR - 1, duration_ms=1),
            event("c", ts=HOUR - 2, duration_ms=2.001),
            event("d", ts=HOUR - hour, duration_ms=0),
            event("e", ts=HOUR + hour, duration_ms=86_400_000),
        ],
        kafka_time_ms=NO_TIME,
    )
    assert parse(store, unit).hours == {HOUR - hour: (3, HOUR), HOUR: (1, HOUR), HOUR + hour: (1, HOUR + 24 * hour)}


def test_the_note_knows_the_stamps_of_each_hour(store: LocalStore) -> None:
    def stamped(seq: int, boot: str = "b", ts: int = HOUR, **more: object) -> bytes:
        return event(f"{boot}{seq}", ts=ts, host="h", boot=boot, seq=seq, **more)

    prior = {"prev_boot": "a", "prev_seq": 9}
    unit = put(
        store,
        [
            stamped(5),
            stamped(3, **prior),
            stamped(9, ts=HOUR - 1),
            stamped(1, boot="c"),
            event("x"),
            stamped(4, **prior),
        ],
    )
    note = parse(store, unit)
    hour = HOUR - 3_600_000
    assert note.stamps == [("h", "b", hour, 9, 9), ("h", "b", HOUR, 3, 5), ("h", "c", HOUR, 1, 1)]
    assert note.prior == [("h", "b", HOUR, "a", 9)]
    assert parse_note(store.read(unit.note_path)) == note


def test_the_greatest_sum_is_exact_beyond_64_bits(store: LocalStore) -> None:
    unit = put(store, [event(f"e{number}", gpu_ms=10**12) for number in range(9_300)])
    assert parse(store, unit).greatest_sum == 9_300 * 10**15 > 2**63


def test_every_line_of_the_bad_lines_is_counted_once(store: LocalStore) -> None:
    expected = land_cases(store, ordinary=50)
    unit = Unit(expected.range, PRINT)
    note = parse(store, unit)
    assert note.lines == expected.lines == expected.range.end == len(CASES) + 50
    assert note.lines == note.events + note.late + sum(note.reasons.values())
    assert note.events == table(store, unit.events_path).num_rows
    conflicts = expected.reasons["conflicting_duplicate"]
    assert note.events == expected.accepted + expected.duplicate + conflicts
    assert note.late == expected.late
    assert note.reasons == {
        reason: count for reason, count in expected.reasons.items() if reason != "conflicting_duplicate"
    }
    rejects = table(store, unit.rejects_path)
    assert Counter(rejects["reason"].to_pylist()) == Counter(note.reasons) + Counter(late=note.late)
    for row in rejects.to_pylist():
        value = CASES[row["offset"]].value or b""
        assert (row["length"], row["sha256"]) == (len(value), hashlib.sha256(value).hexdigest())
    assert expected.lines == expected.accepted + expected.duplicate + expected.late + expected.quarantined


def test_no_file_of_a_unit_holds_a_secret_that_was_quarantined(store: LocalStore) -> None:
    secret = SECRETS[0]
    unit = put(store, [event("a", note=secret), event("b", note=secret)[:-1], event("c", **{secret: 1})])
    note = parse(store, unit)
    assert note.reasons == {"credential": 1, "truncated": 1}
    assert note.unknown_fields == {"[redacted]": 1}
    kept = table(store, unit.rejects_path)["raw"].to_pylist()
    assert not [raw for raw in kept if secret.encode() in raw]
    assert secret.encode() not in store.read(unit.note_path)


def test_what_is_kept_of_a_long_line_is_capped_and_its_length_and_digest_are_not(store: LocalStore) -> None:
    long = b'{"a":"' + b"x" * 200_000
    secret = b'{"a":"' + SECRETS[0].encode() + b'","b":"' + b"\xff" * 200_000
    unit = put(store, [long, event("a"), secret])
    parse(store, unit)
    first, second = table(store, unit.rejects_path).to_pylist()
    assert (first["reason"], first["length"], first["raw"]) == ("size", 200_006, long[:RAW_CAP])
    assert first["sha256"] == hashlib.sha256(long).hexdigest()
    assert second["raw"].startswith(b'{"a":"[redacted]","b":"\xff\xff')
    assert len(second["raw"]) == RAW_CAP


def test_a_record_without_a_kafka_time_has_none_among_the_rejects(store: LocalStore) -> None:
    unit = put(store, [b"x", None], kafka_time_ms=NO_TIME)
    parse(store, unit)
    rows = table(store, unit.rejects_path).to_pylist()
    assert [(row["kafka_time"], row["reason"]) for row in rows] == [(None, "syntax"), (None, "null_value")]


def test_a_range_without_lines_is_a_unit_without_rows(store: LocalStore) -> None:
    unit = put(store, [])
    note = parse(store, unit)
    assert (note.lines, note.events, note.late, note.reasons, note.hours) == (0, 0, 0, {}, {})
    assert table(store, unit.events_path).num_rows == table(store, unit.rejects_path).num_rows == 0
    assert table(store, unit.events_path).schema == EVENTS_SCHEMA


@pytest.mark.parametrize("size", [1, 7, 100, 1000, 10**6])
def test_blocks_end_at_line_ends_however_much_is_read_at_once(size: int) -> None:
    lines = [b"a" * length + b"\n" for length in (0, 5, 300, 0, 2500, 1)]
    content = b"".join(lines)
    found = list(blocks(io.BytesIO(gzip.compress(content)), size))
    assert b"".join(found) == content
    assert all(block.endswith(b"\n") for block in found)


def test_a_unit_is_the_same_whatever_the_size_of_its_blocks(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = land_cases(store)
    whole = Unit(expected.range, "whole")
    parse(store, whole)
    monkeypatch.setattr(blocks_module.blocks, "__defaults__", (1000,))
    small = Unit(expected.range, "small")
    assert parse(store, small).render() != b""
    for path in ("events_path", "rejects_path"):
        one, other = table(store, getattr(whole, path)), table(store, getattr(small, path))
        if "parser" in one.schema.names:
            one, other = one.drop_columns(["parser"]), other.drop_columns(["parser"])
        assert one.equals(other)
    one_note, other_note = parse_note(store.read(whole.note_path)), parse_note(store.read(small.note_path))
    other_note.events_sha256, other_note.events_bytes = one_note.events_sha256, one_note.events_bytes
    assert one_note == other_note


PROGRAM = """
    import sys
    from pathlib import Path
    from quotaloop.parsed.parse import parse_unit
    from quotaloop.parsed.unit import Unit
    from quotaloop.raw.ranges import parse_range
    from quotaloop.storage.local import LocalStore
    unit = Unit(parse_range(sys.argv[2]), "f00d")
    parse_unit(LocalStore(Path(sys.argv[1])), unit, late_bound_ms=172_800_000)
"""


@pytest.mark.parametrize("point", ["parse:columns", "parse:rejects", "parse:unit"])
def test_a_unit_that_was_interrupted_is_made_again_and_is_the_same(
    store: LocalStore, tmp_path: Path, point: str
) -> None:
    expected = land_cases(store)
    unit = Unit(expected.range, PRINT)
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), str(store.root), str(unit.range)],
        env=os.environ | {"QUOTALOOP_KILL_AT": point},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert missing(store, [unit], PRINT) == ([] if point == "parse:unit" else [unit])
    note = parse(store, unit)
    assert missing(store, [unit], PRINT) == []
    assert parse_note(store.read(unit.note_path)) == note
    assert hashlib.sha256(store.read(unit.events_path)).hexdigest() == note.events_sha256
    undisturbed = LocalStore(tmp_path / "other")
    land_cases(undisturbed)
    parse(undisturbed, unit)
    for path in (unit.events_path, unit.rejects_path, unit.note_path):
        assert store.read(path) == undisturbed.read(path)


def test_units_are_named_by_range_and_fingerprint_and_only_a_note_makes_one(store: LocalStore) -> None:
    ranges = [Range("t", 0, 5, 9), Range("t", 0, 0, 5)]
    first, second = units(ranges, PRINT)
    assert first.note_path == "parsed/f00d/t/p=00000/00000000000000000000-00000000000000000005.json"
    store.write_if_absent(first.events_path, b"")
    assert missing(store, [first, second], PRINT) == [first, second]
    store.write_if_absent(first.note_path, b"{}")
    assert missing(store, [first, second], PRINT) == [second]
    assert missing(store, units(ranges, "other"), "other") == units(ranges, "other")


def test_the_events_of_a_unit_are_those_of_the_strict_parser(store: LocalStore) -> None:
    expected = land_cases(store)
    unit = Unit(expected.range, PRINT)
    parse(store, unit)
    rows = {row["offset"]: row for row in table(store, unit.events_path).to_pylist()}
    assert sorted(rows) == [number for number, case in enumerate(CASES) if case.parsed == ACCEPTED]
    for number, row in rows.items():
        record = Record(number, CASES[number].kafka_time_ms, CASES[number].value)
        result = parse_record(record, late_bound_ms=LATE_BOUND_MS)
        assert isinstance(result, Parsed)
        for name in ("event_id", "tenant", "model", "duration_us", "outcome", "total_tokens"):
            assert row[name] == getattr(result.event, name)
        assert row["ts"] == datetime.fromtimestamp(result.event.ts // 1000, UTC).replace(
            microsecond=result.event.ts % 1000 * 1000
        )
