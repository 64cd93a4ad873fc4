"""Two tables in plain PySpark, usage and latency: ``python -m bench.yardsticks.spark_two_tables OUT FILE...``."""

from __future__ import annotations

import math
import sys

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.meter import phase
from bench.ours import WORK
from bench.yardsticks.shape import GROWTH, TOKENS
from bench.yardsticks.spark_events import SERVED, events
from bench.yardsticks.spark_session import session

METRICS = ("duration", "ttft", "itl")
_OUTCOMES = {"ok": "ok", "error": "errors", "denied": "denied", "cancelled": "cancelled"}


def usage_hourly(rows: DataFrame) -> DataFrame:
    """Requests and tokens."""
    denied = F.col("outcome") == "denied"
    sums = rows.groupBy("hour", "tenant", *SERVED).agg(
        F.count("*").alias("requests"),
        *(F.count_if(F.col("outcome") == word).alias(name) for word, name in _OUTCOMES.items()),
        *(F.sum(name).alias(name) for name in (*TOKENS, "total_tokens", "bytes_in", "bytes_out")),
        F.sum(F.when(denied, F.col("wanted_tokens")).otherwise(0)).alias("wanted_tokens"),
        F.sum("gpu_us").alias("gpu_us"),
    )
    return sums.withColumn("gpu_ms", F.col("gpu_us") / 1000).drop("gpu_us")


def latencies(rows: DataFrame) -> DataFrame:
    """One row for each latency of a request: ``metric`` and ``us``."""
    pairs = ", ".join(f"'{metric}', {metric}_us" for metric in METRICS)
    stacked = F.expr(f"stack({len(METRICS)}, {pairs}) AS (metric, us)")
    return rows.select("hour", *SERVED, "outcome", stacked).where("us IS NOT NULL")


def latency_hourly(rows: DataFrame) -> DataFrame:
    """Histograms of every outcome."""
    bucket = F.ceil(F.log(F.greatest("us", F.lit(1))) / math.log(GROWTH)).cast("int")
    return latencies(rows).groupBy("hour", *SERVED, "outcome", "metric", bucket.alias("bucket")).count()


def make(spark: SparkSession, out: str, files: list[str]) -> None:
    """Read once, keep the rows, write both tables."""
    rows = events(spark, files).drop("event_id", "denied_by", "host", "boot", "seq", "prev_boot").persist()
    usage_hourly(rows).write.parquet(f"{out}/usage_hourly")
    latency_hourly(rows).write.parquet(f"{out}/latency_hourly")
    rows.unpersist()


if __name__ == "__main__":
    with session() as opened, phase(WORK):
        make(opened, sys.argv[1], sys.argv[2:])
