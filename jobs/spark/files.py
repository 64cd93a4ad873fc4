"""Rows into the files of a revision: one or more Parquet files an hour or date, written where the rows are."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quotaloop.marts.release import FileEntry
from quotaloop.storage.parquet import held_by_arrow
from quotaloop.storage.store import Store

_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_MAX_ROWS = 2_000_000  # of one file


def write_table(
    store: Store, rows: pa.Table, *, folder: str, revision: str, hours: Collection[int] | None = None
) -> list[FileEntry]:
    """Write rows below ``marts/<folder>``, one hour or date a file.

    The first column, a timestamp or a date, says where a row belongs; rows are in its order. With ``hours`` (epoch ms),
    others are left out. A file that is there already, from an attempt that was cut off, has the same rows and stays.
    """
    return [
        write_rows(store, piece, folder=folder, revision=revision, moment=moment, part=part)
        for moment, part, piece in pieces(rows, _MAX_ROWS)
        if hours is None or moment in hours
    ]


def write_rows(store: Store, table: pa.Table, *, folder: str, revision: str, moment: int, part: int = 0) -> FileEntry:
    """Write the rows of one hour or date (epoch ms) as one file."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    path = _path(folder, revision, moment, part)
    if not store.write_if_absent(path, data):
        data = store.read(path)
        there = pq.read_metadata(held_by_arrow(data)).num_rows
        if there != table.num_rows:
            raise RuntimeError(f"{path} has {there} rows where this build makes {table.num_rows}")
    hours = () if pa.types.is_date(table.schema.field(0).type) else (moment,)
    return FileEntry(path, table.num_rows, len(data), hashlib.sha256(data).hexdigest(), hours)


def pieces(rows: pa.Table, most: int) -> Iterator[tuple[int, int, pa.Table]]:
    """Rows of one hour or date, at most ``most`` of them: its epoch ms, a number, the rows.

    Raises ``ValueError`` where rows of one hour do not lie together.
    """
    moments = pc.run_end_encode(_moments(rows.column(0)), run_end_type=pa.int64())
    if len(pc.unique(moments.values)) != len(moments.values):
        raise ValueError("rows are not in the order of their hours")
    begin = 0
    for moment, end in zip(moments.values.to_pylist(), moments.run_ends.to_pylist(), strict=True):
        for part, start in enumerate(range(begin, end, most)):
            yield moment, part, rows.slice(start, min(most, end - start))
        begin = end


def _path(folder: str, revision: str, moment: int, part: int) -> str:
    when = datetime.fromtimestamp(moment // 1000, UTC)
    return f"marts/{folder}/date={when:%Y-%m-%d}/{revision}/part-{when:%H}-{part}.parquet"


def _moments(column: pa.ChunkedArray) -> pa.Array:
    width = _DAY_MS if pa.types.is_date(column.type) else _HOUR_MS
    millis = column.cast(pa.timestamp("ms")).cast(pa.int64()).combine_chunks()
    return pc.multiply(pc.divide(millis, width), width)
