"""DuckDB as a build uses it: one thread, bounded memory, no extension from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb
import pyarrow as pa

Connection = duckdb.DuckDBPyConnection


@contextmanager
def connect(memory: str) -> Iterator[Connection]:
    """A connection whose data goes to a temporary folder where it does not fit into ``memory`` (such as ``2GB``)."""
    with tempfile.TemporaryDirectory(prefix="quotaloop-") as folder:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "threads": 1,
            "memory_limit": memory,
            "temp_directory": folder,
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(config=settings) as db:
            db.execute("SET TimeZone = 'UTC'")
            yield db


def result(db: Connection, query: str, schema: pa.Schema, order: Sequence[str]) -> pa.Table:
    """The rows of a query with the columns of a schema, in order.

    Raises ``duckdb.ConversionException`` where the query casts a sum that does not fit.
    """
    ordered = f"SELECT {listed(schema.names)} FROM ({query}) ORDER BY {listed(order)}"
    return db.sql(ordered).to_arrow_table().cast(schema)


def listed(columns: Iterable[str]) -> str:
    """Columns by name, quoted."""
    return ", ".join(f'"{name}"' for name in columns)


def in_hours(hours: Iterable[int]) -> str:
    """A condition: the row is of one of these hours (epoch ms)."""
    times = [f"TIMESTAMPTZ '{datetime.fromtimestamp(hour // 1000, UTC):%Y-%m-%d %H}:00:00Z'" for hour in sorted(hours)]
    return f"hour IN ({', '.join(times)})" if times else "false"
