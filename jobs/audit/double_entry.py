"""Double entry: the tables that Spark built against the recount from raw, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import duckdb
import pyarrow as pa

from quotaloop.latency import QUANTILES, bucket_values_ms
from quotaloop.marts import tables
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.release import Verdict, rfc3339
from quotaloop.storage.parquet import read_tables
from quotaloop.storage.store import Store

CHECK = "double_entry"
COMPARED = tables.HOURLY
_INTEGERS = {"gpu_ms": "gpu_us", "min_ms": "min_us", "max_ms": "max_us", "sum_ms": "sum_us"}
_SUMMARY = tables.LATENCY_SUMMARY


def double_entry(store: Store, candidate: Candidate, recounted: Mapping[str, pa.Table]) -> list[Verdict]:
    """One verdict a table, over the hours that were recounted; a difference names its first cell."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    hours = frozenset(candidate.emit)
    verdicts = []
    for table in COMPARED:
        connection.register("ours", _published(store, candidate, table, hours))
        connection.register("theirs", _as_published(connection, table, recounted))
        verdicts.append(_compare(connection, table.name, table.grain, [column.name for column in table.measures]))
    connection.register("ours", _outcomes(candidate, hours))
    connection.register("theirs", recounted["outcomes"].rename_columns(_OUTCOME_COLUMNS))
    verdicts.append(_compare(connection, "outcomes", _OUTCOME_COLUMNS[:4], _OUTCOME_COLUMNS[4:]))
    return verdicts


_OUTCOME_COLUMNS = ["hour", "topic", "partition", "start_offset", "accepted", "duplicate", "conflicting"]


def _published(store: Store, candidate: Candidate, table: tables.Table, hours: frozenset[int]) -> pa.Table:
    entries = [entry for day in candidate.days.values() for entry in day.tables.get(table.name, ())]
    paths = [entry.path for entry in entries if not hours.isdisjoint(entry.hours)]
    return pa.concat_tables([table.schema.empty_table(), *read_tables(store, paths, schema=table.schema)])


def _as_published(
    connection: duckdb.DuckDBPyConnection, table: tables.Table, recounted: Mapping[str, pa.Table]
) -> pa.Table:
    """The recount's integers as the published columns; quantiles from its own histogram."""
    connection.register("counted", recounted[table.name])
    if table is _SUMMARY:
        return _with_quantiles(connection, recounted)
    columns = ", ".join(
        f"{_INTEGERS[name]} / 1000 AS {name}" if name in _INTEGERS else name for name in table.schema.names
    )
    return connection.sql(f"SELECT {columns} FROM counted").to_arrow_table()


def _with_quantiles(connection: duckdb.DuckDBPyConnection, recounted: Mapping[str, pa.Table]) -> pa.Table:
    values = bucket_values_ms()
    connection.register("histogram", recounted[tables.LATENCY_HOURLY.name])
    connection.register(
        "bucket_values", pa.table({"bucket": pa.array(range(len(values)), pa.int32()), "value": values})
    )
    grain = ", ".join(_SUMMARY.grain)
    ranks = ", ".join(
        f"min(value) FILTER (seen >= (total * {top} + {bottom - 1}) // {bottom}) AS {name}"
        for name, top, bottom in QUANTILES
    )
    clamped = ", ".join(f"greatest(least({name}, max_us / 1000), min_us / 1000) AS {name}" for name, _, _ in QUANTILES)
    return connection.sql(
        f"""
        WITH running AS (
            SELECT {grain}, value,
                   sum(count) OVER (PARTITION BY {grain} ORDER BY bucket)::BIGINT AS seen,
                   sum(count) OVER (PARTITION BY {grain})::BIGINT AS total
            FROM histogram JOIN bucket_values USING (bucket) WHERE outcome = 'ok'),
        quantiles AS (SELECT {grain}, {ranks} FROM running GROUP BY {grain})
        SELECT {grain}, count, min_us / 1000 AS min_ms, max_us / 1000 AS max_ms, sum_us / 1000 AS sum_ms, {clamped}
        FROM counted JOIN quantiles USING ({grain})
        """
    ).to_arrow_table()


def _outcomes(candidate: Candidate, hours: Iterable[int]) -> pa.Table:
    rows = [
        dict(zip(_OUTCOME_COLUMNS, (hour, *counts), strict=True))
        for day in candidate.days.values()
        for hour, files in day.outcomes.items()
        if hour in hours
        for counts in files
    ]
    kinds = [pa.int64(), pa.string(), pa.int32(), *[pa.int64()] * 4]
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(zip(_OUTCOME_COLUMNS, kinds, strict=True))))
    return table.set_column(0, "hour", table["hour"].cast(tables.TIME))


def _compare(
    connection: duckdb.DuckDBPyConnection, name: str, grain: Sequence[str], measures: Sequence[str]
) -> Verdict:
    """Full outer join on the grain; a row that one side lacks differs in every cell."""
    on = " AND ".join(f"o.{column} IS NOT DISTINCT FROM t.{column}" for column in grain)
    differs = " OR ".join(f"o.{column} IS DISTINCT FROM t.{column}" for column in measures)
    keys = ", ".join(f"coalesce(o.{column}, t.{column}) AS {column}" for column in grain)
    pairs = ", ".join(f"o.{column}, t.{column}" for column in measures)
    differing = connection.execute(
        f"SELECT {keys}, {pairs} FROM ours o FULL OUTER JOIN theirs t ON {on} "
        f"WHERE o.{grain[0]} IS NULL OR t.{grain[0]} IS NULL OR {differs} ORDER BY ALL"
    ).fetchall()
    if not differing:
        rows = connection.execute("SELECT count(*) FROM ours").fetchall()[0][0]
        return Verdict(CHECK, True, f"{name}: {rows} rows equal")
    first = differing[0]
    values = first[len(grain) :]
    column, ours, theirs = next(
        (column, values[2 * place], values[2 * place + 1])
        for place, column in enumerate(measures)
        if values[2 * place] != values[2 * place + 1]
    )
    cell = ", ".join(f"{key}={_shown(value)}" for key, value in zip(grain, first, strict=False))
    return Verdict(
        CHECK, False, f"{name}[{cell}].{column}: Spark has {ours}, MapReduce {theirs}; {len(differing)} rows differ"
    )


def _shown(value: object) -> str:
    timestamp = getattr(value, "timestamp", None)
    return rfc3339(int(timestamp()) * 1000) if timestamp else str(value)
