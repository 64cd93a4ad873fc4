"""What each tenant should have of one kind, before the capacity is looked at, and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from quotaloop.quotas.derivation.demand import Demand
from quotaloop.quotas.derivation.little import Served
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.derivation.rules import Rules
from quotaloop.quotas.policy import Kind, Limit

Key = tuple[str, str]  # tenant and kind


@dataclass(frozen=True, slots=True)
class Want:
    """Of one tenant: the limit to have if there is capacity, the one in force, and what bound it last.

    ``old`` is in units of this kind's period, None where there was none or it was suspended.
    """

    amount: int
    old: Fraction | None
    bound_by: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """What single attempts tell: by tenant their durations, by tenant and kind the greatest amount of one."""

    served: Mapping[str, Served]
    greatest: Mapping[Key, int]


def wants(
    rules: Rules, kind: Kind, found: Mapping[Key, Demand], seen: Seen, before: Mapping[Key, Limit]
) -> dict[str, Want]:
    """By tenant: of those with demand, and of those who vanished but still have more than the safe capacity."""
    wanted = {}
    for demand in (demand for demand in found.values() if demand.kind == kind):
        tenant, measured = demand.tenant, _measured(demand)
        most: Fraction = Fraction(demand.quantile_value)
        if kind == "concurrency" and (tenant, "requests") in found and tenant in seen.served:
            in_flight, evidence = _little(found[tenant, "requests"].quantile_value, seen.served[tenant])
            most, measured = max(most, in_flight), measured | evidence
        measured["greatest_request"] = seen.greatest.get((tenant, kind), 1)
        measured["want"] = max(math.ceil(most * rules.headroom), measured["greatest_request"])
        wanted[tenant] = _want(rules, kind, measured, _old(before.get((tenant, kind)), kind))
    return wanted | _vanished(rules, kind, [limit for key, limit in before.items() if key not in found])


def _want(rules: Rules, kind: Kind, measured: Mapping[str, Any], old: Fraction | None) -> Want:
    want, bounds = measured["want"], rules.bounds[kind]
    reason = "request" if want == measured["greatest_request"] > 1 else "want"
    bound_by = "cap" if want > bounds.cap else "floor" if want < bounds.floor else reason
    amount = min(max(want, bounds.floor), bounds.cap)
    if old is not None:
        amount, held_by = rules.damping.damped(amount, old, floor=bounds.floor, cap=bounds.cap)
        bound_by = held_by or bound_by
    return Want(amount, old, bound_by, measured)


def _vanished(rules: Rules, kind: Kind, gone: Sequence[Limit]) -> dict[str, Want]:
    """A step down for those with more than the safe capacity, which they have without a limit, but not below it."""
    safe, wanted = rules.bounds[kind].safe, {}
    for limit in gone:
        old = _old(limit, kind)
        if limit.kind == kind and old is not None and old > safe:
            amount = max(rules.damping.least(old), safe)
            wanted[limit.tenant] = Want(amount, old, "vanished", {"want": 0, "safe_capacity": safe})
    return wanted


def _old(limit: Limit | None, kind: Kind) -> Fraction | None:
    if limit is None or limit.suspended:
        return None
    return Fraction(limit.limit * PER_SECONDS[kind], 1 if kind == "concurrency" else limit.per_seconds)


def _little(requests_a_minute: int, served: Served) -> tuple[Fraction, dict[str, Any]]:
    in_flight = served.in_flight(requests_a_minute)
    return in_flight, {
        "requests_quantile": requests_a_minute,
        "served": served.attempts,
        "mean_duration_us": served.mean_duration_us,
        "little": float(round(in_flight, 3)),
    }


def _measured(demand: Demand) -> dict[str, Any]:
    """The part of the evidence that was counted (or estimated); concurrency is counted by the hour."""
    names = ("quantile_value", "demand", "admitted", "denied", "unmet", "estimated")
    active = "active_hours" if demand.kind == "concurrency" else "active_minutes"
    shape = {"shape": "week" if demand.shaped else "none"}
    return {active: demand.active} | {name: getattr(demand, name) for name in names} | shape
