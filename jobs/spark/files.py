"""Frames into the files of a revision: one or more Parquet files an hour, written where the rows are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from quotaloop.marts.release import FileEntry
from quotaloop.storage.address import open_store
from quotaloop.storage.store import Store

_WRITTEN = "path string, rows long, bytes long, sha256 string, hour long"
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_MAX_ROWS = 2_000_000  # of one file


def write_frame(
    frame: DataFrame,
    *,
    store_url: str,
    folder: str,
    revision: str,
    schema: pa.Schema,
    order: tuple[str, ...],
    time: str,
) -> list[FileEntry]:
    """Write rows below ``marts/<folder>``, one hour (or one date) a file, in the declared order.

    ``time`` is the column, of type timestamp or date, that says where a row belongs. A file that is there already, from
    an attempt that was cut off, has the same rows and stays.
    """
    moment = F.col(time)
    piece = F.to_date(moment) if time == "date" else F.date_trunc("hour", moment)
    rows = frame.repartition(piece).sortWithinPartitions(*order)
    write = _writer(store_url, folder, revision, schema, time)
    written = rows.mapInArrow(write, _WRITTEN).collect()
    daily = time == "date"
    return sorted(
        (FileEntry(row.path, row.rows, row.bytes, row.sha256, () if daily else (row.hour,)) for row in written),
        key=lambda entry: entry.path,
    )


def write_rows(store: Store, table: pa.Table, *, folder: str, revision: str, moment: int, part: int = 0) -> FileEntry:
    """Write the rows of one hour (epoch ms) as one file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    path = _path(folder, revision, moment, part)
    if not store.write_if_absent(path, data):
        data = store.read(path)
        there = pq.read_metadata(pa.BufferReader(data)).num_rows
        if there != table.num_rows:
            raise RuntimeError(f"{path} has {there} rows where this build makes {table.num_rows}")
    return FileEntry(path, table.num_rows, len(data), hashlib.sha256(data).hexdigest(), (moment,))


def _path(folder: str, revision: str, moment: int, part: int) -> str:
    when = datetime.fromtimestamp(moment // 1000, UTC)
    return f"marts/{folder}/date={when:%Y-%m-%d}/{revision}/part-{when:%H}-{part}.parquet"


def _writer(
    store_url: str, folder: str, revision: str, schema: pa.Schema, time: str
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def write(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        store = open_store(store_url)
        for moment, part, rows in pieces(batches, time, _MAX_ROWS):
            entry = write_rows(store, rows.cast(schema), folder=folder, revision=revision, moment=moment, part=part)
            row: dict[str, Any] = {
                "path": entry.path,
                "rows": entry.rows,
                "bytes": entry.bytes,
                "sha256": entry.sha256,
                "hour": moment,
            }
            yield pa.RecordBatch.from_pylist([row])

    return write


def pieces(batches: Iterable[pa.RecordBatch], time: str, most: int) -> Iterator[tuple[int, int, pa.Table]]:
    """Consecutive rows of one hour or date, at most ``most`` of them: its epoch ms, a number, the rows."""
    held: list[pa.Table] = []
    moment, part = -1, 0
    for batch in batches:
        table = pa.Table.from_batches([batch])
        for start, piece in _runs(_moments(table[time], time), table):
            if start != moment or sum(rows.num_rows for rows in held) >= most:
                if held:
                    yield moment, part, pa.concat_tables(held)
                part = part + 1 if start == moment and held else 0
                held, moment = [], start
            held.append(piece)
    if held:
        yield moment, part, pa.concat_tables(held)


def _moments(column: pa.ChunkedArray, time: str) -> pa.Array:
    width = _DAY_MS if time == "date" else _HOUR_MS
    millis = column.cast(pa.timestamp("ms")).cast(pa.int64()).combine_chunks()
    return pc.multiply(pc.divide(millis, width), width)


def _runs(moments: pa.Array, table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    encoded = pc.run_end_encode(moments, run_end_type=pa.int32())
    begin = 0
    for value, end in zip(encoded.values.to_pylist(), encoded.run_ends.to_pylist(), strict=True):
        yield value, table.slice(begin, end - begin)
        begin = end
