"""Events as a build reads them, and rows as a person writes them."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.sql import Connection
from quotaloop.marts.internal import EXCLUSIONS, INTERNAL_SCHEMAS
from quotaloop.parsed.block import parse_block
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, encode_all

DAY = 1_772_409_600_000  # 2026-03-02T00:00:00Z
MINUTE, HOUR = 60_000, 3_600_000

Event = dict[str, Any]


def event(event_id: str, ts: int, **fields: Any) -> Event:
    """A valid event of tenant ``a``; ``ts`` is in ms from the beginning of ``DAY``."""
    usual = {"tenant": "a", "route": "/r", "api_version": "v1", "status": 200, "duration_ms": 1}
    return {"event_id": event_id, "ts": DAY + ts, **usual, **fields}


def denied(event_id: str, ts: int, **fields: Any) -> Event:
    """A request over the limit."""
    return event(event_id, ts, status=429, **fields)


def table(*events: Event, topic: str = "t", partition: int = 0, start: int = 0) -> pa.Table:
    """Events as one parsed raw file of theirs."""
    lines = encode_all([json.dumps(one).encode() for one in events], first_offset=start, kafka_time_ms=NO_TIME)
    item = Range(topic, partition, start, start + len(events))
    parsed = parse_block(lines, item, late_bound_ms=48 * HOUR, parser="test")
    assert parsed.rejects == []
    return parsed.events


def opened(*tables: pa.Table) -> Connection:
    """Parsed files as the views that tasks have, with nothing excluded."""
    db = duckdb.connect(config={"threads": 1, "preserve_insertion_order": False})
    db.execute("SET TimeZone = 'UTC'")
    db.register("parsed", pa.concat_tables(tables))
    db.register("excluded", INTERNAL_SCHEMAS[EXCLUSIONS].empty_table())
    for name in ("accepted", "rated", "reaching"):
        db.execute(f"CREATE VIEW {name} AS FROM parsed")
    return db


def of(*events: Event) -> Connection:
    """Events as views."""
    return opened(table(*events))


def made(db: Connection, name: str) -> pa.Table:
    """A table that a transform made."""
    return db.table(name).to_arrow_table()


def rows(found: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    """Rows in order; hours as their number in the day, minutes as ``hh:mm``, dates as the day of the month."""
    picked = found.select(columns) if columns else found
    return sorted((tuple(_shown(name, value) for name, value in row.items()) for row in picked.to_pylist()), key=repr)


def where(found: pa.Table, column: str, value: str, *dropped: str) -> pa.Table:
    """Rows with a value in a column, without that column and others."""
    return found.filter(pc.equal(found[column], value)).drop_columns([column, *dropped])


def _shown(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        ms = int(value.timestamp() * 1000) - DAY
        return f"{value:%H:%M}" if name == "minute" else ms // HOUR if name == "hour" else ms
    return value.day if isinstance(value, date) else value
