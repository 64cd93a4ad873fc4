"""Tables ``latency_hourly`` and ``latency_summary``, from one histogram with extremes and sum of each cell."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from quotaloop.latency import QUANTILES, bucket_values_ms
from quotaloop.marts.tables import LATENCY_HOURLY, LATENCY_SUMMARY

_METRICS = ("duration", "ttft", "itl")


def latency_cells(events: DataFrame) -> DataFrame:
    """The grain of ``latency_hourly`` with ``count``, ``min_us``, ``max_us`` and ``sum_us`` of the bucket."""
    metrics = F.array(
        *(
            F.struct(
                F.lit(name).alias("metric"), F.col(f"{name}_bucket").alias("bucket"), F.col(f"{name}_us").alias("us")
            )
            for name in _METRICS
        )
    )
    served = ("hour", "api_version", "model", "route", "protocol", "outcome")
    values = events.select(*served, F.explode(metrics).alias("seen")).where("seen.bucket is not null")
    flat = values.select(*served, "seen.*")
    return flat.groupBy(*LATENCY_HOURLY.grain).agg(
        F.count("*").alias("count"),
        F.min("us").alias("min_us"),
        F.max("us").alias("max_us"),
        F.sum("us").alias("sum_us"),
    )


def latency_hourly(cells: DataFrame) -> DataFrame:
    """Every cell's count."""
    return cells.withColumn("bucket", F.col("bucket").cast("int")).select(*LATENCY_HOURLY.schema.names)


def latency_summary(cells: DataFrame) -> DataFrame:
    """Outcome ok alone: count, extremes, sum and quantiles."""
    return summary(cells.where("outcome = 'ok'"), LATENCY_SUMMARY.grain)


def summary(cells: DataFrame, grain: tuple[str, ...]) -> DataFrame:
    """Extremes, sum and quantiles of histograms, one row per ``grain``.

    The quantile q is the value of the bucket that holds the element of rank ceil(q * n), clamped to the extremes.
    """
    merged = cells.groupBy(*grain, "bucket").agg(
        F.sum("count").alias("count"),
        F.min("min_us").alias("min_us"),
        F.max("max_us").alias("max_us"),
        F.sum("sum_us").alias("sum_us"),
    )
    group = Window.partitionBy(*grain)
    up_to = group.orderBy("bucket").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    ranked = merged.withColumn("seen", F.sum("count").over(up_to)).withColumn("total", F.sum("count").over(group))
    valued = ranked.join(F.broadcast(_bucket_values(cells.sparkSession)), "bucket")
    return (
        valued.groupBy(*grain)
        .agg(
            F.sum("count").alias("count"),
            (F.min("min_us") / 1000).alias("min_ms"),
            (F.max("max_us") / 1000).alias("max_ms"),
            (F.sum("sum_us") / 1000).alias("sum_ms"),
            *(_at_rank(top, bottom).alias(name) for name, top, bottom in QUANTILES),
        )
        .select(
            *grain,
            "count",
            "min_ms",
            "max_ms",
            "sum_ms",
            *(F.greatest(F.least(name, "max_ms"), "min_ms").alias(name) for name, _, _ in QUANTILES),
        )
    )


def _at_rank(top: int, bottom: int) -> Column:
    rank = F.expr(f"(total * {top} + {bottom - 1}) div {bottom}")
    return F.min(F.when(F.col("seen") >= rank, F.col("value_ms")))


def _bucket_values(spark: SparkSession) -> DataFrame:
    values = bucket_values_ms()
    return spark.createDataFrame(pa.table({"bucket": pa.array(range(len(values)), pa.int32()), "value_ms": values}))
