"""What each attempt, and each chain of attempts, adds to the counts of the limits."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

KINDS = ("requests", "tokens", "compute")  # limits that count amounts; concurrency counts what is in flight
AMOUNTS = ("demand", "admitted", "denied", "unmet")


def attempts(events: DataFrame) -> DataFrame:
    """One row an event: where it counts, whether it was denied, its amount of each kind, and the hash of its chain.

    Columns ``hour``, ``tenant``, ``model``, ``ts``, ``event_id``, ``root``, ``retry``, ``is_denied``, ``denied_by``,
    ``requests``, ``tokens``, ``compute``, ``chain``.
    """
    denied = F.col("outcome") == "denied"
    root = F.coalesce("retry_of", "event_id")
    return events.select(
        "hour",
        "tenant",
        "model",
        "ts",
        "event_id",
        root.alias("root"),
        F.col("retry_of").isNotNull().alias("retry"),
        denied.alias("is_denied"),
        "denied_by",
        F.lit(1).cast("long").alias("requests"),
        F.when(denied, F.coalesce("wanted_tokens", F.lit(0))).otherwise(F.col("total_tokens")).alias("tokens"),
        F.col("gpu_us").alias("compute"),
        F.xxhash64("hour", "tenant", root).alias("chain"),
    )


def contributions(rows: DataFrame) -> DataFrame:
    """What is added where: ``hour``, ``tenant``, ``model``, ``ts`` and each of ``<amount>_<kind>``.

    An attempt that nobody repeated is its own chain and makes one row. Of the others, each attempt makes a row with
    what was admitted or denied, and each chain one with its demand. A hash tells the two apart: where two chains share
    one, both take the long way, with the same result.
    """
    repeated = rows.where("retry").select("chain").distinct()
    single = rows.join(repeated, "chain", "left_anti")
    several = rows.join(repeated, "chain", "left_semi")
    return (
        _rows(single, demand=F.lit(True), own=F.lit(True), unmet=F.col("is_denied"))
        .unionByName(_rows(several, demand=F.lit(False), own=F.lit(True), unmet=F.lit(False)))
        .unionByName(_rows(chains(several), demand=F.lit(True), own=F.lit(False), unmet=F.col("is_denied")))
    )


def chains(rows: DataFrame) -> DataFrame:
    """One row a chain: its first ``ts``, and model and amounts of its first admitted attempt, or else of its first."""
    attempt = F.struct("ts", "event_id", "is_denied", "model", *KINDS)
    counted = F.coalesce(F.min(F.when(~F.col("is_denied"), attempt)), F.min(attempt))
    return (
        rows.groupBy("hour", "tenant", "root")
        .agg(F.min("ts").alias("first_ts"), counted.alias("counted"))
        .select(
            "hour",
            "tenant",
            F.col("first_ts").alias("ts"),
            *(f"counted.{name}" for name in ("is_denied", "model", *KINDS)),
        )
    )


def _rows(rows: DataFrame, *, demand: Column, own: Column, unmet: Column) -> DataFrame:
    denied = F.col("is_denied")
    when = {"demand": demand, "admitted": own & ~denied, "denied": own & denied, "unmet": unmet}
    return rows.select(
        "hour",
        "tenant",
        "model",
        "ts",
        *(
            F.when(when[amount], F.col(kind)).otherwise(F.lit(0).cast("long")).alias(f"{amount}_{kind}")
            for amount in AMOUNTS
            for kind in KINDS
        ),
    )
