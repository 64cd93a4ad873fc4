"""Policies as SQL views, beside the tables of a release."""

from __future__ import annotations

import json
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from quotaloop.events.columns import TIME
from quotaloop.quotas.policy import EVERYTHING, Policy

_DECISIONS = pa.schema(
    [
        ("policy_epoch", pa.int64()),
        ("tenant", pa.string()),
        ("scope", pa.string()),
        ("kind", pa.string()),
        ("old_limit", pa.int64()),
        ("new_limit", pa.int64()),
        ("reason", pa.string()),
        ("evidence", pa.string()),
    ]
)
_LIMITS = pa.schema(
    [
        ("policy_epoch", pa.int64()),
        ("tenant", pa.string()),
        ("kind", pa.string()),
        ("limit", pa.int64()),
        ("per_seconds", pa.int64()),
        ("burst", pa.int64()),
    ]
)
_TIMES = pa.schema([("policy_epoch", pa.int64()), ("valid_from", TIME), ("expires_at", TIME)])


def add_policies(connection: duckdb.DuckDBPyConnection, known: Sequence[Policy]) -> None:
    """Make ``quota_decisions`` and ``rate_limit_against_policy``; ``rate_limit_usage`` is a view already."""
    decisions, limits = [], []
    before: dict[tuple[str, str, str], int] = {}
    for policy in known:
        now: dict[tuple[str, str, str], int] = {}
        for limit in policy.limits:
            scope = json.dumps({"model": limit.scope.model, "api_version": limit.scope.api_version}, sort_keys=True)
            key = (limit.tenant, scope, limit.kind)
            now[key] = limit.limit
            evidence = json.dumps(limit.evidence, sort_keys=True)
            reason = str(limit.evidence.get("bound_by", ""))
            decisions.append((policy.epoch, *key, before.get(key), limit.limit, reason, evidence))
            if limit.scope != EVERYTHING:  # hours are not counted by model and version
                continue
            limits.append(
                (
                    policy.epoch,
                    limit.tenant,
                    limit.kind,
                    limit.limit,
                    limit.per_seconds,
                    limit.burst,
                )
            )
        before = now
    connection.register("quota_decisions", _table(decisions, _DECISIONS))
    connection.register("policy_limits", _table(limits, _LIMITS))
    times = [(policy.epoch, policy.valid_from, policy.expires_at) for policy in known]
    connection.register("policy_times", _table(times, _TIMES))
    connection.execute(
        """
        CREATE VIEW rate_limit_against_policy AS
        WITH in_force AS (
            SELECT u.hour AS at, max(p.policy_epoch) AS epoch
            FROM (SELECT DISTINCT hour FROM rate_limit_usage) u
            JOIN policy_times p ON p.valid_from <= u.hour GROUP BY u.hour
            HAVING u.hour < arg_max(p.expires_at, p.policy_epoch))
        SELECT u.*, l."limit", l.per_seconds, l.burst, f.epoch AS policy_epoch,
               CASE WHEN u.kind = 'concurrency' THEN u.admitted ELSE u.peak_minute END / nullif(l."limit", 0)
                 AS utilisation
        FROM rate_limit_usage u LEFT JOIN in_force f ON f.at = u.hour
        LEFT JOIN policy_limits l ON l.policy_epoch = f.epoch AND l.tenant = u.tenant AND l.kind = u.kind
        """
    )


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    names = schema.names
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema=schema)
