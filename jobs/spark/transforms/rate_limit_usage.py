"""Table ``rate_limit_usage``."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.spark.transforms.attempts import AMOUNTS, KINDS
from jobs.spark.transforms.demand_minutely import by_kind
from quotaloop.marts.tables import RATE_LIMIT_USAGE

_PEAKS = ("peak_second", "peak_minute", "demand_peak_minute")
_HOUR = ("hour", "tenant")


def rate_limit_usage(minutes: DataFrame, rows: DataFrame, in_flight: DataFrame) -> DataFrame:
    """One row per hour, tenant and kind, from ``minutely``, ``attempts`` and ``concurrency``."""
    sums = _hour_sums(minutes).join(_peak_seconds(rows), list(_HOUR))
    counted = by_kind(sums, _HOUR, (*AMOUNTS, *_PEAKS))
    return counted.unionByName(_concurrency(rows, in_flight)).select(*RATE_LIMIT_USAGE.schema.names)


def _hour_sums(minutes: DataFrame) -> DataFrame:
    """Amounts of the hour, and the greatest minute over all models."""
    names = [f"{amount}_{kind}" for amount in AMOUNTS for kind in KINDS]
    all_models = minutes.groupBy(*_HOUR, "minute").agg(*(F.sum(name).alias(name) for name in names))
    return all_models.groupBy(*_HOUR).agg(
        *(F.sum(name).alias(name) for name in names),
        *(F.max(f"admitted_{kind}").alias(f"peak_minute_{kind}") for kind in KINDS),
        *(F.max(f"demand_{kind}").alias(f"demand_peak_minute_{kind}") for kind in KINDS),
    )


def _peak_seconds(rows: DataFrame) -> DataFrame:
    """The greatest admitted amount in a clock second; 0 where nothing was admitted."""
    second = F.unix_seconds("ts").alias("second")
    own = [F.when(~F.col("is_denied"), F.col(kind)).otherwise(0).alias(kind) for kind in KINDS]
    seconds = (
        rows.select(*_HOUR, second, *own).groupBy(*_HOUR, "second").agg(*(F.sum(kind).alias(kind) for kind in KINDS))
    )
    return seconds.groupBy(*_HOUR).agg(*(F.max(kind).alias(f"peak_second_{kind}") for kind in KINDS))


def _concurrency(rows: DataFrame, in_flight: DataFrame) -> DataFrame:
    denied = rows.where("is_denied and denied_by = 'concurrency'").groupBy(*_HOUR).agg(F.count("*").alias("denied"))
    peaks = in_flight.join(denied, list(_HOUR), "full_outer")
    zero = F.lit(0).cast("long")
    nothing = F.lit(None).cast("long")
    return peaks.select(
        *_HOUR,
        F.lit("concurrency").alias("kind"),
        F.coalesce("peak", zero).alias("demand"),
        F.coalesce("peak", zero).alias("admitted"),
        F.coalesce("denied", zero).alias("denied"),
        *(nothing.alias(name) for name in ("unmet", *_PEAKS)),
    )
