"""Parquet files: as tables, and as something that DuckDB reads from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from quotaloop.storage.store import Store


def read_table(
    store: Store, path: str, *, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """All rows of a file; raises ``FileNotFoundError``."""
    return pq.read_table(held_by_arrow(store.read(path)), columns=columns, schema=schema)


def read_tables(
    store: Store, paths: Sequence[str], *, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> list[pa.Table]:
    """All rows of each of these files, fetched together; raises ``FileNotFoundError``."""
    with store.all_on_disk(paths) as files:
        return [pq.read_table(held_by_arrow(file.read_bytes()), columns=columns, schema=schema) for file in files]


def held_by_arrow(data: bytes) -> pa.BufferReader:
    """The bytes as a file in Arrow's own memory.

    A thread of Arrow may be the last to hold what it read from. If that is an object of Python (bytes, a file), and the
    interpreter is ending just then, the thread cannot let go of it and aborts the process.
    """
    stream = pa.BufferOutputStream()
    stream.write(data)
    return pa.BufferReader(stream.getvalue())


def relation(paths: Iterable[str], *, filename: bool = False) -> str:
    """SQL for the rows of exactly these files, of which there is at least one; they lie on this machine."""
    listed = ", ".join("'" + verbatim(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{listed}], filename = {str(filename).lower()}, hive_partitioning = false)"


def verbatim(path: str) -> str:
    """The path as a pattern that only itself matches."""
    return re.sub(r"[*?[]", r"[\g<0>]", path)
