"""What a policy must pass before it gets an epoch: each gate names the tenant and the number that it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import pyarrow as pa

from quotaloop.quotas.policy import Limit, Policy
from quotaloop.quotas.trial.carried import denied_of_carried
from quotaloop.settings import Settings

Gate = Literal["step", "backtest"]


@dataclass(frozen=True, slots=True)
class Objection:
    """A gate's word against a policy: which gate, of whom, and which number."""

    gate: Gate
    tenant: str
    kind: str
    text: str

    def __str__(self) -> str:
        return f"gate {self.gate}: {self.tenant}, {self.kind}: {self.text}"


def step(policy: Policy, in_force: Policy, settings: Settings) -> Iterator[Objection]:
    """Limits that move further from those in force than ``greatest_step_up`` and ``greatest_step_down`` say.

    A limit that is new, was suspended, is, or is left out, takes no step.
    """
    up, down = Fraction(str(settings.greatest_step_up)), Fraction(str(settings.greatest_step_down))
    before = {_key(limit): limit for limit in in_force.limits if limit.limit}
    for limit in policy.limits:
        old = before.get(_key(limit))
        if old is None or not limit.limit:
            continue
        new_rate = Fraction(limit.limit, limit.per_seconds)
        old_rate = Fraction(old.limit, old.per_seconds)
        one = Fraction(1, limit.per_seconds)  # a limit can always move by a unit
        if new_rate > max(old_rate * up, old_rate + one):
            said = f"{old.limit} to {limit.limit} is more than {settings.greatest_step_up} times (greatest_step_up)"
            yield Objection("step", limit.tenant, limit.kind, said)
        elif new_rate < min(old_rate * down, old_rate - one):
            said = f"{old.limit} to {limit.limit} is less than {settings.greatest_step_down} times (greatest_step_down)"
            yield Objection("step", limit.tenant, limit.kind, said)


def backtest(
    trials: Mapping[str, pa.Table], in_force: Mapping[str, pa.Table], policy: Policy, settings: Settings
) -> Iterator[Objection]:
    """Tenants of whose demand a trial denies more than ``max_denied_share`` although capacity could have carried it.

    Per sink rows of ``minutes.UNMET``, under the ``policy`` and, if there is one, under the one in force. Where the
    latter would have denied as much or more of the same, the new one is no reason to object.
    """
    for name, table in sorted(trials.items()):
        before = denied_of_carried(in_force[name], policy, settings) if name in in_force else {}
        for (tenant, kind), (denied, carried) in sorted(denied_of_carried(table, policy, settings).items()):
            if denied <= carried * Fraction(str(settings.max_denied_share)):
                continue
            if (tenant, kind) in before and before[tenant, kind][0] >= denied:
                continue
            share = f"{denied / carried:.1%} of {carried} that capacity could carry"
            said = f"sink {name} would deny {denied}, {share}; max_denied_share is {settings.max_denied_share}"
            yield Objection("backtest", tenant, kind, said)


def _key(limit: Limit) -> tuple[str, str, str, str]:
    return limit.tenant, limit.scope.model, limit.scope.api_version, limit.kind
