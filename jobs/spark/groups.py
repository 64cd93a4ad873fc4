"""A bound on the groups of an hour: one writer with an endless column must not fill the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from quotaloop.errors import CheckRefused
from quotaloop.marts.release import FileEntry, rfc3339
from quotaloop.marts.tables import Table
from quotaloop.storage.parquet import read_table
from quotaloop.storage.store import Store


def check(store: Store, table: Table, files: Sequence[FileEntry], most: int) -> None:
    """Raise ``CheckRefused`` where an hour of these files has more than ``most`` rows, and name the widest column."""
    rows: Counter[int] = Counter()
    for entry in files:
        rows[entry.hours[0]] += entry.rows
    for hour, count in rows.items():
        if count > most:
            column = _widest(store, table, [entry.path for entry in files if entry.hours == (hour,)])
            raise CheckRefused(
                f"{table.name} has {count} rows in hour {rfc3339(hour)}, more than max_groups = {most}: "
                f"{column} has the most distinct values; fix what writes it, or raise QUOTALOOP_MAX_GROUPS"
            )


def _widest(store: Store, table: Table, paths: Iterable[str]) -> str:
    columns = [column for column in table.grain if column != table.time]
    seen: dict[str, set[object]] = {column: set() for column in columns}
    for path in paths:
        rows = read_table(store, path, columns=columns)
        for column in columns:
            seen[column].update(rows[column].unique().to_pylist())
    return max(columns, key=lambda column: len(seen[column]))
