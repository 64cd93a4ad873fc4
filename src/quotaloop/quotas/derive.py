"""The next policy: from the demand of fit hours, or, when no hour is fit, the same limits once more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import duckdb
from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.demand import Demand, demands
from quotaloop.quotas.fair_share import weighted_max_min, weights_of
from quotaloop.quotas.policy import EVERYTHING, FORMAT, KINDS, Kind, Limit, Policy, Rate, epoch_ms, instant, rfc3339
from quotaloop.settings import Settings

PER_SECONDS: Mapping[Kind, int] = {"requests": 60, "tokens": 60, "compute": 60, "concurrency": 1}


@dataclass(frozen=True, slots=True)
class Renewal:
    """The renewed policy, or None when it is too old for that, and what the operator must be told."""

    policy: Policy | None
    warning: str | None


def derive(
    connection: duckdb.DuckDBPyConnection,
    *,
    hours: Sequence[int],
    release: int,
    settings: Settings,
    previous: Policy | None,
    as_of_ms: int,
) -> Policy:
    """Limits for each tenant and kind with demand in the fit ``hours`` (epoch ms) of one release.

    Of ``hours``, those of the last ``quota_span`` up to the newest count, so the limits do not depend on ``as_of_ms``,
    which gives the times alone. A limit is ceil(quantile of active minutes * headroom), not below its floor nor above
    its cap, then the weighted max-min share of the capacity: units per minute (compute: microseconds), of concurrency
    slots. ``burst`` is one period's worth. A tenant or kind without demand gets no limit and so has ``safe_capacity``.

    Raises ``CheckRefused`` where there is no fit hour, no demand or less capacity than one unit each, ``UsageError``
    for settings that contradict themselves.
    """
    newest = max(hours, default=0)
    span = sorted({hour for hour in hours if hour > newest - settings.quota_span})
    _require(0 < settings.quantile <= 1, "quantile is above 0 and at most 1")
    _require(settings.headroom > 0, "headroom is above 0")
    found = demands(connection, span, quantile=Fraction(str(settings.quantile)))
    if not found:
        raise CheckRefused(f"release {release} has no demand in {len(span)} fit hours: the limits stay as they are")
    epoch = previous.epoch + 1 if previous else 1
    origin = {"derived_at": rfc3339(as_of_ms), "epoch": epoch, "releases": [release], "hours": len(span)}
    origin |= {"first_hour": rfc3339(span[0]), "last_hour": rfc3339(span[-1])}
    limits = [limit for kind in KINDS for limit in _limits(kind, found, origin, settings)]
    return Policy(
        format=FORMAT,
        epoch=epoch,
        release=release,
        created_at=instant(as_of_ms),
        valid_from=instant(as_of_ms),
        expires_at=instant(as_of_ms + settings.policy_lifetime),
        limits=tuple(sorted(limits, key=lambda limit: (limit.tenant, limit.kind))),
        safe_capacity={kind: _safe_capacity(kind, settings) for kind in KINDS},
    )


def renew(previous: Policy, *, as_of_ms: int, settings: Settings) -> Renewal:
    """The same limits under a new epoch and expiry, up to ``max_policy_age`` after they were last derived.

    From half of that age on there is a warning; beyond it no policy. Limits without ``derived_at`` in their evidence
    count as derived when ``previous`` was created, and say so from now on.
    """
    origin = {"derived_at": rfc3339(epoch_ms(previous.created_at)), "epoch": previous.epoch}
    limits = tuple(replace(limit, evidence=origin | limit.evidence) for limit in previous.limits)
    derived_ms = min(_derived_ms(limit) for limit in limits)
    age_ms = as_of_ms - derived_ms
    told = f"the limits of policy {previous.epoch} were last derived at {rfc3339(derived_ms)}"
    if age_ms > settings.max_policy_age:
        expiry = rfc3339(epoch_ms(previous.expires_at))
        return Renewal(None, f"{told}: too old to renew, safe capacity holds after {expiry}; make hours fit")
    policy = replace(
        previous,
        epoch=previous.epoch + 1,
        created_at=instant(as_of_ms),
        valid_from=instant(as_of_ms),
        expires_at=instant(as_of_ms + settings.policy_lifetime),
        limits=limits,
    )
    end = rfc3339(derived_ms + settings.max_policy_age)
    warns = 2 * age_ms >= settings.max_policy_age
    return Renewal(policy, f"{told}: they can be renewed until {end}; make hours fit" if warns else None)


def _limits(kind: Kind, found: Sequence[Demand], origin: Mapping[str, Any], settings: Settings) -> list[Limit]:
    """All tenants' limits of one kind, and why each is what it is."""
    floor, cap, capacity = (int(getattr(settings, f"{bound}_{kind}")) for bound in ("floor", "cap", "capacity"))
    _require(floor <= cap and cap > 0, f"floor_{kind} is at most cap_{kind}, which is above 0")
    headroom, weights = Fraction(str(settings.headroom)), weights_of(settings.weights)
    origin = {**origin, "quantile": settings.quantile, "headroom": settings.headroom}
    origin |= {"floor": floor, "cap": cap, "capacity": capacity}
    of_kind = {demand.tenant: demand for demand in found if demand.kind == kind}
    wants = {tenant: math.ceil(demand.quantile_value * headroom) for tenant, demand in of_kind.items()}
    bounded = {tenant: min(max(want, floor), cap) for tenant, want in wants.items()}
    limits = []
    for tenant, share in _shares(kind, bounded, weights, floor, capacity).items():
        want = wants[tenant]
        bound_by = "cap" if want > cap else "floor" if want < floor else "want"
        evidence = {**origin, **_measured(of_kind[tenant]), "want": want, "weight": str(weights.get(tenant, 1))}
        evidence["bound_by"] = "capacity" if share < bounded[tenant] else bound_by
        limits.append(_limit(tenant, kind, share, evidence))
    return limits


def _limit(tenant: str, kind: Kind, share: int, evidence: dict[str, Any]) -> Limit:
    per_seconds = PER_SECONDS[kind]
    return Limit(
        tenant=tenant,
        scope=EVERYTHING,
        kind=kind,
        limit=share,
        per_seconds=per_seconds,
        burst=share,
        evidence=evidence,
    )


def _measured(demand: Demand) -> dict[str, Any]:
    """The part of the evidence that was counted (or estimated); concurrency is counted by the hour."""
    names = ("quantile_value", "demand", "admitted", "denied", "unmet", "estimated")
    active = "active_hours" if demand.kind == "concurrency" else "active_minutes"
    return {active: demand.active} | {name: getattr(demand, name) for name in names}


def _shares(
    kind: Kind, wants: Mapping[str, int], weights: Mapping[str, Fraction], floor: int, capacity: int
) -> dict[str, int]:
    """Everyone's floor first if the capacity carries all, else one unit each; the rest by weighted max-min share."""
    first = max(1, floor) if max(1, floor) * len(wants) <= capacity else 1
    if first * len(wants) > capacity:
        raise CheckRefused(f"capacity_{kind}={capacity} is below one unit for each of {len(wants)} tenants: raise it")
    rest = {tenant: want - first for tenant, want in wants.items()}
    shares = weighted_max_min(rest, weights, capacity - first * len(wants))
    return {tenant: first + share for tenant, share in shares.items()}


def _safe_capacity(kind: Kind, settings: Settings) -> Rate:
    limit = int(getattr(settings, f"safe_capacity_{kind}"))
    _require(limit > 0, f"safe_capacity_{kind} is above 0: never unlimited, never nothing")
    return Rate(limit=limit, per_seconds=PER_SECONDS[kind], burst=limit)


def _derived_ms(limit: Limit) -> int:
    try:
        return epoch_ms(datetime.fromisoformat(limit.evidence["derived_at"]))
    except (TypeError, ValueError) as error:
        raise CheckRefused(f"evidence of {limit.tenant}, {limit.kind}: derived_at is not an RFC 3339 time") from error


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"settings: {rule}")
