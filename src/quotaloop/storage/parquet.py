"""Parquet files of a store as tables."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from quotaloop.storage.store import Store


def read_table(
    store: Store, path: str, *, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """All rows of a file; raises ``FileNotFoundError``.

    The bytes are read first. From a file object, Arrow's threads read ahead, and one that is still at it when the
    interpreter ends aborts the process.
    """
    return pq.read_table(pa.BufferReader(store.read(path)), columns=columns, schema=schema)
