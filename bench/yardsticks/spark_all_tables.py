"""Every published table in plain PySpark: ``python -m bench.yardsticks.spark_all_tables OUT FILE...``.

Events are written once and read back for each table. Quantiles are Spark's own approximate ones, and nothing is
checked, deduplicated or kept for a next run. The ledger counts lines a file.
"""

from __future__ import annotations

import sys

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from bench.meter import phase
from bench.ours import WORK
from bench.yardsticks.spark_events import SERVED, events
from bench.yardsticks.spark_session import session
from bench.yardsticks.spark_two_tables import latencies, latency_hourly, usage_hourly

KINDS = ("requests", "tokens", "compute")
KEYS = ("tenant", *SERVED, "outcome", "metric", "bucket", "kind", "host", "boot")
AMOUNTS = ("demand", "admitted", "denied", "unmet")
_HOUR_US = 3_600_000_000


def latency_summary(rows: DataFrame, time: str = "hour") -> DataFrame:
    """Extremes, sums and quantiles of requests that went well."""
    fine = latencies(rows.where("outcome = 'ok'")).withColumn("date", F.to_date("hour"))
    quantiles = F.percentile_approx("us", [0.5, 0.9, 0.95, 0.99])
    sums = fine.groupBy(time, *SERVED, "metric").agg(
        F.count("*").alias("count"),
        (F.min("us") / 1000).alias("min_ms"),
        (F.max("us") / 1000).alias("max_ms"),
        (F.sum("us") / 1000).alias("sum_ms"),
        quantiles.alias("at"),
    )
    return sums.select("*", *((F.col("at")[i] / 1000).alias(f"p{q}_ms") for i, q in enumerate((50, 90, 95, 99)))).drop(
        "at"
    )


def attempts(rows: DataFrame) -> DataFrame:
    """Requests with their chain and their amount of each kind."""
    denied = F.col("outcome") == "denied"
    return rows.select(
        *("hour", "ts", "tenant", "model", "event_id"),
        denied.alias("refused"),
        F.coalesce("retry_of", "event_id").alias("root"),
        F.lit(1).alias("requests"),
        F.when(denied, F.col("wanted_tokens")).otherwise(F.col("total_tokens")).alias("tokens"),
        F.col("gpu_us").alias("compute"),
    )


def minutely(rows: DataFrame) -> DataFrame:
    """Amounts by the minute, one row a kind: what attempts were given or denied, and what chains of them asked for."""
    grain = ("hour", "minute", "tenant", "model")
    attempt = F.struct("ts", "event_id", "model", *KINDS)
    first = F.coalesce(F.min(F.when(~F.col("refused"), attempt)), F.min(attempt))
    chains = (
        rows.groupBy("hour", "tenant", "root")
        .agg(F.min("ts").alias("ts"), F.min("refused").alias("refused"), first.alias("first"))
        .select("hour", "tenant", "ts", "refused", "first.model", *(f"first.{kind}" for kind in KINDS))
    )
    minute = F.date_trunc("minute", "ts").alias("minute")
    refused = F.col("refused")
    own = rows.groupBy("hour", minute, "tenant", "model").agg(*_sums("admitted", ~refused), *_sums("denied", refused))
    asked = chains.groupBy("hour", minute, "tenant", "model").agg(
        *_sums("demand", F.lit(True)), *_sums("unmet", refused)
    )
    both = own.join(asked, list(grain), "full_outer").na.fill(0)
    kinds = ", ".join(f"'{kind}', " + ", ".join(f"{amount}_{kind}" for amount in AMOUNTS) for kind in KINDS)
    return both.select(*grain, F.expr(f"stack({len(KINDS)}, {kinds}) AS (kind, {', '.join(AMOUNTS)})"))


def demand_minutely(minutes: DataFrame) -> DataFrame:
    """Minutes in which something happened."""
    return minutes.drop("hour").where(_something())


def rate_limit_usage(minutes: DataFrame, rows: DataFrame, events: DataFrame) -> DataFrame:
    """Amounts and peaks by the hour, and requests in flight."""
    grain = ("hour", "tenant", "kind")
    all_models = minutes.groupBy(*grain, "minute").agg(*(F.sum(name).alias(name) for name in AMOUNTS))
    hours = all_models.groupBy(*grain).agg(
        *(F.sum(name).alias(name) for name in AMOUNTS),
        F.max("admitted").alias("peak_minute"),
        F.max("demand").alias("demand_peak_minute"),
    )
    admitted = ", ".join(f"'{kind}', most_{kind}" for kind in KINDS)
    seconds = (
        rows.groupBy("hour", "tenant", F.date_trunc("second", "ts"))
        .agg(*_sums("admitted", ~F.col("refused")))
        .groupBy("hour", "tenant")
        .agg(*(F.max(f"admitted_{kind}").alias(f"most_{kind}") for kind in KINDS))
        .select("hour", "tenant", F.expr(f"stack({len(KINDS)}, {admitted}) AS (kind, peak_second)"))
    )
    counted = hours.where(_something()).join(seconds, list(grain))
    return counted.unionByName(_in_flight(events), allowMissingColumns=True)


def _in_flight(rows: DataFrame) -> DataFrame:
    start = F.unix_micros("ts")
    spans = rows.where("outcome <> 'denied'").select(
        "tenant", start.alias("start"), (start + F.greatest("duration_us", F.lit(1))).alias("end")
    )
    number = F.explode(F.sequence(F.expr(f"start div {_HOUR_US}"), F.expr(f"(end - 1) div {_HOUR_US}")))
    pieces = spans.withColumn("number", number)
    begin = F.greatest("start", F.col("number") * _HOUR_US).alias("at")
    stop = F.least("end", (F.col("number") + 1) * _HOUR_US).alias("at")
    steps = pieces.select("number", "tenant", begin, F.lit(1).alias("step")).unionByName(
        pieces.select("number", "tenant", stop, F.lit(-1).alias("step"))
    )
    up_to = Window.partitionBy("number", "tenant").orderBy("at", "step").rowsBetween(Window.unboundedPreceding, 0)
    levels = steps.withColumn("level", F.sum("step").over(up_to))
    hour = F.timestamp_micros(F.col("number") * _HOUR_US).alias("hour")
    peaks = levels.groupBy(hour, "tenant").agg(F.max("level").alias("peak"))
    refused = rows.where("denied_by = 'concurrency'").groupBy("hour", "tenant").agg(F.count("*").alias("denied"))
    peak = F.coalesce("peak", F.lit(0))
    return peaks.join(refused, ["hour", "tenant"], "full_outer").select(
        *("hour", "tenant", F.lit("concurrency").alias("kind"), peak.alias("demand"), peak.alias("admitted")),
        F.coalesce("denied", F.lit(0)).alias("denied"),
    )


def completeness_hourly(rows: DataFrame) -> DataFrame:
    """Stamps received, and holes between them, in the hour of the event before the hole."""
    boot = ("host", "boot")
    stamps = (
        rows.where("seq IS NOT NULL").groupBy(*boot, "seq").agg(F.min("hour").alias("hour"), F.count("*").alias("n"))
    )
    said = rows.where("prev_boot IS NOT NULL").groupBy("host", F.col("prev_boot").alias("boot"))
    stamps = stamps.join(said.agg(F.max("prev_seq").alias("last")), list(boot), "left")
    order = Window.partitionBy(*boot).orderBy("seq")
    after = F.coalesce(F.lead("seq").over(order) - 1, F.greatest("last", "seq"), "seq") - F.col("seq")
    before = F.when(F.lag("seq").over(order).isNull(), F.col("seq") - 1).otherwise(0)
    return (
        stamps.withColumn("gap", after + before)
        .groupBy("hour", *boot)
        .agg(
            F.min("seq").alias("first_seq"),
            F.max("seq").alias("last_seq"),
            (F.count("*") + F.sum("gap")).alias("expected"),
            F.count("*").alias("received"),
            F.sum("gap").alias("missing"),
            (F.sum("n") - F.count("*")).alias("duplicates"),
        )
    )


def daily(hours: DataFrame) -> DataFrame:
    """A day of its hours: peaks and requests in flight are greatest, all else is added up."""
    keys = [name for name in hours.columns if name in KEYS]
    in_flight = F.col("kind") == "concurrency" if "kind" in keys else F.lit(False)

    def merge(name: str) -> Column:
        if "peak" in name or name == "last_seq":
            return F.max(name)
        if name == "first_seq":
            return F.min(name)
        if name in ("demand", "admitted"):
            return F.coalesce(F.max(F.when(in_flight, F.col(name))), F.sum(name))
        return F.sum(name)

    measures = [name for name in hours.columns if name not in (*keys, "hour")]
    day = F.to_date("hour").alias("date")
    return hours.groupBy(day, *keys).agg(*(merge(name).alias(name) for name in measures))


def _sums(amount: str, condition: Column) -> list[Column]:
    return [F.sum(F.when(condition, F.col(kind)).otherwise(0)).alias(f"{amount}_{kind}") for kind in KINDS]


def _something() -> Column:
    return F.greatest(*AMOUNTS) > 0


def make(spark: SparkSession, out: str, files: list[str]) -> None:
    """Events, then every table from them, then the days from the hours."""

    def written(name: str, frame: DataFrame) -> DataFrame:
        frame.write.parquet(f"{out}/{name}")
        return spark.read.parquet(f"{out}/{name}")

    rows = written("events", events(spark, files).withColumn("file", F.input_file_name()))
    chained = attempts(rows)
    minutes = minutely(chained).persist()
    hourly = {
        "usage": written("usage_hourly", usage_hourly(rows)),
        "latency": written("latency_hourly", latency_hourly(rows)),
        "rate_limit_usage": written("rate_limit_usage", rate_limit_usage(minutes, chained, rows)),
        "completeness": written("completeness_hourly", completeness_hourly(rows)),
    }
    written("demand_minutely", demand_minutely(minutes))
    minutes.unpersist()
    for name, hours in hourly.items():
        written(f"{name}_daily", daily(hours))
    written("latency_summary", latency_summary(rows))
    written("latency_summary_daily", latency_summary(rows, "date"))
    written("ingest_ledger", rows.groupBy("file").agg(F.count("*").alias("lines")))


if __name__ == "__main__":
    with session() as opened, phase(WORK):
        make(opened, sys.argv[1], sys.argv[2:])
