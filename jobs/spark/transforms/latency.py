"""Tables ``latency_hourly`` and ``latency_summary``, from one histogram with extremes and sum of each cell."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from jobs.spark.sql import Connection, listed, result
from quotaloop.latency import QUANTILES, bucket_values_ms
from quotaloop.marts.tables import LATENCY_HOURLY, LATENCY_SUMMARY

_METRICS = ("duration", "ttft", "itl")
_SERVED = ("hour", "api_version", "model", "route", "protocol", "outcome")


def latency_cells(db: Connection) -> None:
    """Make ``latency_cells`` of ``accepted``: the grain of ``latency_hourly``, count, extremes and sum in us."""
    metrics = " UNION ALL ".join(
        f"""
        SELECT {listed(_SERVED)}, '{name}' AS metric, {name}_bucket::INTEGER AS bucket, count(*) AS count,
            min({name}_us) AS min_us, max({name}_us) AS max_us, sum({name}_us)::BIGINT AS sum_us
        FROM accepted WHERE {name}_bucket IS NOT NULL GROUP BY {listed(_SERVED)}, {name}_bucket"""
        for name in _METRICS
    )
    db.execute(f"CREATE TEMP TABLE latency_cells AS {metrics}")


def latency_hourly(db: Connection) -> pa.Table:
    """The count of every cell of ``latency_cells``."""
    return result(db, "FROM latency_cells", LATENCY_HOURLY.schema, LATENCY_HOURLY.grain)


def latency_summary(db: Connection) -> pa.Table:
    """Outcome ok of ``latency_cells`` alone: count, extremes, sum and quantiles."""
    query = summary(db, "SELECT * FROM latency_cells WHERE outcome = 'ok'", LATENCY_SUMMARY.grain)
    return result(db, query, LATENCY_SUMMARY.schema, LATENCY_SUMMARY.grain)


def summary(db: Connection, cells: str, grain: Sequence[str]) -> str:
    """A query for extremes, sum and quantiles of histograms, one row per ``grain``; ``cells`` is a query too.

    The quantile q is the value of the bucket that holds the element of rank ceil(q * n), clamped to the extremes.
    """
    values = bucket_values_ms()
    db.register("bucket_values", pa.table({"bucket": pa.array(range(len(values)), pa.int32()), "value_ms": values}))
    keys = listed(grain)
    at_rank = ", ".join(
        f"min(value_ms) FILTER (seen >= (total * {top} + {bottom - 1}) // {bottom}) AS {name}"
        for name, top, bottom in QUANTILES
    )
    clamped = ", ".join(f"greatest(least({name}, max_ms), min_ms) AS {name}" for name, _, _ in QUANTILES)
    return f"""
        WITH cells AS ({cells}),
        merged AS (
            SELECT {keys}, bucket, sum(count)::BIGINT AS count, min(min_us) AS min_us, max(max_us) AS max_us,
                sum(sum_us)::BIGINT AS sum_us
            FROM cells GROUP BY {keys}, bucket),
        ranked AS (
            SELECT *, sum(count) OVER (PARTITION BY {keys} ORDER BY bucket)::BIGINT AS seen,
                sum(count) OVER (PARTITION BY {keys})::BIGINT AS total
            FROM merged),
        grouped AS (
            SELECT {keys}, sum(count)::BIGINT AS count, min(min_us) / 1000 AS min_ms, max(max_us) / 1000 AS max_ms,
                sum(sum_us)::BIGINT / 1000 AS sum_ms, {at_rank}
            FROM ranked JOIN bucket_values USING (bucket) GROUP BY {keys})
        SELECT {keys}, count, min_ms, max_ms, sum_ms, {clamped} FROM grouped"""
