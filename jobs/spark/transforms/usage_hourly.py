"""Table ``usage_hourly``."""

from __future__ import annotations

import pyarrow as pa

from jobs.spark.sql import Connection, listed, result
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.marts.tables import USAGE_HOURLY

_OUTCOMES = {"ok": "ok", "error": "errors", "denied": "denied", "cancelled": "cancelled"}
_SUMMED = (*TOKEN_CLASSES, "total_tokens", "bytes_in", "bytes_out")


def usage_hourly(db: Connection) -> pa.Table:
    """Requests and tokens of ``accepted``, one row per hour, tenant, version, model, route and protocol."""
    counts = ", ".join(f"count_if(outcome = '{word}') AS {column}" for word, column in _OUTCOMES.items())
    sums = ", ".join(f"sum({name})::BIGINT AS {name}" for name in _SUMMED)
    query = f"""
        SELECT {listed(USAGE_HOURLY.grain)}, count(*) AS requests, {counts}, {sums},
            coalesce(sum(wanted_tokens) FILTER (outcome = 'denied'), 0)::BIGINT AS wanted_tokens,
            sum(gpu_us)::BIGINT / 1000 AS gpu_ms
        FROM accepted GROUP BY {listed(USAGE_HOURLY.grain)}"""
    return result(db, query, USAGE_HOURLY.schema, USAGE_HOURLY.grain)
