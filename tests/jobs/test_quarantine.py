"""The quarantine: every line that is no event, where it lies, as it may be shown, and what would become of it now."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.quarantine import COLUMNS, listing, replay
from jobs.work import Work
from quotaloop.parsed.block import REJECTS_SCHEMA
from quotaloop.parsed.parse import parse_unit
from quotaloop.parsed.unit import Unit
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, Record, encode
from quotaloop.settings import Settings
from quotaloop.version import fingerprint
from tests.events.bad_lines import KAFKA_TIME_MS, SECRETS, event
from tests.marts.handmade import DAY, Handmade, at

GOOD = event("good")


@pytest.fixture
def made(tmp_path: Path) -> Handmade:
    return Handmade(tmp_path / "store")


def work(made: Handmade, **changed: Any) -> Work:
    return Work(Settings(store=made.store.url, **changed))


def land(
    made: Handmade,
    *values: bytes | None,
    topic: str = "t",
    start: int = 0,
    at_ms: int = KAFKA_TIME_MS,
    parsed_by: str | None = None,
) -> Range:
    """One raw range, parsed."""
    item = Range(topic, 0, start, start + len(values))
    lines = b"".join(encode(Record(start + number, at_ms, value)) for number, value in enumerate(values))
    assert made.store.write_if_absent(item.path, gzip.compress(lines))
    settings = Settings(store=made.store.url)
    unit = Unit(item, parsed_by or fingerprint(settings))
    parse_unit(made.store, unit, late_bound_ms=settings.late_bound)
    return item


def rows(made: Handmade, *names: str, **wanted: Any) -> list[list[Any]]:
    """The listing's rows, of these columns."""
    found = listing(work(made), **wanted)
    assert found["columns"] == list(COLUMNS)
    places = [COLUMNS.index(name) for name in names]
    return [[row[place] for place in places] for row in found["rows"]]


def test_a_line_is_listed_with_its_place_reason_and_bytes(made: Handmade) -> None:
    land(made, GOOD, b"x", b"\xff\xfe", None, start=10)
    assert listing(work(made))["rows"] == [
        ["t", 0, 11, "2026-03-01T10:00:01Z", "syntax", 1, hashlib.sha256(b"x").hexdigest(), "x", "utf-8"],
        [
            *("t", 0, 12, "2026-03-01T10:00:01Z", "encoding", 2, hashlib.sha256(b"\xff\xfe").hexdigest()),
            *(base64.b64encode(b"\xff\xfe").decode(), "base64"),
        ],
        ["t", 0, 13, "2026-03-01T10:00:01Z", "null_value", 0, hashlib.sha256(b"").hexdigest(), "", "utf-8"],
    ]


def test_lines_come_by_topic_and_offset(made: Handmade) -> None:
    land(made, b"x", b"{", topic="u", at_ms=NO_TIME)
    land(made, b"[]", b"x", topic="t", start=2)
    land(made, b"x", GOOD, topic="t")
    assert rows(made, "topic", "offset", "kafka_time") == [
        ["t", 0, "2026-03-01T10:00:01Z"],
        ["t", 2, "2026-03-01T10:00:01Z"],
        ["t", 3, "2026-03-01T10:00:01Z"],
        ["u", 0, None],
        ["u", 1, None],
    ]


def test_reason_topic_and_limit_narrow_the_listing(made: Handmade) -> None:
    land(made, b"x", None, b"x", topic="t")
    land(made, b"x", None, topic="u")
    assert rows(made, "topic", "offset", reason="null_value") == [["t", 1], ["u", 1]]
    assert rows(made, "topic", "offset", topic="u") == [["u", 0], ["u", 1]]
    assert rows(made, "topic", "offset", limit=4) == [["t", 0], ["t", 1], ["t", 2], ["u", 0]]
    assert rows(made, "topic", "offset", limit=1, reason="null_value", topic="u") == [["u", 1]]
    assert rows(made, "topic", reason="none such") == rows(made, "topic", topic="none such") == []


def test_late_lines_are_not_in_quarantine(made: Handmade) -> None:
    land(made, event("late", ts=KAFKA_TIME_MS - 10 * 86_400_000), b"x")
    assert rows(made, "reason") == [["syntax"]]


def test_no_credential_is_listed(made: Handmade) -> None:
    land(made, *(event("a", note=secret) for secret in SECRETS), event("cut", note=SECRETS[0])[:-2])
    found = rows(made, "reason", "raw")
    assert [reason for reason, _ in found] == ["credential"] * len(SECRETS) + ["truncated"]
    assert all("[redacted]" in raw for _, raw in found)
    assert not any(secret in raw for _, raw in found for secret in SECRETS)


def test_what_is_not_parsed_is_not_listed(made: Handmade) -> None:
    item = Range("t", 0, 0, 1)
    made.store.write_if_absent(item.path, gzip.compress(encode(Record(0, NO_TIME, b"x"))))
    assert rows(made, "offset") == []
    assert replay(work(made)) == {"lines": 0, "changed": 0, "outcomes": []}


def test_lines_of_a_release_made_by_other_code_are_listed_as_it_has_them(made: Handmade) -> None:
    land(made, b"x", parsed_by="0ld")
    land(made, b"x", start=1, parsed_by="older")
    assert rows(made, "offset") == []
    made.publish(fingerprint="0ld")
    assert rows(made, "offset") == [[0]]


def test_lines_in_conflict_are_known_from_the_release(made: Handmade) -> None:
    other = event("good", input_tokens=4)
    land(made, GOOD, b"x", GOOD, other)
    land(made, other, topic="u")
    place = {"hour": at(0), "partition": 0, "range_start": 0}
    made.add(
        "exclusions",
        {**place, "topic": "t", "offset": 2, "outcome": "duplicate"},
        {**place, "topic": "t", "offset": 3, "outcome": "conflicting_duplicate"},
        {**place, "topic": "gone", "offset": 3, "outcome": "conflicting_duplicate"},
        hours=[DAY],
    )
    assert rows(made, "offset", "reason", topic="t") == [[1, "syntax"]]
    made.publish()
    assert rows(made, "offset", "reason", topic="t") == [[1, "syntax"], [3, "conflicting_duplicate"]]
    (row,) = listing(work(made), reason="conflicting_duplicate")["rows"]
    digest = hashlib.sha256(other).hexdigest()
    assert row == [
        *("t", 0, 3, "2026-03-01T10:00:01Z", "conflicting_duplicate", len(other), digest, other.decode(), "utf-8")
    ]
    assert [row["reason"] for row in replay(work(made))["outcomes"]] == [
        "syntax"
    ]  # a conflict is not of one line alone


def test_a_replay_by_the_same_code_changes_nothing(made: Handmade) -> None:
    land(made, GOOD, b"x", b"x", None, event("late", ts=KAFKA_TIME_MS - 10 * 86_400_000))
    before = {info.path: made.store.read(info.path) for info in made.store.files("")}
    assert replay(work(made)) == {
        "lines": 3,
        "changed": 0,
        "outcomes": [
            {"reason": "null_value", "now": "null_value", "lines": 1},
            {"reason": "syntax", "now": "syntax", "lines": 2},
        ],
    }
    assert {info.path: made.store.read(info.path) for info in made.store.files("")} == before


def test_a_replay_says_what_other_code_would_make_of_the_lines(made: Handmade) -> None:
    """An older parser refused all four: the first and last are events now, the second still is not."""
    values = [GOOD, b"x", None, event("later")]
    item = Range("t", 0, 0, len(values))
    lines = b"".join(encode(Record(number, KAFKA_TIME_MS, value)) for number, value in enumerate(values))
    made.store.write_if_absent(item.path, gzip.compress(lines))
    unit = Unit(item, "0ld")
    place = {"topic": "t", "partition": 0, "length": 1, "sha256": "0", "raw": b"", "parser": "0ld"}
    refused = [{**place, "offset": number, "reason": "form"} for number in range(len(values))]
    sink = io.BytesIO()
    pq.write_table(REJECTS_SCHEMA.empty_table().from_pylist(refused, schema=REJECTS_SCHEMA), sink)
    made.store.write_if_absent(unit.rejects_path, sink.getvalue())
    made.store.write_if_absent(unit.note_path, b"{}\n")
    made.publish(fingerprint="0ld")
    assert replay(work(made)) == {
        "lines": 4,
        "changed": 4,
        "outcomes": [
            {"reason": "form", "now": "accepted", "lines": 2},
            {"reason": "form", "now": "null_value", "lines": 1},
            {"reason": "form", "now": "syntax", "lines": 1},
        ],
    }
