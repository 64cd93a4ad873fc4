"""Table ``usage_hourly``."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.marts.tables import USAGE_HOURLY

_OUTCOMES = {"ok": "ok", "error": "errors", "denied": "denied", "cancelled": "cancelled"}


def usage_hourly(events: DataFrame) -> DataFrame:
    """Requests and tokens, one row per hour, tenant, version, model, route and protocol."""
    outcome = F.col("outcome")
    wanted = F.when(outcome == "denied", F.coalesce("wanted_tokens", F.lit(0))).otherwise(0)
    sums = events.groupBy(*USAGE_HOURLY.grain).agg(
        F.count("*").alias("requests"),
        *(F.count_if(outcome == word).alias(column) for word, column in _OUTCOMES.items()),
        *(F.sum(name).alias(name) for name in (*TOKEN_CLASSES, "total_tokens")),
        F.sum(wanted).alias("wanted_tokens"),
        F.sum("gpu_us").alias("gpu_us"),
        F.sum("bytes_in").alias("bytes_in"),
        F.sum("bytes_out").alias("bytes_out"),
    )
    return sums.withColumn("gpu_ms", F.col("gpu_us") / 1000).select(*USAGE_HOURLY.schema.names)
