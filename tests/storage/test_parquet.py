"""Parquet from the bytes of a store."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from quotaloop.storage.local import LocalStore
from quotaloop.storage.parquet import held_by_arrow, read_table, read_tables


def test_rows_and_columns_come_back(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), sink)
    store.write_if_absent("t.parquet", sink.getvalue().to_pybytes())
    assert read_table(store, "t.parquet").to_pydict() == {"a": [1, 2], "b": ["x", "y"]}
    (found,) = read_tables(store, ["t.parquet"], columns=["b"])
    assert found.to_pydict() == {"b": ["x", "y"]}


def test_what_is_read_holds_no_object_of_python() -> None:
    """Or a thread of Arrow that lets go of it while the interpreter ends aborts the process."""
    data = bytes(range(256)) * 10
    before = sys.getrefcount(data)
    reader = held_by_arrow(data)
    assert sys.getrefcount(data) == before
    assert reader.read() == data
