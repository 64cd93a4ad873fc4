"""Releases made by hand: rows are written by the declared schemas and published, without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from quotaloop.events.columns import EVENTS_SCHEMA
from quotaloop.marts.candidate import EVENTS
from quotaloop.marts.internal import INTERNAL_SCHEMAS
from quotaloop.marts.release import Day, FileEntry, Release, Span, Verdict, newest, publish, store_days
from quotaloop.marts.tables import PUBLISHED
from quotaloop.quotas.policy import FORMAT, KINDS, Kind, Limit, Policy, Rate, Scope, instant
from quotaloop.storage.local import LocalStore

DAY = 1_772_409_600_000  # 2026-03-02T00:00:00Z
MINUTE, HOUR = 60_000, 3_600_000
EVERYTHING = Scope(model="*", api_version="*")

Row = dict[str, Any]


def at(number: int, minute: int = 0) -> datetime:
    """A time by hours and minutes from the beginning of ``DAY``."""
    return datetime.fromtimestamp((DAY + number * HOUR + minute * MINUTE) // 1000, UTC)


def date_of(hour: int) -> str:
    """The date of an hour (epoch ms)."""
    return datetime.fromtimestamp(hour // 1000, UTC).strftime("%Y-%m-%d")


def schema_of(name: str) -> pa.Schema:
    """The schema in which a table's files are declared."""
    if name == EVENTS:
        return EVENTS_SCHEMA
    return INTERNAL_SCHEMAS[name] if name in INTERNAL_SCHEMAS else PUBLISHED[name].schema


def filled(row: Row, schema: pa.Schema) -> Row:
    """The row with something in every column that it leaves out and that takes no null."""
    return {field.name: row.get(field.name, None if field.nullable else _usual(field)) for field in schema}


def _usual(field: pa.Field) -> Any:
    if pa.types.is_map(field.type):
        return []
    if pa.types.is_string(field.type):
        return {"route": "/r", "protocol": "http", "outcome": "ok"}.get(field.name, "x")
    return date(2026, 3, 2) if pa.types.is_date(field.type) else 0


class Handmade:
    """A store, and the release to be published into it."""

    def __init__(self, root: Path, fingerprint: str = "f00d") -> None:
        self.store = LocalStore(root)
        self.fingerprint = fingerprint
        self.days: dict[str, Day] = {}
        self.ledger: FileEntry | None = None
        self._files = 0

    def day(self, hour: int = DAY) -> Day:
        """The day of an hour (epoch ms)."""
        return self.days.setdefault(date_of(hour), Day(date_of(hour), self.fingerprint))

    def add(self, name: str, *rows: Row, hours: Iterable[int] = (), path: str = "") -> FileEntry:
        """One file of a table into the day of its first hour (``DAY``, where it has none)."""
        entry = self.write(name, rows, hours, path)
        self.day(entry.hours[0] if entry.hours else DAY).tables.setdefault(name, []).append(entry)
        return entry

    def add_ledger(self, *rows: Row) -> FileEntry:
        """The release's ledger."""
        self.ledger = self.write("ingest_ledger", rows, (), "")
        return self.ledger

    def write(self, name: str, rows: Iterable[Row], hours: Iterable[int], path: str) -> FileEntry:
        """A Parquet file that no day lists yet."""
        schema = schema_of(name)
        table = pa.Table.from_pylist([filled(row, schema) for row in rows], schema=schema)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        self._files += 1
        path = path or f"marts/{name}/{self.fingerprint}/part-{self._files}.parquet"
        assert self.store.write_if_absent(path, data)
        return FileEntry(path, table.num_rows, len(data), hashlib.sha256(data).hexdigest(), tuple(hours))

    def counted(self, *hours: int, word: str = "twice", raw: tuple[str, int, int] = ("t", 0, 0)) -> None:
        """Say how often hours (epoch ms) were counted, and which raw file has events in them."""
        for hour in hours:
            self.day(hour).counted[hour] = word
            self.day(hour).outcomes[hour] = [[*raw, 1, 0, 0]]

    def release(self, **changed: Any) -> Release:
        """The next release, not yet published."""
        latest = newest(self.store)
        parent = latest.number if latest else None
        usual: Row = {
            "number": (parent or 0) + 1,
            "parent": parent,
            "code": "0.1.0+abc",
            "settings": {"late_bound": 172_800_000},
            "fingerprint": self.fingerprint,
            "checks": [Verdict("tiling", True, "1 ranges")],
            "raw": [Span("t", 0, 0, 10, "5" * 64)],
            "days": store_days(self.store, self.days.values()),
            "ledger": self.ledger,
            "waivers": [info.path for info in self.store.files("waivers")],
        }
        return Release(**(usual | changed))

    def publish(self, **changed: Any) -> Release:
        """The next release, published."""
        made = self.release(**changed)
        assert publish(self.store, made)
        return made


def limit(tenant: str, kind: Kind, most: int, *, scope: Scope = EVERYTHING, **changed: Any) -> Limit:
    """A limit of a minute (of concurrency: slots)."""
    usual: Row = {"tenant": tenant, "scope": scope, "kind": kind, "limit": most, "burst": most, "evidence": {}}
    return Limit(**(usual | {"per_seconds": 1 if kind == "concurrency" else 60} | changed))


def policy(epoch: int, *limits: Limit, valid: tuple[int, int] = (0, 48), release: int = 1) -> Policy:
    """A policy that is valid between two hours, counted from ``DAY``."""
    begin, end = (instant(DAY + hour * HOUR) for hour in valid)
    return Policy(
        format=FORMAT,
        epoch=epoch,
        release=release,
        created_at=begin,
        valid_from=begin,
        expires_at=end,
        limits=limits,
        safe_capacity={kind: Rate(limit=2, per_seconds=60, burst=2) for kind in KINDS},
    )
