"""A release as SQL views: DuckDB over exactly its files, read-only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import duckdb
import pyarrow as pa

from quotaloop.errors import UsageError
from quotaloop.events.columns import CONTENT, COORDINATES, TIME
from quotaloop.marts.candidate import EVENTS
from quotaloop.marts.integrity import check_file, check_files, check_sizes
from quotaloop.marts.policy_views import add_policies
from quotaloop.marts.release import Day, FileEntry, Release, published_files, read_days
from quotaloop.marts.tables import INGEST_LEDGER, PUBLISHED
from quotaloop.quotas.policy import policies
from quotaloop.storage.parquet import relation, verbatim
from quotaloop.storage.store import Store

_IN_MS = {"duration_us": "duration_ms", "ttft_us": "ttft_ms", "gpu_us": "gpu_ms"}
EVENT_COLUMNS = tuple([_IN_MS.get(name, name) for name, _ in CONTENT] + ["hour", "topic", "partition", "offset"])
_BEHIND = {"rate_limit_against_policy": "rate_limit_usage"}  # views to the table whose files they read


def open_views(store: Store, release: Release, *, proven: Iterable[str] = ()) -> duckdb.DuckDBPyConnection:
    """A connection with one view a table over the release, and nothing else that it may read or change.

    Raises ``InputUnreadable`` for a file that is gone or has another size, and for tables that are to be ``proven``
    also for one with another SHA-256.
    """
    days = read_days(store, release)
    check_sizes(store, published_files(store, release))
    for day in days.values():
        for table in proven:
            for entry in day.tables.get(table, ()):
                check_file(store, entry)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    try:
        _make_views(connection, store, release, days)
    except duckdb.Error:
        check_files(store, published_files(store, release))
        raise
    return connection


def _make_views(connection: duckdb.DuckDBPyConnection, store: Store, release: Release, days: dict[str, Day]) -> None:
    files: dict[str, list[str]] = {name: [] for name in PUBLISHED}
    for day in days.values():
        for table, entries in day.tables.items():
            if table in files:
                files[table].extend(_local(store, entry) for entry in entries)
    if release.ledger is not None:
        files[INGEST_LEDGER.name].append(_local(store, release.ledger))
    for name, paths in files.items():
        _view(connection, name, paths, PUBLISHED[name].schema)
    event_files = _events(connection, store, days)
    add_policies(connection, list(policies(store)))
    allowed = sorted({path for paths in files.values() for path in paths} | set(event_files))
    connection.execute("SET allowed_paths = ?", [sorted({*allowed, *map(verbatim, allowed)})])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def prove(connection: duckdb.DuckDBPyConnection, store: Store, release: Release, sql: str) -> None:
    """Raise ``InputUnreadable`` where a file of a table that a statement names has another SHA-256.

    Parsed events, which are large, are left to their sizes.
    """
    wanted = {_BEHIND.get(name, name) for name in _named(connection, sql)}
    for day in read_days(store, release).values():
        check_files(store, (entry for name in sorted(wanted - {EVENTS}) for entry in day.tables.get(name, ())))
    if release.ledger is not None and INGEST_LEDGER.name in wanted:
        check_file(store, release.ledger)


def _named(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Tables and views that a SELECT names; none for what is no SELECT, which ``query`` will refuse."""
    rows = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
    left: list[Any] = [json.loads(text) for (text,) in rows]
    found = set()
    while left:
        item = left.pop()
        if isinstance(item, dict):
            if item.get("type") == "BASE_TABLE":
                found.add(item["table_name"].lower())
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return found


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The rows of one SELECT; raises ``UsageError`` for anything else and for what DuckDB refuses."""
    try:
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type.name != "SELECT":
            raise UsageError("sql takes one SELECT")
        return connection.sql(sql).materialize()
    except duckdb.Error as error:
        raise UsageError(f"sql: {' '.join(str(error).split())}") from error


def _local(store: Store, entry: FileEntry) -> str:
    return store.uri(entry.path).removeprefix("file://")


def _view(connection: duckdb.DuckDBPyConnection, name: str, paths: list[str], schema: pa.Schema) -> None:
    columns = ", ".join(f'"{column}"' for column in schema.names)
    if paths:
        source = relation(paths)
    else:
        connection.register(f"empty_{name}", schema.empty_table())
        source = f"empty_{name}"
    connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {source}")


def _events(connection: duckdb.DuckDBPyConnection, store: Store, days: dict[str, Day]) -> list[str]:
    """Parsed events without the excluded ones, of the hours for which the release lists their file."""
    hours: dict[str, list[int]] = {}
    excluded: list[str] = []
    for day in days.values():
        for entry in day.tables.get(EVENTS, ()):
            hours.setdefault(_local(store, entry), []).extend(entry.hours)
        excluded.extend(_local(store, entry) for entry in day.tables.get("exclusions", ()))
    columns = ", ".join(
        f'"{name}" / 1000 AS "{_IN_MS[name]}"' if name in _IN_MS else f'"{name}"' for name, _ in CONTENT
    )
    kept = f'{columns}, hour, topic, "partition", "offset"'
    if not hours:
        schema = pa.schema([*CONTENT, ("hour", TIME), *COORDINATES])
        connection.register("empty_events", schema.empty_table())
        connection.execute(f"CREATE VIEW events AS SELECT {kept} FROM empty_events")
        return []
    pairs = pa.table(
        {
            "filename": [path for path, own in hours.items() for _ in own],
            "hour": pa.array([hour for own in hours.values() for hour in own], pa.int64()).cast(TIME),
        }
    )
    connection.register("event_hours", pairs)
    source = f"{relation(hours, filename=True)} AS parsed"
    frozen = any(day.frozen for day in days.values())
    source = f"{source} SEMI JOIN event_hours USING (filename, hour)" if frozen else source
    if excluded:
        source = f'{source} ANTI JOIN {relation(excluded)} AS excluded USING (topic, "partition", "offset")'
    connection.execute(f"CREATE VIEW events AS SELECT {kept} FROM {source}")
    return [*hours, *excluded]
