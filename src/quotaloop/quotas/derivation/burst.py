"""The burst of a limit: what the tenant's demand needed at that rate, within bounds, and not flapping."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from quotaloop.quotas.derivation.envelope import Envelope
from quotaloop.quotas.derivation.rules import Rules
from quotaloop.quotas.policy import Kind


def burst_of(
    rules: Rules, kind: Kind, limit: int, envelope: Envelope | None, old_burst: int
) -> tuple[int, Mapping[str, Any]]:
    """The size of the bucket and its evidence; ``old_burst`` is 0 where there was none.

    It is the ``envelope`` times the headroom, at most ``greatest_burst`` periods' worth of the limit. But the greatest
    request fits into it (``greatest_cost``), unless that is more than what all tenants share in a period: what the rate
    allows must not be refused for ever. The old one stays while the new one is in the dead band around it
    (``dead_band``) and it is within these bounds. Without demand in the logs it is one period's worth, or the old one
    where that is less (``period``). Of concurrency it is the limit.
    """
    if kind == "concurrency":
        return limit, {}
    most = max(1, math.floor(limit * rules.greatest_burst))
    if envelope is None:
        return min(limit, most, old_burst or limit), {"old_burst": old_burst, "burst_bound_by": "period"}
    least = min(envelope.greatest_cost, rules.bounds[kind].capacity)
    needed = math.ceil(envelope.burst * rules.headroom)
    wanted = max(min(needed, most), least)
    bound_by = "envelope" if wanted == needed else "greatest_burst" if wanted == most else "greatest_cost"
    keeps = wanted != old_burst and rules.damping.keeps(wanted, Fraction(old_burst))
    if keeps and least <= old_burst <= max(most, least):
        wanted, bound_by = old_burst, "dead_band"
    return wanted, {
        "envelope": envelope.burst,
        "greatest_cost": envelope.greatest_cost,
        "greatest_burst": float(rules.greatest_burst),
        "old_burst": old_burst,
        "burst_bound_by": bound_by,
    }
