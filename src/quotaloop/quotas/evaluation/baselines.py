"""Other ways to come by limits, to hold ours against: each is a policy for a day, from the days before it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import duckdb

from quotaloop.quotas.derivation.derive import derive
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.policy import EVERYTHING, FORMAT, KINDS, Kind, Limit, Policy, Rate, instant
from quotaloop.settings import Settings

WEEK_MS, MARGIN = 7 * 86_400_000, Fraction(6, 5)


@dataclass(frozen=True, slots=True)
class Known:
    """What may be looked at to set the limits of a day: ``hours`` (epoch ms), fit and before it, and what was so far.

    ``previous`` is the policy of the same method for the day before. ``connection`` holds more than those hours; what
    reads it reads them alone.
    """

    connection: duckdb.DuckDBPyConnection
    hours: tuple[int, ...]
    day_ms: int
    settings: Settings
    previous: Policy | None


Method = Callable[[Known], Policy]


def ours(known: Known) -> Policy:
    """What ``derive`` says."""
    return derive(
        known.connection,
        hours=known.hours,
        release=_epoch(known),
        settings=known.settings,
        previous=known.previous,
        as_of_ms=known.day_ms,
    )


def as_they_were(known: Known) -> Policy:
    """The first policy of ours, never changed."""
    return known.previous or ours(known)


def equal_split(known: Known) -> Policy:
    """The capacity over the number of tenants that have been seen, the same for each, at least 1."""
    query = "SELECT DISTINCT tenant FROM demand_minutely WHERE epoch_ms(minute) // 3600000 * 3600000 IN "
    found = known.connection.execute(f"{query} (SELECT unnest($hours::BIGINT[]))", {"hours": list(known.hours)})
    tenants = [tenant for (tenant,) in found.fetchall()]
    amounts = {kind: max(1, capacity(kind, known.settings) // max(1, len(tenants))) for kind in KINDS}
    return _policy(known, {(tenant, kind): amounts[kind] for tenant in tenants for kind in KINDS})


def weekly_p99(known: Known) -> Policy:
    """By hand: the 99th percentile of a tenant's admitted minutes of the last 7 days, times 1.2; no look at capacity.

    Of n minutes in which something was admitted it is the element of rank ceil(0.99 * n); of concurrency, of hours.
    """
    hours = [hour for hour in known.hours if hour >= known.day_ms - WEEK_MS]
    rows = known.connection.execute(_PERCENTILES, {"hours": hours}).fetchall()
    return _policy(known, {(tenant, kind): math.ceil(amount * MARGIN) for tenant, kind, amount in rows})


METHODS: Mapping[str, Method] = {
    "ours": ours,
    "equal split": equal_split,
    "p99 of last week x 1.2": weekly_p99,
    "left as they were": as_they_were,
}

_PERCENTILES = """
WITH fit AS (SELECT DISTINCT unnest($hours::BIGINT[]) AS hour_ms),
minutes AS (
    SELECT tenant, kind, minute, sum(admitted) AS admitted
    FROM demand_minutely JOIN fit ON epoch_ms(minute) // 3600000 * 3600000 = hour_ms GROUP BY ALL
    UNION ALL
    SELECT tenant, kind, hour, admitted FROM rate_limit_usage JOIN fit ON epoch_ms(hour) = hour_ms
    WHERE kind = 'concurrency')
SELECT tenant, kind, (list(admitted ORDER BY admitted)[(count(*) * 99 + 99) // 100])::BIGINT
FROM minutes WHERE admitted > 0 GROUP BY tenant, kind
"""


def capacity(kind: Kind, settings: Settings) -> int:
    """Units a minute; of concurrency, slots."""
    return int(getattr(settings, f"capacity_{kind}"))


def _policy(known: Known, amounts: Mapping[tuple[str, Kind], int]) -> Policy:
    """A burst is one period's worth, as in ours; those without a limit have the safe capacity."""
    safe = {kind: int(getattr(known.settings, f"safe_capacity_{kind}")) for kind in KINDS}
    return Policy(
        format=FORMAT,
        epoch=_epoch(known),
        release=_epoch(known),
        created_at=instant(known.day_ms),
        valid_from=instant(known.day_ms),
        expires_at=instant(known.day_ms + known.settings.policy_lifetime),
        limits=tuple(_limit(tenant, kind, amount) for (tenant, kind), amount in sorted(amounts.items())),
        safe_capacity={kind: Rate(limit=safe[kind], per_seconds=PER_SECONDS[kind], burst=safe[kind]) for kind in KINDS},
    )


def _limit(tenant: str, kind: Kind, amount: int) -> Limit:
    return Limit(
        tenant=tenant,
        scope=EVERYTHING,
        kind=kind,
        limit=amount,
        per_seconds=PER_SECONDS[kind],
        burst=amount,
        evidence={},
    )


def _epoch(known: Known) -> int:
    return known.previous.epoch + 1 if known.previous else 1
