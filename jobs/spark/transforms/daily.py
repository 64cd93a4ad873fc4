"""The daily siblings: a day merged from its hours, never averaged."""

from __future__ import annotations

import pyarrow as pa

from jobs.spark.sql import Connection, listed, result
from jobs.spark.transforms.latency import summary
from quotaloop.marts.tables import DAILY, LATENCY_HOURLY, LATENCY_SUMMARY, LATENCY_SUMMARY_DAILY, Table

_MS_COLUMNS = ("gpu_ms", "sum_ms")


def daily(db: Connection, table: Table) -> pa.Table:
    """A daily table from its hourly one, which is a view of ``db``.

    Amounts are added, peaks are the greatest; of concurrency, demand and admitted are the greatest too. Quantiles come
    from the day's histogram (``latency_hourly``).
    """
    if table is LATENCY_SUMMARY_DAILY:
        return _latency_summary_daily(db)
    merged = ", ".join(f"{_merge(column.name, column.merge, table)} AS {column.name}" for column in table.measures)
    keys = listed(table.grain)
    query = f"SELECT {keys}, {merged} FROM (SELECT *, hour::DATE AS date FROM {DAILY[table].name}) GROUP BY {keys}"
    return result(db, query, table.schema, table.grain)


def _latency_summary_daily(db: Connection) -> pa.Table:
    grain = LATENCY_SUMMARY_DAILY.grain
    keys = f"hour::DATE AS date, {listed(grain[1:])}"
    cells = f"""
        WITH known AS (
            SELECT {keys}, min({_micros("min_ms")}) AS min_us, max({_micros("max_ms")}) AS max_us,
                sum({_micros("sum_ms")})::BIGINT AS whole_us
            FROM {LATENCY_SUMMARY.name} GROUP BY ALL),
        histogram AS (
            SELECT {keys}, bucket, sum(count)::BIGINT AS count
            FROM {LATENCY_HOURLY.name} WHERE outcome = 'ok' GROUP BY ALL)
        SELECT *, CASE WHEN row_number() OVER (PARTITION BY {listed(grain)} ORDER BY bucket) = 1
                       THEN whole_us ELSE 0 END AS sum_us
        FROM histogram JOIN known USING ({listed(grain)})"""
    return result(db, summary(db, cells, grain), LATENCY_SUMMARY_DAILY.schema, grain)


def _merge(name: str, how: str, table: Table) -> str:
    if how in ("max", "min"):
        return f"{how}({name})"
    if name in _MS_COLUMNS:
        return f"sum({_micros(name)})::BIGINT / 1000"
    if name in ("demand", "admitted") and "kind" in table.grain:
        return f"CASE WHEN kind = 'concurrency' THEN max({name}) ELSE sum({name})::BIGINT END"
    return f"sum({name})::BIGINT"


def _micros(name: str) -> str:
    return f"round({name} * 1000)::BIGINT"
