"""Raw files made of a few events, and their recount in this process."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.mapreduce.plan import Plan
from jobs.mapreduce.recount import Recount, recount
from quotaloop.raw.record import encode_all

HOUR_MS = 3_600_000
DAY = 1_772_409_600_000  # 2026-03-02T00:00:00Z

Event = dict[str, Any]


class Workshop:
    """Lands events as raw files and counts them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[str] = []

    def event(self, event_id: str, ts: int, **fields: Any) -> Event:
        """An event of tenant ``a``; ``ts`` is in ms from the beginning of the day."""
        usual = {"tenant": "a", "route": "/r", "api_version": "v1", "status": 200, "duration_ms": 1}
        return {"event_id": event_id, "ts": DAY + ts, **usual, **fields}

    def land(self, *events: Event | bytes, topic: str = "t", partition: int = 0, start: int = 0, time: int = -1) -> str:
        """One raw file; bytes are lines as they are."""
        lines = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in events]
        path = self.root / f"raw/{topic}/p={partition:05d}/{start:020d}-{start + len(lines):020d}.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(encode_all(lines, first_offset=start, kafka_time_ms=time)))
        self.files.append(str(path))
        return str(path)

    def plan(self, emit: Sequence[int], read: Sequence[int] | None = None, shards: int = 1) -> Plan:
        """Hours are counted from the beginning of the day."""
        hours = [tuple(DAY + hour * HOUR_MS for hour in chosen) for chosen in (emit, emit if read is None else read)]
        return Plan(hours[0], hours[1], late_bound_ms=48 * HOUR_MS, shards=shards)

    def count(self, emit: Sequence[int] = (0, 1, 2, 3), read: Sequence[int] | None = None, shards: int = 1) -> Recount:
        """The recount of all that was landed."""
        return recount(self.files, self.plan(emit, read, shards), runner="inline")


def rows(table: pa.Table, *columns: str, **wanted: Any) -> list[tuple[Any, ...]]:
    """Rows that have these values; times as the number of the hour in the day (minutes as ``hh:mm``)."""
    found = [row for row in table.to_pylist() if all(row[name] == value for name, value in wanted.items())]
    for row in found:
        if "hour" in row:
            row["hour"] = (int(row["hour"].timestamp() * 1000) - DAY) // HOUR_MS
        if "minute" in row:
            row["minute"] = f"{row['minute']:%H:%M}"
    return [tuple(row[name] for name in columns) for row in found]


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """An empty raw zone; its path has a space in it, as a user's may."""
    return Workshop(tmp_path / "a store")
