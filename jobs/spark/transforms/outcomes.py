"""Which parsed events are the first of their id, and which repeat or contradict one."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from quotaloop.events.columns import CONTENT_SCHEMA

EXCLUSIONS = ("hour", "topic", "partition", "range_start", "offset", "outcome")


def exclusions(parsed: DataFrame) -> DataFrame:
    """Parsed events that are not accepted: ``EXCLUSIONS``, outcome ``duplicate`` or ``conflicting_duplicate``.

    Events of one hour, tenant and id are in the order of (topic, partition, offset); the first is accepted, others with
    its content are duplicates, others without are in conflict. A 64-bit hash only narrows the search: ids are compared
    whole.
    """
    key = F.xxhash64("hour", "tenant", "event_id")
    repeated = parsed.groupBy(key.alias("key")).count().where("count > 1").select("key")
    suspects = parsed.withColumn("key", key).join(repeated, "key", "left_semi")
    same_id = Window.partitionBy("hour", "tenant", "event_id").orderBy("topic", "partition", "offset")
    content = F.struct(*CONTENT_SCHEMA.names)
    ranked = suspects.withColumn("place", F.row_number().over(same_id)).withColumn(
        "same", content.eqNullSafe(F.first(content).over(same_id))
    )
    outcome = F.when(F.col("same"), "duplicate").otherwise("conflicting_duplicate")
    return ranked.where("place > 1").withColumn("outcome", outcome).select(*EXCLUSIONS)


def accepted(parsed: DataFrame, excluded: DataFrame | None) -> DataFrame:
    """Parsed events without the excluded ones (None: there are none)."""
    if excluded is None:
        return parsed
    return parsed.join(excluded.select("topic", "partition", "offset"), ["topic", "partition", "offset"], "left_anti")


def outcome_counts(events: DataFrame, excluded: DataFrame | None) -> DataFrame:
    """Accepted, duplicate and conflicting events, one row per ``hour_ms`` and raw file."""
    file = ("hour", "topic", "partition", "range_start")
    rows = events.select(*file, F.lit("accepted").alias("outcome"))
    if excluded is not None:
        rows = rows.unionByName(excluded.select(*file, "outcome"))
    hour = F.unix_millis("hour").alias("hour_ms")
    return rows.groupBy(hour, *file[1:]).agg(
        *(
            F.count_if(F.col("outcome") == word).alias(word)
            for word in ("accepted", "duplicate", "conflicting_duplicate")
        )
    )
