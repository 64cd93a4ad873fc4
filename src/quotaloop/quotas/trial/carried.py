"""What capacity could have carried of a demand, minute by minute, and what a trial denied of that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quotaloop.quotas.fair_share import weighted_max_min, weights_of
from quotaloop.quotas.policy import RATES, Kind, Policy
from quotaloop.quotas.trial.replay import Longs
from quotaloop.settings import Settings

Amounts = tuple[int, int]  # denied though it could be carried, and all that could be


def denied_of_carried(table: pa.Table, policy: Policy, settings: Settings) -> dict[tuple[str, str], Amounts]:
    """Per tenant and kind, of rows of ``minutes.UNMET`` after a trial of the policy.

    Of a minute, capacity can carry of each kind a tenant's weighted max-min share, no more than its cap, and where its
    limit is what capacity left of its wants (``scarce``), no more than that. A request needs all its kinds, so of
    every kind the same part is carried, as the scarcest allows. Suspended tenants are not looked at.
    """
    suspended = {limit.tenant for limit in policy.limits if limit.suspended}
    rows = table.filter(pc.invert(pc.is_in(table["tenant"], pa.array(sorted(suspended), pa.string()))))
    rows = rows.sort_by([("minute", "ascending"), ("tenant", "ascending")])
    of_kind = {kind: rows.filter(pc.equal(rows["kind"], kind)) for kind in RATES}
    scarce: dict[tuple[int, str], tuple[int, int]] = {}  # minute and tenant to what is carried of how much
    for kind in RATES:
        _note_scarcity(scarce, kind, of_kind[kind], policy, settings)
    return {
        (tenant, kind): amounts
        for kind in RATES
        for tenant, amounts in _denied(of_kind[kind], scarce).items()
        if amounts[1]
    }


def _note_scarcity(
    scarce: dict[tuple[int, str], tuple[int, int]], kind: Kind, rows: pa.Table, policy: Policy, settings: Settings
) -> None:
    """Minutes and tenants of whose demand of this kind not all can be carried; the scarcest kind stays noted."""
    names, minutes = rows["tenant"].to_pylist(), rows["minute"].to_numpy()
    demand = rows["demand"].to_numpy()
    most = _most(kind, policy, settings)
    cap = int(getattr(settings, f"cap_{kind}"))
    bounded = np.minimum(demand, [most.get(name, cap) for name in names]) if len(rows) else demand
    carried = _shared(kind, names, minutes, bounded, settings)
    for place in np.flatnonzero(carried < demand).tolist():
        key, part = (int(minutes[place]), names[place]), (int(carried[place]), int(demand[place]))
        if key not in scarce or part[0] * scarce[key][1] < scarce[key][0] * part[1]:
            scarce[key] = part


def _most(kind: Kind, policy: Policy, settings: Settings) -> Mapping[str, int]:
    """Units a minute, by tenant: the cap, or the limit where capacity left less than is wanted."""
    cap = int(getattr(settings, f"cap_{kind}"))
    return {
        limit.tenant: min(cap, limit.limit * 60 // limit.per_seconds)
        for limit in policy.limits
        if limit.kind == kind and limit.evidence.get("scarce")
    }


def _shared(kind: Kind, names: list[str], minutes: Longs, bounded: Longs, settings: Settings) -> Longs:
    """Weighted max-min shares in the minutes that ask for more than the capacity, all of it in others."""
    capacity, weights = int(getattr(settings, f"capacity_{kind}")), weights_of(settings.weights)
    carried = bounded.copy()
    edges = np.append(np.unique(minutes, return_index=True)[1], len(minutes))
    asked = np.add.reduceat(bounded, edges[:-1]) if len(minutes) else bounded
    for short in np.flatnonzero(asked > capacity).tolist():
        places = range(edges[short], edges[short + 1])
        shares = weighted_max_min({names[place]: int(bounded[place]) for place in places}, weights, capacity)
        carried[places.start : places.stop] = [shares[names[place]] for place in places]
    return carried


def _denied(rows: pa.Table, scarce: Mapping[tuple[int, str], tuple[int, int]]) -> dict[str, Amounts]:
    found: dict[str, Amounts] = {}
    columns = (rows[name].to_pylist() for name in ("minute", "tenant", "demand", "unmet"))
    for minute, tenant, demand, unmet in zip(*columns, strict=True):
        part, whole = scarce.get((minute, tenant), (1, 1))
        carried = demand * part // whole
        denied, all_carried = found.get(tenant, (0, 0))
        found[tenant] = (denied + max(unmet - (demand - carried), 0), all_carried + carried)
    return found
