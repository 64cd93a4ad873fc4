"""Requests as plain PySpark reads them: ``spark.read.json`` with a schema, defaults filled in, nothing checked."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.yardsticks.shape import TOKENS, types

SERVED = ("api_version", "model", "route", "protocol")


def events(spark: SparkSession, files: list[str]) -> DataFrame:
    """One row a line that is JSON and says when and whose it was."""
    schema = ", ".join(f"{name} {kind}" for name, kind in types("string", "long", "double").items())
    lines = spark.read.schema(schema).json(files)
    ts = F.coalesce(F.col("ts").try_cast("timestamp"), F.timestamp_millis(F.col("ts").try_cast("long")))
    rows = (
        lines.withColumn("ts", ts)
        .where("ts IS NOT NULL AND tenant IS NOT NULL")
        .select(
            *("event_id", "ts", "tenant", "api_version", "route", "denied_by", "retry_of", "ttft_ms"),
            *("host", "boot", "seq", "prev_boot", "prev_seq"),
            F.date_trunc("hour", "ts").alias("hour"),
            F.coalesce("model", F.lit("unknown")).alias("model"),
            F.coalesce("protocol", F.lit("http")).alias("protocol"),
            F.coalesce("outcome", _outcome()).alias("outcome"),
            *(F.coalesce(name, F.lit(0)).alias(name) for name in (*TOKENS, "wanted_tokens", "bytes_in", "bytes_out")),
            F.coalesce(_micros("gpu_ms"), F.lit(0)).alias("gpu_us"),
            _micros("duration_ms").alias("duration_us"),
            _micros("ttft_ms").alias("ttft_us"),
        )
    )
    gaps = F.col("output_tokens") + F.col("reasoning_tokens") - 1
    itl = F.rint((F.col("duration_us") - F.col("ttft_us")) / gaps).cast("long")
    return rows.withColumn("total_tokens", F.expr(" + ".join(TOKENS))).withColumn("itl_us", F.when(gaps > 0, itl))


def _outcome() -> Column:
    status = F.col("status")
    return F.when(status == 429, "denied").when(status == 499, "cancelled").when(status < 400, "ok").otherwise("error")


def _micros(name: str) -> Column:
    return F.rint(F.col(name) * 1000).cast("long")
