"""Why a tenant is limited as it is: from the limit in force down to the raw offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import duckdb

from quotaloop.quotas.policy import Limit, Policy, epoch_ms, rfc3339

# The first minute (of concurrency: hour) of the fit span in which the tenant asked for just the quantile.
_MOMENT = """
SELECT epoch_ms(minute) FROM demand_minutely
WHERE tenant = $tenant AND kind = $kind AND minute BETWEEN $first AND $last
GROUP BY minute HAVING sum(demand) = $asked ORDER BY minute LIMIT 1"""
_HOUR = """
SELECT epoch_ms(hour) FROM rate_limit_usage
WHERE tenant = $tenant AND kind = $kind AND hour BETWEEN $first AND $last AND demand = $asked ORDER BY hour LIMIT 1"""
_OFFSETS = """
SELECT topic, "partition", min("offset"), max("offset"), count(*) FROM events
WHERE tenant = $tenant AND epoch_ms(ts) >= $begin AND epoch_ms(ts) < $end GROUP BY ALL ORDER BY ALL"""


def changes_of(known: Sequence[Policy], limit: Limit) -> list[dict[str, Any]]:
    """Every policy in which this limit is another than in the one before: epoch, limit (None: not there), bound_by."""
    found: list[dict[str, Any]] = []
    before: int | None = None
    for policy in known:
        now = next((one for one in policy.limits if _key(one) == _key(limit)), None)
        amount = now.limit if now else None
        if amount != before:
            reason = now.evidence.get("bound_by") if now else None
            found.append({"epoch": policy.epoch, "limit": amount, "bound_by": reason})
        before = amount
    return found


def moment_of(connection: duckdb.DuckDBPyConnection, limit: Limit) -> dict[str, Any] | None:
    """The minute (concurrency: hour) whose demand is the quantile that the limit starts from, and its raw offsets.

    ``offsets`` are ranges with both ends in them, a topic and partition each. None where no minute asked for just that,
    as where demand was estimated.
    """
    evidence = limit.evidence
    try:
        first, last = (datetime.fromisoformat(evidence[name]) for name in ("first_hour", "last_hour"))
        asked = int(evidence["quantile_value"])
    except (KeyError, TypeError, ValueError):
        return None
    is_rate = limit.kind != "concurrency"
    length = 60_000 if is_rate else 3_600_000
    end = datetime.fromtimestamp(last.timestamp() + 3_599, last.tzinfo)
    query = {"tenant": limit.tenant, "kind": limit.kind, "first": first, "last": end, "asked": asked}
    rows = connection.execute(_MOMENT if is_rate else _HOUR, query).fetchall()
    if not rows:
        return None
    ((begin,),) = rows
    bounds = {"tenant": limit.tenant, "begin": begin, "end": begin + length}
    names = ("topic", "partition", "first", "last", "events")
    offsets = [dict(zip(names, values, strict=True)) for values in connection.execute(_OFFSETS, bounds).fetchall()]
    return {"from": rfc3339(begin), "seconds": length // 1_000, "asked": asked, "offsets": offsets}


def told(policy: Policy, limit: Limit, changes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a policy says of a limit, as one document; its evidence is in it whole."""
    return {
        "kind": limit.kind,
        "scope": {"model": limit.scope.model, "api_version": limit.scope.api_version},
        "limit": limit.limit,
        "per_seconds": limit.per_seconds,
        "burst": limit.burst,
        "suspended": limit.suspended,
        "policy": policy.epoch,
        "expires_at": rfc3339(epoch_ms(policy.expires_at)),
        "evidence": limit.evidence,
        "changes": list(changes),
    }


def _key(limit: Limit) -> tuple[str, str, str, str]:
    return limit.tenant, limit.scope.model, limit.scope.api_version, limit.kind
