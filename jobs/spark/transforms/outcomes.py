"""Which parsed events are the first of their id, and which repeat or contradict one."""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa

from jobs.spark.sql import Connection, in_hours, listed, result
from quotaloop.events.columns import CONTENT_SCHEMA
from quotaloop.marts import internal

_OUTCOMES = ("accepted", "duplicate", "conflicting_duplicate")
_FILE = ("hour", "topic", "partition", "range_start")


def exclusions(db: Connection) -> pa.Table:
    """Events of ``parsed`` that are not accepted, with their outcome, ``duplicate`` or ``conflicting_duplicate``.

    Events of one hour, tenant and id are in the order of (topic, partition, offset); the first is accepted, others with
    its content are duplicates, others without are in conflict. A 64-bit hash only narrows the search: ids are compared
    whole.
    """
    key = "hash(hour, tenant, event_id)"
    content = f"row({listed(CONTENT_SCHEMA.names)})"
    place = 'row(topic, "partition", "offset")'
    query = f"""
        WITH suspects AS (
            SELECT *, {content} AS content, {place} AS place FROM parsed
            WHERE {key} IN (SELECT {key} AS key FROM parsed GROUP BY key HAVING count(*) > 1)),
        firsts AS (
            SELECT hour, tenant, event_id, min(place) AS place, arg_min(content, place) AS content
            FROM suspects GROUP BY hour, tenant, event_id)
        SELECT hour, topic, "partition", range_start, "offset",
            CASE WHEN suspects.content IS NOT DISTINCT FROM firsts.content THEN 'duplicate'
                 ELSE 'conflicting_duplicate' END AS outcome
        FROM suspects JOIN firsts USING (hour, tenant, event_id) WHERE suspects.place <> firsts.place"""
    schema = internal.INTERNAL_SCHEMAS[internal.EXCLUSIONS]
    return result(db, query, schema, ("hour", "topic", "partition", "offset"))


def outcome_counts(db: Connection, hours: Collection[int]) -> list[tuple[int, str, int, int, int, int, int]]:
    """Hour (epoch ms), topic, partition, first offset of the raw file; accepted, duplicate and conflicting events.

    From ``accepted`` and, of these hours (epoch ms), ``excluded``.
    """
    counts = ", ".join(f"count_if(word = '{word}')" for word in _OUTCOMES)
    query = f"""
        SELECT epoch_ms(hour), {listed(_FILE[1:])}, {counts}
        FROM (SELECT {listed(_FILE)}, 'accepted' AS word FROM accepted
              UNION ALL SELECT {listed(_FILE)}, outcome AS word FROM excluded WHERE {in_hours(hours)})
        GROUP BY {listed(_FILE)} ORDER BY ALL"""
    return db.sql(query).fetchall()
