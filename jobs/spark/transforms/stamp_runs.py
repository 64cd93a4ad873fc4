"""Runs of stamps that follow one another without a hole, per hour, host and boot: what completeness is made of."""

from __future__ import annotations

import pyarrow as pa

from jobs.spark.sql import Connection, result
from quotaloop.marts.internal import INTERNAL_SCHEMAS, PRIOR_STAMPS, STAMP_RUNS

_RUNS_ORDER = ("hour", "host", "boot", "first_seq")
_PRIOR_ORDER = ("hour", "host", "boot", "prev_boot")


def stamp_runs(db: Connection) -> pa.Table:
    """Maximal runs of ``accepted``: ``first_seq``, ``last_seq``, and ``events``, duplicates too.

    Within a run, stamp less rank stays the same.
    """
    query = """
        SELECT hour, host, boot, min(seq) AS first_seq, max(seq) AS last_seq, sum(events)::BIGINT AS events
        FROM (
            SELECT *, seq - row_number() OVER (PARTITION BY hour, host, boot ORDER BY seq) AS run
            FROM (SELECT hour, host, boot, seq, count(*) AS events FROM accepted WHERE seq IS NOT NULL GROUP BY ALL))
        GROUP BY hour, host, boot, run"""
    return result(db, query, INTERNAL_SCHEMAS[STAMP_RUNS], _RUNS_ORDER)


def prior_stamps(db: Connection) -> pa.Table:
    """What later boots of ``accepted`` say: ``hour``, ``host``, ``boot``, ``prev_boot``, ``prev_seq``, the greatest."""
    query = """
        SELECT hour, host, boot, prev_boot, max(prev_seq) AS prev_seq FROM accepted
        WHERE prev_boot IS NOT NULL AND host IS NOT NULL GROUP BY hour, host, boot, prev_boot"""
    return result(db, query, INTERNAL_SCHEMAS[PRIOR_STAMPS], _PRIOR_ORDER)
