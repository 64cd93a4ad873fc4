"""The quarantine: every line that did not become an event, and what the parser of now would say of it."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc

from jobs.work import Work
from quotaloop.events import credentials
from quotaloop.events.event import Parsed
from quotaloop.marts.release import read_days
from quotaloop.marts.values import json_value
from quotaloop.parsed.block import RAW_CAP, parse_record
from quotaloop.parsed.blocks import blocks
from quotaloop.parsed.unit import Unit
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import Record, decode
from quotaloop.storage.parquet import read_table

COLUMNS = ("topic", "partition", "offset", "kafka_time", "reason", "length", "sha256", "raw", "encoding")
_CONFLICT = "conflicting_duplicate"


def listing(
    work: Work, *, reason: str | None = None, topic: str | None = None, limit: int | None = None
) -> dict[str, Any]:
    """Quarantined lines by topic, partition and offset, as ``{"columns": [...], "rows": [[...]]}``.

    Lines in conflict with an earlier one are known once a release is made; their bytes are read from raw.
    """
    rows: list[list[Any]] = []
    for item in work.ranges:
        if topic is not None and item.topic != topic:
            continue
        found = sorted(_rejects(work, item, reason), key=lambda row: row[2])
        rows.extend(found)
        if limit is not None and len(rows) >= limit:
            break
    return {"columns": list(COLUMNS), "rows": rows[:limit]}


def replay(work: Work) -> dict[str, Any]:
    """Read the quarantined lines from raw again: how many would now get which outcome.

    Nothing is changed: with other code or settings the next run that has something new parses everything anew.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    for item in work.ranges:
        reasons = {row[2]: row[4] for row in _rejects(work, item, None) if row[4] != _CONFLICT}
        for record in _records(work, item, set(reasons)):
            result = parse_record(record, late_bound_ms=work.settings.late_bound)
            now = "accepted" if isinstance(result, Parsed) else result.reason
            outcomes[reasons[record.offset], now] += 1
    rows: list[dict[str, Any]] = [
        {"reason": old, "now": new, "lines": count} for (old, new), count in sorted(outcomes.items())
    ]
    changed = sum(row["lines"] for row in rows if row["reason"] != row["now"])
    return {"lines": sum(outcomes.values()), "changed": changed, "outcomes": rows}


def _rejects(work: Work, item: Range, reason: str | None) -> Iterator[list[Any]]:
    unit = _unit(work, item)
    if reason != _CONFLICT and unit is not None:
        table = read_table(work.store, unit.rejects_path)
        table = (
            table.filter(pc.field("reason") != "late") if reason is None else table.filter(pc.field("reason") == reason)
        )
        for row in table.to_pylist():
            yield [*(json_value(row[name]) for name in COLUMNS[:7]), *_shown(row["raw"])]
    if reason in (None, _CONFLICT):
        for record in _records(work, item, _conflicts(work).get(item, set())):
            value = record.value or b""
            time = json_value(_moment(record.kafka_time_ms)) if record.kafka_time_ms >= 0 else None
            digest = hashlib.sha256(value).hexdigest()
            shown = _shown(credentials.redact(value)[:RAW_CAP])
            yield [item.topic, item.partition, record.offset, time, _CONFLICT, len(value), digest, *shown]


def _unit(work: Work, item: Range) -> Unit | None:
    """The range as parsed by the code and settings of now, or else as the newest release has it."""
    known = [work.fingerprint, *([work.latest.fingerprint] if work.latest else [])]
    units = (Unit(item, fingerprint) for fingerprint in known)
    return next((unit for unit in units if work.store.exists(unit.note_path)), None)


def _conflicts(work: Work) -> dict[Range, set[int]]:
    """Offsets of lines in conflict, by raw range, of the newest release."""
    starts = {(item.topic, item.partition, item.start): item for item in work.ranges}
    found: dict[Range, set[int]] = {}
    for day in read_days(work.store, work.latest).values():
        for entry in day.tables.get("exclusions", ()):
            for row in read_table(work.store, entry.path).to_pylist():
                item = starts.get((row["topic"], row["partition"], row["range_start"]))
                if row["outcome"] == _CONFLICT and item is not None:
                    found.setdefault(item, set()).add(row["offset"])
    return found


def _records(work: Work, item: Range, offsets: set[int]) -> Iterator[Record]:
    if not offsets:
        return
    with work.store.open(item.path) as raw:
        for block in blocks(raw):
            for line in block.splitlines(keepends=True):
                if int(line[: line.index(b"\t")]) in offsets:
                    yield decode(line)


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms // 1000, UTC).replace(microsecond=epoch_ms % 1000 * 1000)


def _shown(raw: bytes) -> tuple[str, str]:
    try:
        return raw.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"
