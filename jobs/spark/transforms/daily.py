"""The daily siblings: a day merged from its hours, never averaged."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from jobs.spark.transforms.latency import summary
from quotaloop.marts.tables import LATENCY_SUMMARY_DAILY, Table

_US_COLUMNS = ("gpu_ms", "sum_ms")


def daily(hours: DataFrame, table: Table) -> DataFrame:
    """Amounts are added, peaks are the greatest; of concurrency, demand and admitted are the greatest too."""
    rows = hours.withColumn("date", F.to_date("hour"))
    concurrency = F.col("kind") == "concurrency" if "kind" in table.grain else F.lit(False)
    merged = [_merge(column.name, column.merge, concurrency).alias(column.name) for column in table.measures]
    return rows.groupBy(*table.grain).agg(*merged).select(*table.schema.names)


def latency_summary_daily(histogram: DataFrame, hours: DataFrame) -> DataFrame:
    """Quantiles from the day's histogram (``latency_hourly``), extremes and sums from ``latency_summary``."""
    grain = LATENCY_SUMMARY_DAILY.grain
    cells = (
        histogram.where("outcome = 'ok'")
        .withColumn("date", F.to_date("hour"))
        .groupBy(*grain, "bucket")
        .agg(F.sum("count").alias("count"))
    )
    known = (
        hours.withColumn("date", F.to_date("hour"))
        .groupBy(*grain)
        .agg(
            F.min(_micros("min_ms")).alias("min_us"),
            F.max(_micros("max_ms")).alias("max_us"),
            F.sum(_micros("sum_ms")).alias("whole_us"),
        )
    )
    first = F.col("bucket") == F.min("bucket").over(Window.partitionBy(*grain))
    joined = cells.join(known, list(grain)).withColumn("sum_us", F.when(first, F.col("whole_us")).otherwise(0))
    return summary(joined, grain)


def _merge(name: str, how: str, concurrency: Column) -> Column:
    if how == "max":
        return F.max(name)
    if how == "min":
        return F.min(name)
    if name in _US_COLUMNS:
        return F.sum(_micros(name)) / 1000
    if name in ("demand", "admitted"):
        return _sum_or_greatest(name, concurrency)
    return F.sum(name)


def _sum_or_greatest(name: str, concurrency: Column) -> Column:
    greatest = F.max(F.when(concurrency, F.col(name)))
    return F.coalesce(greatest, F.sum(F.when(~concurrency, F.col(name))))


def _micros(name: str) -> Column:
    return F.round(F.col(name) * 1000).cast("long")
