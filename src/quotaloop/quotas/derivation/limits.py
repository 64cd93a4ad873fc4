"""The limits of one derivation: what is wanted, what capacity leaves of it, and the burst that goes with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from quotaloop.quotas.derivation.burst import burst_of
from quotaloop.quotas.derivation.capacity import Share, shares
from quotaloop.quotas.derivation.demand import Demand
from quotaloop.quotas.derivation.envelope import Envelope, envelopes
from quotaloop.quotas.derivation.greatest import greatest_requests
from quotaloop.quotas.derivation.little import served
from quotaloop.quotas.derivation.overbooking import busy_minutes
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.derivation.rules import Rules
from quotaloop.quotas.derivation.suspended import suspended
from quotaloop.quotas.derivation.wants import Key, Seen, Want, wants
from quotaloop.quotas.policy import EVERYTHING, KINDS, Kind, Limit

_EVENTS_AT_ONCE = 4_000_000  # in memory

Shares = Mapping[Kind, Mapping[str, Share]]


def limits(
    connection: duckdb.DuckDBPyConnection,
    hours: Sequence[int],
    found: Sequence[Demand],
    before: Sequence[Limit],
    rules: Rules,
) -> Iterator[Limit]:
    """Of tenants with demand in ``hours`` (epoch ms), of those that vanished since ``before``, of suspended ones.

    ``found`` is the demand, ``before`` are the limits in force; scopes other than ``EVERYTHING`` are not looked at.
    """
    old: dict[Key, Limit] = {(limit.tenant, limit.kind): limit for limit in before if limit.scope == EVERYTHING}
    asked = {(demand.tenant, demand.kind): demand for demand in found if demand.tenant not in rules.suspended}
    for tenant in rules.suspended:
        yield from (suspended(tenant, kind, _old(old.get((tenant, kind)))) for kind in KINDS)
    known = {key: limit for key, limit in old.items() if key[0] not in rules.suspended}
    seen = Seen(served(connection, hours), greatest_requests(connection, hours))
    wanted = {kind: wants(rules, kind, asked, seen, known) for kind in KINDS}
    busy = busy_minutes(connection, hours, rules.max_over_share) if rules.max_over_share else {}
    shared = {kind: shares(rules, kind, wanted[kind], busy.get(kind)) for kind in KINDS}
    needs = _envelopes(connection, hours, shared)
    for kind in KINDS:
        for tenant, want in wanted[kind].items():
            key = (tenant, kind)
            yield _limit(rules, tenant, kind, want, shared[kind][tenant], needs.get(key), old.get(key))


def _envelopes(
    connection: duckdb.DuckDBPyConnection, hours: Sequence[int], shared: Shares
) -> dict[tuple[str, Kind], Envelope]:
    """Of the demand in these hours, at the rates of these limits."""
    from quotaloop.quotas.trial.history import Group, histories  # with the compiler of the replay, slow to import

    rates: dict[str, dict[Kind, int]] = {}
    for kind, of_kind in shared.items():
        for tenant, share in of_kind.items():
            rates.setdefault(tenant, {})[kind] = share.limit
    ((events,),) = connection.execute("SELECT count(*) FROM events").fetchall()
    groups = events // _EVENTS_AT_ONCE + 1
    found: dict[tuple[str, Kind], Envelope] = {}
    for number in range(groups):
        found |= envelopes(histories(connection, hours, group=Group(number, groups)), rates)
    return found


def _limit(
    rules: Rules, tenant: str, kind: Kind, want: Want, share: Share, envelope: Envelope | None, old: Limit | None
) -> Limit:
    burst, needs = burst_of(rules, kind, share.limit, envelope, old.burst if old else 0)
    reasons = {"damped": want.amount, "least": share.least, "bound_by": share.bound_by, "scarce": share.is_scarce}
    return Limit(
        tenant=tenant,
        scope=EVERYTHING,
        kind=kind,
        limit=share.limit,
        per_seconds=PER_SECONDS[kind],
        burst=burst,
        evidence={**rules.evidence(tenant, kind), **_old(old), **want.evidence, **needs, **reasons},
    )


def _old(limit: Limit | None) -> dict[str, Any]:
    return {"old_limit": limit.limit if limit else None}
