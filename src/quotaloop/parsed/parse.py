"""Parse one landed range into its unit; safe to kill at any instruction and to run again."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quotaloop import faults
from quotaloop.events.columns import EVENTS_SCHEMA, HOUR_MS
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.parsed.block import REJECTS_SCHEMA, parse_block
from quotaloop.parsed.blocks import blocks
from quotaloop.parsed.unit import Note, Unit
from quotaloop.storage.store import Pending, Store

# A dictionary pays where values repeat; ids and counters do not.
_PLAIN = ("event_id", "ts", "duration_us", "ttft_us", "offset", "seq", "gpu_us", "bytes_in", "bytes_out", "itl_us")
_SUMMED = (*TOKEN_CLASSES, "wanted_tokens", "gpu_us", "bytes_in", "bytes_out")


_MOST_FIELDS = 100


def most_frequent(names: Counter[str]) -> dict[str, int]:
    """The 100 most frequent names with their counts; of equal ones the first by name."""
    return dict(sorted(sorted(names.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOST_FIELDS]))


def parse_unit(store: Store, unit: Unit, *, late_bound_ms: int) -> Note:
    """Read the range's raw file and commit events, rejects and, last, the note."""
    note = Note()
    reasons, unknown, sums = Counter[str](), Counter[str](), Counter[str]()
    with store.create() as events, store.create() as rejects, store.open(unit.range.path) as raw:
        sink = _Hashed(events)
        with (
            _writer(sink, EVENTS_SCHEMA) as event_writer,
            _writer(_Hashed(rejects), REJECTS_SCHEMA) as reject_writer,
        ):
            for block in blocks(raw):
                outcome = parse_block(block, unit.range, late_bound_ms=late_bound_ms, parser=unit.fingerprint)
                note.lines += outcome.lines
                note.events += outcome.events.num_rows
                reasons.update(outcome.reasons)
                unknown.update(outcome.unknown_fields)
                _observe(note, outcome.events, sums)
                event_writer.write_table(outcome.events)
                reject_writer.write_table(pa.Table.from_pylist(outcome.rejects, schema=REJECTS_SCHEMA))
        note.late = reasons.pop("late", 0)
        note.reasons = dict(sorted(reasons.items()))
        note.unknown_fields = most_frequent(unknown)
        note.greatest_sum = max(sums.values(), default=0)
        note.events_sha256, note.events_bytes = sink.digest.hexdigest(), sink.size
        events.commit(unit.events_path)
        faults.reached("parse:columns")
        rejects.commit(unit.rejects_path)
        faults.reached("parse:rejects")
    store.write_if_absent(unit.note_path, note.render())
    faults.reached("parse:unit")
    return note


class _Hashed:
    """A sink for Parquet that counts and hashes what goes through."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        self.digest.update(view)
        self.size += view.nbytes
        self._pending.write(bytes(view))
        return view.nbytes

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True


def _writer(sink: _Hashed, schema: pa.Schema) -> pq.ParquetWriter:
    names = [name for name in schema.names if name not in _PLAIN]
    return pq.ParquetWriter(
        sink, schema, compression="zstd", compression_level=1, use_dictionary=names, write_statistics=["hour"]
    )


def _observe(note: Note, events: pa.Table, sums: Counter[str]) -> None:
    """Add a block's events to the note."""
    if events.num_rows == 0:
        return
    hours = events["hour"].cast(pa.int64())
    ends = events["ts"].cast(pa.int64()).to_numpy() * 1000 + np.maximum(events["duration_us"].to_numpy(), 1) - 1
    reach = pa.array(ends // (HOUR_MS * 1000) * HOUR_MS)
    for row in _grouped(pa.table({"hour": hours, "reach": reach}), ["hour"], [("reach", "max"), ("reach", "count")]):
        count, last = note.hours.get(row["hour"], (0, row["hour"]))
        note.hours[row["hour"]] = (count + row["reach_count"], max(last, row["reach_max"]))
    for name in _SUMMED:
        sums[name] += _exact_sum(events[name])
    _observe_stamps(note, events, hours)


def _observe_stamps(note: Note, events: pa.Table, hours: pa.ChunkedArray) -> None:
    narrow = pa.table(
        {name: events[name] for name in ("host", "boot", "seq", "prev_boot", "prev_seq")} | {"hour": hours}
    )
    stamped = narrow.filter(pc.is_valid(narrow["seq"]))
    seen = {(host, boot, hour): (low, high) for host, boot, hour, low, high in note.stamps}
    for row in _grouped(stamped, ["host", "boot", "hour"], [("seq", "min"), ("seq", "max")]):
        key = (row["host"], row["boot"], row["hour"])
        low, high = seen.get(key, (row["seq_min"], row["seq_max"]))
        seen[key] = (min(low, row["seq_min"]), max(high, row["seq_max"]))
    note.stamps = sorted((*key, *bounds) for key, bounds in seen.items())
    claims = stamped.filter(pc.is_valid(stamped["prev_boot"]))
    rows = _grouped(claims, ["host", "boot", "hour", "prev_boot", "prev_seq"], [])
    found = {(row["host"], row["boot"], row["hour"], row["prev_boot"], row["prev_seq"]) for row in rows}
    note.prior = sorted(found | set(note.prior))


def _grouped(table: pa.Table, keys: list[str], aggregates: list[tuple[str, str]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.group_by(keys).aggregate(aggregates).to_pylist()
    return rows


def _exact_sum(column: pa.ChunkedArray) -> int:
    """The sum as a Python integer, beyond 64 bits too."""
    numbers = pc.fill_null(column, 0).to_numpy()
    high, low = numbers >> 32, numbers & 0xFFFFFFFF
    return (int(high.sum()) << 32) + int(low.sum())
