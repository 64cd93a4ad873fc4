"""A release as SQL views: DuckDB over exactly its files, read-only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from quotaloop.errors import UsageError
from quotaloop.events.columns import CONTENT, COORDINATES, TIME
from quotaloop.marts.candidate import EVENTS
from quotaloop.marts.integrity import check_copy, check_files, check_sizes, copies
from quotaloop.marts.internal import EXCLUSIONS
from quotaloop.marts.policy_views import add_policies
from quotaloop.marts.release import Day, FileEntry, Release, read_days
from quotaloop.marts.tables import INGEST_LEDGER, PUBLISHED
from quotaloop.quotas.policy import policies
from quotaloop.storage.parquet import relation, verbatim
from quotaloop.storage.store import Store

_IN_MS = {"duration_us": "duration_ms", "ttft_us": "ttft_ms", "gpu_us": "gpu_ms"}
EVENT_COLUMNS = tuple([_IN_MS.get(name, name) for name, _ in CONTENT] + ["hour", "topic", "partition", "offset"])
_BEHIND = {"rate_limit_against_policy": "rate_limit_usage"}  # views to the table whose files they read
_OF_POLICIES = frozenset({"quota_decisions", "rate_limit_against_policy"})
_READ_BY_NAME = ("query", "query_table")  # functions that read what a text names
_NO_EVENTS = pa.schema([*CONTENT, ("hour", TIME), *COORDINATES])
_FIELDS = [f'"{name}" / 1000 AS "{_IN_MS[name]}"' if name in _IN_MS else f'"{name}"' for name, _ in CONTENT]
_KEPT = ", ".join([*_FIELDS, 'hour, topic, "partition", "offset"'])


@contextmanager
def open_views(
    store: Store,
    release: Release,
    *,
    tables: Iterable[str] | None = None,
    proven: bool = False,
    since: str = "",
    memory: str = "",
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with one view a table over the release, and nothing else that it may read or change.

    ``tables`` names those that will be read, all unless given; the files of others need not be on this machine, and to
    read their views is an error. Raises ``InputUnreadable`` for a file of the release that is gone or has another size,
    and of ``proven`` tables also for one with another SHA-256; parsed events, which are large, are left to their sizes.
    With ``since`` the files of days before that UTC date are left out. ``memory``, such as ``2GB``, is what a query may
    take, which then may not spill either; it is an error of the query that needs more.
    """
    days = read_days(store, release)
    check_sizes(store, _entries(release, days, None))
    days = {date: day for date, day in days.items() if date >= since}
    wanted = None if tables is None else frozenset(_BEHIND.get(name, name) for name in tables)
    entries = _entries(release, days, wanted)
    with ExitStack() as stack:
        found = stack.enter_context(copies(store, entries))
        if proven:
            for entry in _entries(release, days, (wanted if wanted is not None else frozenset(PUBLISHED)) - {EVENTS}):
                check_copy(found[entry.path], entry)
        here = {path: str(copy) for path, copy in found.items()}
        connection = stack.enter_context(duckdb.connect())
        connection.execute("SET TimeZone = 'UTC'")
        if memory:
            connection.execute("SET memory_limit = ?", [memory])
            connection.execute("SET temp_directory = ''")
        try:
            _make_views(connection, release, days, wanted, here)
            reads_policies = tables is None or _OF_POLICIES & frozenset(tables)  # which may be many, and large
            add_policies(connection, policies(store) if reads_policies else ())
        except duckdb.Error:
            check_files(store, entries)
            raise
        connection.execute("SET allowed_paths = ?", [sorted({*here.values(), *map(verbatim, here.values())})])
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield connection


def named(sql: str) -> frozenset[str] | None:
    """What a SELECT reads, in small letters; None where it cannot be told before it runs.

    Raises ``UsageError`` for anything but one SELECT.
    """
    with duckdb.connect() as connection:
        try:
            _check_select(connection, sql)
            rows = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        except duckdb.Error as error:
            raise _wrong(error) from error
    left: list[Any] = [json.loads(text) for (text,) in rows]
    if any(document.get("error") for document in left):
        return None
    found = set()
    while left:
        item = left.pop()
        if isinstance(item, dict):
            if item.get("function_name") in _READ_BY_NAME:
                return None
            if item.get("type") == "BASE_TABLE":
                found.add(item["table_name"].lower())
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
    return frozenset(found)


def read_files(store: Store, release: Release, tables: Iterable[str] | None) -> list[FileEntry]:
    """The files that views of these tables read, of all unless they are given."""
    wanted = None if tables is None else frozenset(_BEHIND.get(name, name) for name in tables)
    return _entries(release, read_days(store, release), wanted)


def query(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.DuckDBPyRelation:
    """The rows of one SELECT; raises ``UsageError`` for anything else and for what DuckDB refuses."""
    try:
        _check_select(connection, sql)
        return connection.sql(sql).materialize()
    except duckdb.Error as error:
        raise _wrong(error) from error


def _check_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type.name != "SELECT":
        raise UsageError("sql takes one SELECT")


def _wrong(error: duckdb.Error) -> UsageError:
    return UsageError(f"sql: {' '.join(str(error).split())}")


def _entries(release: Release, days: Mapping[str, Day], wanted: frozenset[str] | None) -> list[FileEntry]:
    """Files of the release, of some tables or (None) of all, internal ones too; each once."""
    beside = {EXCLUSIONS} if wanted is not None and EVENTS in wanted else set()
    found = {
        entry.path: entry
        for day in days.values()
        for table, entries in day.tables.items()
        if wanted is None or table in wanted or table in beside
        for entry in entries
    }
    if release.ledger is not None and (wanted is None or INGEST_LEDGER.name in wanted):
        found[release.ledger.path] = release.ledger
    return list(found.values())


def _make_views(
    connection: duckdb.DuckDBPyConnection,
    release: Release,
    days: Mapping[str, Day],
    wanted: frozenset[str] | None,
    here: Mapping[str, str],
) -> None:
    files: dict[str, list[str]] = {name: [] for name in PUBLISHED if wanted is None or name in wanted}
    for day in days.values():
        for name, entries in day.tables.items():
            if name in files:
                files[name].extend(here[entry.path] for entry in entries)
    if release.ledger is not None and INGEST_LEDGER.name in files:
        files[INGEST_LEDGER.name].append(here[release.ledger.path])
    for name, table in PUBLISHED.items():
        if name in files:
            _view(connection, name, files[name], table.schema)
        else:
            _closed(connection, name, table.schema.empty_table())
    if wanted is None or EVENTS in wanted:
        _events(connection, days, here)
    else:
        source = connection.from_arrow(_NO_EVENTS.empty_table()).project(_KEPT)
        _closed(connection, EVENTS, source.to_arrow_table())


def _closed(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    """A view that can be described and not be read."""
    described = connection.from_arrow(rows)
    typed = zip(described.columns, described.types, strict=True)
    columns = ", ".join(f'NULL::{kind} AS "{column}"' for column, kind in typed)
    closed = f"error('{name} is not open; name it in the statement') IS NULL"
    connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM (SELECT 1) WHERE {closed}")


def _view(connection: duckdb.DuckDBPyConnection, name: str, paths: list[str], schema: pa.Schema) -> None:
    columns = ", ".join(f'"{column}"' for column in schema.names)
    if paths:
        source = relation(paths)
    else:
        connection.register(f"empty_{name}", schema.empty_table())
        source = f"empty_{name}"
    connection.execute(f"CREATE VIEW {name} AS SELECT {columns} FROM {source}")


def _events(connection: duckdb.DuckDBPyConnection, days: Mapping[str, Day], here: Mapping[str, str]) -> None:
    """Parsed events without the excluded ones, of the hours for which the release lists their file."""
    hours: dict[str, list[int]] = {}
    excluded: list[str] = []
    for day in days.values():
        for entry in day.tables.get(EVENTS, ()):
            hours.setdefault(here[entry.path], []).extend(entry.hours)
        excluded.extend(here[entry.path] for entry in day.tables.get(EXCLUSIONS, ()))
    if not hours:
        connection.register("empty_events", _NO_EVENTS.empty_table())
        connection.execute(f"CREATE VIEW events AS SELECT {_KEPT} FROM empty_events")
        return
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
    connection.execute(f"CREATE VIEW events AS SELECT {_KEPT} FROM {source}")
