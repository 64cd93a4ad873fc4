"""Table ``rate_limit_usage``."""

from __future__ import annotations

import pyarrow as pa

from jobs.spark.sql import Connection, result
from jobs.spark.transforms.attempts import AMOUNTS, KINDS
from jobs.spark.transforms.demand_minutely import by_kind, sum_columns
from quotaloop.marts.tables import RATE_LIMIT_USAGE

_PEAKS = ("peak_second", "peak_minute", "demand_peak_minute")


def rate_limit_usage(db: Connection) -> pa.Table:
    """One row per hour, tenant and kind, from ``minutes``, ``attempts`` and ``in_flight``."""
    query = f"""
        WITH all_models AS ({_all_models()}), hours AS ({_hours()}), seconds AS ({_peak_seconds()}),
        counted AS (FROM hours JOIN seconds USING (hour, tenant))
        {by_kind("counted", ("hour", "tenant"), (*AMOUNTS, *_PEAKS))}
        UNION ALL {_concurrency()}"""
    return result(db, query, RATE_LIMIT_USAGE.schema, RATE_LIMIT_USAGE.grain)


def _all_models() -> str:
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in sum_columns())
    return f"SELECT hour, tenant, minute, {sums} FROM minutes GROUP BY hour, tenant, minute"


def _hours() -> str:
    """Amounts of the hour, and the greatest minute over all models."""
    sums = [f"sum({name})::BIGINT AS {name}" for name in sum_columns()]
    sums += [f"max(admitted_{kind}) AS peak_minute_{kind}" for kind in KINDS]
    sums += [f"max(demand_{kind}) AS demand_peak_minute_{kind}" for kind in KINDS]
    return f"SELECT hour, tenant, {', '.join(sums)} FROM all_models GROUP BY hour, tenant"


def _peak_seconds() -> str:
    """The greatest admitted amount in a clock second; 0 where nothing was admitted."""
    sums = ", ".join(f"sum({kind}) FILTER (NOT is_denied) AS {kind}" for kind in KINDS)
    peaks = ", ".join(f"coalesce(max({kind}), 0)::BIGINT AS peak_second_{kind}" for kind in KINDS)
    seconds = f"SELECT hour, tenant, epoch_ms(ts) // 1000 AS second, {sums} FROM attempts GROUP BY ALL"
    return f"SELECT hour, tenant, {peaks} FROM ({seconds}) GROUP BY hour, tenant"


def _concurrency() -> str:
    nothing = ", ".join(f"NULL AS {name}" for name in ("unmet", *_PEAKS))
    return f"""
        SELECT hour, tenant, 'concurrency' AS kind, coalesce(peak, 0) AS demand, coalesce(peak, 0) AS admitted,
            coalesce(denied, 0) AS denied, {nothing}
        FROM in_flight FULL JOIN (
            SELECT hour, tenant, count(*) AS denied FROM attempts WHERE is_denied AND denied_by = 'concurrency'
            GROUP BY hour, tenant) USING (hour, tenant)"""
