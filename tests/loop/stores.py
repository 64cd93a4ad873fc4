"""Stores for tests of the whole loop: lines go in, runs are made, and the tables come out as plain rows."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.work import Work
from pipelines.in_process import run as run_loop
from quotaloop.cli import main
from quotaloop.marts.release import FileEntry, Release, newest, read_days
from quotaloop.marts.tables import INGEST_LEDGER, PUBLISHED
from quotaloop.marts.views import open_views
from quotaloop.progress import Silence
from quotaloop.raw import topics
from quotaloop.raw.landing import Import, land_file
from quotaloop.raw.ranges import Range
from quotaloop.raw.record import NO_TIME, Record, encode
from quotaloop.results import Done
from quotaloop.settings import Settings
from quotaloop.storage.local import LocalStore
from quotaloop.storage.store import Store

DAY = 1_772_409_600_000  # 2026-03-02T00:00:00Z
MINUTE, HOUR = 60_000, 3_600_000
REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "tests" / "example"

Event = dict[str, Any]
Row = dict[str, Any]
Rows = list[tuple[Any, ...]]


def event(event_id: str, ts: int, **fields: Any) -> Event:
    """A valid event of tenant ``a``; ``ts`` is in ms from the beginning of ``DAY``."""
    usual = {"tenant": "a", "route": "/r", "api_version": "v1", "status": 200, "duration_ms": 1}
    return {"event_id": event_id, "ts": DAY + ts, **usual, **fields}


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on standard output."""
        return json.loads(self.out)


class Loop:
    """A store, and what is done with it; ``changed`` are settings other than the default."""

    def __init__(self, root: Path, **changed: Any) -> None:
        self.root = root
        self.store = LocalStore(root)
        self.changed = changed
        self.settings = Settings(store=self.store.url, spark_master="local[2]", **changed)

    def copy(self, root: Path, **changed: Any) -> Loop:
        """The same files as another store."""
        shutil.copytree(self.root, root)
        return Loop(root, **changed)

    def call(self, *words: str) -> Said:
        """A command of the command line on this store, in this process."""
        out, err, code = _stream(), _stream(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setattr(sys, "argv", ["quotaloop", "--store", self.store.url, *words])
            for name, value in self.changed.items():
                patch.setenv(f"QUOTALOOP_{name.upper()}", str(value))
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
        return Said(code, _text(out), _text(err))

    def land(self, topic: str, *lines: Event | bytes, at: int = NO_TIME) -> Import:
        """Land lines as a file of their own."""
        data = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.jsonl"
            path.write_bytes(b"".join(line + b"\n" for line in data))
            return self.land_file(path, topic, at=at)

    def land_file(self, path: Path, topic: str, *, file_format: str = "native", at: int = NO_TIME) -> Import:
        """Land a file."""
        return land_file(
            self.store,
            path,
            topic=topic,
            file_format=file_format,
            settings=self.settings,
            landed_at_ms=at,
            now_ms=DAY,
        )

    def land_records(self, topic: str, *records: tuple[int, bytes | None]) -> Range:
        """One raw range of Kafka times and values."""
        item = Range(topic, 0, 0, len(records))
        rows = [encode(Record(offset, at, value)) for offset, (at, value) in enumerate(records)]
        topics.declare(self.store, topic, {"source": "files", "format": "native", "derived": []})
        assert self.store.write_if_absent(item.path, gzip.compress(b"".join(rows), 1, mtime=0))
        return item

    def work(self) -> Work:
        """A run's work."""
        return Work(self.settings)

    def run(self) -> Done:
        """The whole loop, in this process."""
        return run_loop(self.settings, Silence())

    def release(self) -> Release:
        """The newest release."""
        found = newest(self.store)
        assert found is not None
        return found

    def sql(self, statement: str) -> Rows:
        """Rows of a SELECT over the newest release."""
        with open_views(self.store, self.release()) as connection:
            return connection.execute(statement).fetchall()

    def files(self, table: str) -> list[FileEntry]:
        """The files that the newest release lists for a table."""
        release = self.release()
        if table == INGEST_LEDGER.name:
            return [release.ledger] if release.ledger else []
        return [entry for day in read_days(self.store, release).values() for entry in day.tables.get(table, ())]

    def rows(self, table: str) -> list[Row]:
        """A table's rows, read from the Parquet files of the newest release and in no order."""
        return [row for entry in self.files(table) for row in pq.read_table(self.root / entry.path).to_pylist()]

    def ledger(self) -> dict[str, int]:
        """Sums of the ledger's counts."""
        names = ("lines", "accepted", "duplicate", "late", "quarantined")
        ((*sums,),) = self.sql(f"SELECT {', '.join(f'sum({name})::BIGINT' for name in names)} FROM ingest_ledger")
        return dict(zip(names, sums, strict=True))

    def reasons(self) -> dict[str, int]:
        """Quarantined lines by reason, of all files."""
        counts: dict[str, int] = {}
        for (found,) in self.sql("SELECT reasons FROM ingest_ledger"):
            for reason, count in found.items():
                counts[reason] = counts.get(reason, 0) + count
        return dict(sorted(counts.items()))

    def tables(self) -> dict[str, Rows]:
        """Every published table in its declared order, and ``events`` by id and place."""
        return tables_of(self.store, self.release())

    def recounted(self) -> dict[str, Any]:
        """The tables that MapReduce made for the newest release."""
        revision = self.work().latest
        assert revision is not None
        assert revision.ledger is not None
        (folder,) = (self.root / "builds" / revision.ledger.path.split("/")[2]).glob("recount-*")
        return {path.stem: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}

    def hours(self, word: str = "twice") -> list[int]:
        """Hours, counted from ``DAY``, that the newest release counted so often."""
        days = read_days(self.store, self.release()).values()
        return sorted((hour - DAY) // HOUR for day in days for hour, said in day.counted.items() if said == word)

    def bytes(self) -> dict[str, str]:
        """The digest of every file of the store."""
        return {info.path: hashlib.sha256(self.store.read(info.path)).hexdigest() for info in self.store.files("")}

    def check_whole(self) -> None:
        """``CURRENT`` names the newest release, and every file that it lists is there as it was written."""
        release = self.release()
        assert int(self.store.read("CURRENT")) == release.number
        assert release.ledger is not None
        days = read_days(self.store, release).values()
        entries = [entry for day in days for listed in day.tables.values() for entry in listed]
        for entry in [release.ledger, *entries]:
            data = self.store.read(entry.path)
            assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.bytes, entry.sha256), entry.path
            with self.store.open(entry.path) as file:
                assert pq.read_metadata(file).num_rows == entry.rows, entry.path


def _stream() -> io.TextIOWrapper:
    """A standard stream that keeps what is written to it."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def tables_of(store: Store, release: Release) -> dict[str, Rows]:
    """Every published table of a release in its declared order, and ``events`` by id and place."""
    orders = {name: table.grain for name, table in PUBLISHED.items()}
    orders["events"] = ("event_id", "topic", '"partition"', '"offset"')
    with open_views(store, release) as connection:
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY {', '.join(order)}").fetchall()
            for name, order in orders.items()
        }


def assert_same(found: dict[str, Rows], wanted: dict[str, Rows]) -> None:
    """Row for row, with the table named."""
    assert found.keys() == wanted.keys()
    for name, rows in wanted.items():
        assert found[name] == rows, name


def ms(moment: datetime) -> int:
    """Milliseconds from the beginning of ``DAY``."""
    return round(moment.astimezone(UTC).timestamp() * 1000) - DAY


def shuffled(items: Iterable[Any], seed: int) -> list[Any]:
    """The items in another order, the same for the same seed."""
    return sorted(items, key=lambda item: hashlib.sha256(f"{seed}:{item}".encode()).digest())


def assert_same_release(found: Loop, wanted: Loop) -> None:
    """Two stores have the same tables, the same raw and the same hours counted twice."""
    assert_same(found.tables(), wanted.tables())
    assert found.release().raw == wanted.release().raw
    assert _days(found) == _days(wanted)


def _days(loop: Loop) -> dict[str, tuple[Row, Row]]:
    """What the day manifests say beside their files."""
    days = read_days(loop.store, loop.release())
    return {
        date: (dict(sorted(day.counted.items())), {hour: sorted(rows) for hour, rows in sorted(day.outcomes.items())})
        for date, day in days.items()
    }
