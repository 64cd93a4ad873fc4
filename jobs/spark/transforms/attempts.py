"""What each attempt, and each chain of attempts, adds to the counts of the limits."""

from __future__ import annotations

from jobs.spark.sql import Connection

KINDS = ("requests", "tokens", "compute")  # limits that count amounts; concurrency counts what is in flight
AMOUNTS = ("demand", "admitted", "denied", "unmet")


def attempts(db: Connection) -> None:
    """Make ``attempts`` of ``rated``, one row an event: where it counts, whether denied, its amount of each kind.

    ``root`` and ``event_id`` are null for an attempt that nobody repeated: it is its own chain.
    """
    db.execute("""
        CREATE TEMP TABLE attempts AS
        WITH every AS (
            SELECT hour, tenant, model, ts, event_id, coalesce(retry_of, event_id) AS root,
                outcome = 'denied' AS is_denied, denied_by, total_tokens, wanted_tokens, gpu_us
            FROM rated),
        marked AS (
            SELECT *, (hour, tenant, root) IN (
                SELECT (hour, tenant, retry_of) FROM rated WHERE retry_of IS NOT NULL) AS chained
            FROM every)
        SELECT hour, tenant, model, ts, is_denied, denied_by,
            CASE WHEN chained THEN root END AS root, CASE WHEN chained THEN event_id END AS event_id,
            1::BIGINT AS requests, CASE WHEN is_denied THEN coalesce(wanted_tokens, 0) ELSE total_tokens END AS tokens,
            gpu_us AS compute
        FROM marked""")


def chains(db: Connection) -> None:
    """Make ``chains`` of ``attempts`` that were repeated: one row a chain.

    ``ts`` is that of its first attempt; model and amounts are those of its first admitted attempt, or else of its
    first, by time and then by id.
    """
    db.execute("""
        CREATE TEMP TABLE chains AS
        SELECT hour, tenant, first_ts AS ts, counted.*
        FROM (
            SELECT hour, tenant, root, min(ts) AS first_ts,
                arg_min(struct_pack(is_denied, model, requests, tokens, compute), (is_denied, ts, event_id)) AS counted
            FROM attempts WHERE root IS NOT NULL GROUP BY hour, tenant, root)""")
