"""Table ``demand_minutely``, and the sums by the minute that it shares with ``rate_limit_usage``."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.spark.transforms.attempts import AMOUNTS, KINDS
from quotaloop.marts.tables import DEMAND_MINUTELY


def minutely(contributions: DataFrame) -> DataFrame:
    """Sums of ``<amount>_<kind>``, one row per hour, minute, tenant and model."""
    minute = F.date_trunc("minute", "ts").alias("minute")
    sums = (F.sum(f"{amount}_{kind}").alias(f"{amount}_{kind}") for amount in AMOUNTS for kind in KINDS)
    return contributions.groupBy("hour", minute, "tenant", "model").agg(*sums)


def demand_minutely(sums: DataFrame) -> DataFrame:
    """Demand, admitted, denied and unmet, one row per minute, tenant, model and kind, where one of them is not 0."""
    return by_kind(sums, ("minute", "tenant", "model"), AMOUNTS).select(*DEMAND_MINUTELY.schema.names)


def by_kind(sums: DataFrame, grain: tuple[str, ...], columns: tuple[str, ...]) -> DataFrame:
    """From ``<column>_<kind>`` side by side to one row a kind, without kinds whose amounts are all 0."""
    rows = F.array(*(F.struct(F.lit(kind).alias("kind"), *_of(kind, columns)) for kind in KINDS))
    something = " or ".join(f"{amount} <> 0" for amount in AMOUNTS)
    return sums.select(*grain, F.explode(rows).alias("row")).select(*grain, "row.*").where(something)


def _of(kind: str, columns: tuple[str, ...]) -> list[Column]:
    return [F.col(f"{column}_{kind}").alias(column) for column in columns]
