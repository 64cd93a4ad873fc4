"""One block of raw lines into events, rejects and counts: the fast path first, the strict parser for the rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from quotaloop.events import credentials
from quotaloop.events.columns import COORDINATES, EVENTS_SCHEMA, TIME, from_events, with_derived
from quotaloop.events.event import Event, Parsed, Rejection
from quotaloop.events.parser import MAX_BYTES, parse_line
from quotaloop.events.vectorised import read_block
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import Record, decode

RAW_CAP = 64 * 1024

REJECTS_SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("kafka_time", TIME),
        ("reason", pa.string()),
        ("length", pa.int64()),
        ("sha256", pa.string()),
        ("raw", pa.binary()),
        ("parser", pa.string()),
    ]
)


@dataclass(slots=True)
class Outcome:
    """What became of a block's lines: events in the order of their offsets, and rows for the rejects."""

    lines: int
    events: pa.Table
    rejects: list[dict[str, object]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    unknown_fields: Counter[str] = field(default_factory=Counter)


def parse_block(block: bytes, item: Range, *, late_bound_ms: int, parser: str) -> Outcome:
    """Every line of the block as an event or a reject; coordinates are those of ``item``."""
    fast = read_block(block, late_bound_ms=late_bound_ms)
    outcome = Outcome(len(fast.starts) - 1, EVENTS_SCHEMA.empty_table())
    events: list[Event] = []
    offsets: list[int] = []
    for number in fast.doubtful.tolist():
        record = decode(block[fast.starts[number] : fast.starts[number + 1]])
        result = parse_record(record, late_bound_ms=late_bound_ms)
        if isinstance(result, Parsed):
            events.append(result.event)
            offsets.append(record.offset)
            outcome.unknown_fields.update(credentials.redact_text(name) for name in result.unknown_fields)
        else:
            outcome.reasons[result.reason] += 1
            outcome.rejects.append(reject_row(record, result.reason, item, parser))
    content, where = fast.content, fast.offsets
    if events:
        where = np.concatenate((where, np.asarray(offsets, dtype=np.int64)))
        order = np.argsort(where, kind="stable")
        content = pa.concat_tables([content, from_events(events)]).take(pa.array(order))
        where = where[order]
    outcome.events = with_derived(content, _coordinates(where, item))
    return outcome


def parse_record(record: Record, *, late_bound_ms: int | None) -> Parsed | Rejection:
    """The event of a landed record, or why there is none."""
    if record.erased:
        return Rejection("erased")
    if record.value is None:
        return Rejection("null_value")
    return parse_line(record.value, kafka_time_ms=record.kafka_time_ms, late_bound_ms=late_bound_ms)


def reject_row(record: Record, reason: str, item: Range, parser: str) -> dict[str, object]:
    """A row of the rejects: the bytes without credentials and capped, the length and SHA-256 of the original."""
    value = record.value or b""
    return {
        "topic": item.topic,
        "partition": item.partition,
        "offset": record.offset,
        "kafka_time": record.kafka_time_ms if record.kafka_time_ms >= 0 else None,
        "reason": reason,
        "length": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
        "raw": credentials.redact(value[: 2 * MAX_BYTES])[:RAW_CAP],
        "parser": parser,
    }


def _coordinates(offsets: np.ndarray[tuple[int], np.dtype[np.int64]], item: Range) -> pa.Table:
    count = len(offsets)
    return pa.table(
        [
            pa.repeat(item.topic, count),
            pa.repeat(pa.scalar(item.partition, pa.int32()), count),
            pa.repeat(pa.scalar(item.start, pa.int64()), count),
            pa.array(offsets, pa.int64()),
        ],
        schema=pa.schema(list(COORDINATES)),
    )
