"""Table ``ingest_ledger``: what became of every line of every raw file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.spark.inputs import Inputs
from quotaloop.marts.release import Day, FileEntry
from quotaloop.marts.tables import INGEST_LEDGER
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store

FileKey = tuple[str, int, int]


def write(store: Store, inputs: Inputs, days: Mapping[str, Day], frozen: frozenset[int]) -> FileEntry:
    """The ledger of all ranges, and of ranges whose raw is gone as the parent had them."""
    counts = _outcomes(days)
    rows = [_row(item, inputs.notes[item], counts, frozen) for item in sorted(inputs.ranges)]
    if inputs.parent_ledger is not None:
        here = {(item.topic, item.partition, item.start) for item in inputs.ranges}
        gone = (row for row in inputs.parent_ledger.to_pylist() if _key(row) not in here)
        rows = sorted([*rows, *gone], key=_key)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=INGEST_LEDGER.schema), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    path = f"marts/{INGEST_LEDGER.name}/{inputs.revision}/part-00-0.parquet"
    if not store.write_if_absent(path, data):
        data = store.read(path)
    return FileEntry(path, len(rows), len(data), hashlib.sha256(data).hexdigest())


def _outcomes(days: Mapping[str, Day]) -> dict[FileKey, dict[int, list[int]]]:
    """Raw file to hour to accepted, duplicate, conflicting."""
    counts: dict[FileKey, dict[int, list[int]]] = {}
    for day in days.values():
        for hour, rows in day.outcomes.items():
            for topic, partition, start, *numbers in rows:
                counts.setdefault((topic, partition, start), {})[hour] = numbers
    return counts


def _row(
    item: Range, note: Note, counts: Mapping[FileKey, Mapping[int, list[int]]], frozen: frozenset[int]
) -> dict[str, Any]:
    mine = counts.get((item.topic, item.partition, item.start), {})
    accepted, duplicate, conflicting = (sum(numbers[place] for numbers in mine.values()) for place in range(3))
    too_late = sum(note.hours[hour][0] - sum(mine.get(hour, ())) for hour in note.hours if hour in frozen)
    reasons = Counter(note.reasons)
    if conflicting:
        reasons["conflicting_duplicate"] += conflicting
    return {
        "topic": item.topic,
        "partition": item.partition,
        "start_offset": item.start,
        "end_offset": item.end,
        "lines": note.lines,
        "accepted": accepted,
        "duplicate": duplicate,
        "late": note.late + too_late,
        "quarantined": sum(reasons.values()),
        "reasons": sorted(reasons.items()),
        "unknown_fields": sorted(note.unknown_fields.items()),
    }


def _key(row: Mapping[str, Any]) -> FileKey:
    return row["topic"], row["partition"], row["start_offset"]
