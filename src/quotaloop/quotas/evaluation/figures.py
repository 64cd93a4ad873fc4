"""How good limits were, in numbers: capacity kept, demand denied for no need, fairness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from quotaloop.quotas.evaluation.enforced import Minutes
from quotaloop.quotas.fair_share import weighted_max_min
from quotaloop.quotas.policy import Kind
from quotaloop.quotas.trial.replay import Longs


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one kind, over all days judged; amounts in its units, shares of the demand from 0 to 1.

    ``minutes_over``, ``over``: minutes in which more was admitted than the capacity, and how much more.
    ``denied_while_free``: demand that limits refused, each minute as much as what was left of every kind would carry.
    ``denied_within_share``: demand so refused to tenants that wanted no more than their weighted max-min share of the
    minute's capacity, of every kind. ``jain``: Jain's index of served over fair share, of the tenants that were short,
    in the minutes in which they were; None where nobody was. ``change``: what limits moved from one day to the next,
    over what they were; None without limits or a second day. ``worst_tenant``: of whose demand the greatest share was
    refused though what was left would have carried it, were it the only one.
    """

    demand: int
    denied: int
    denied_share: float
    minutes_over: int
    over: int
    denied_while_free: int
    denied_while_free_share: float
    denied_within_share: int
    denied_within_share_share: float
    jain: float | None
    change: float | None
    worst_tenant: str | None
    worst_share: float


@dataclass(frozen=True, slots=True)
class Judged:
    """One day after one method: by kind its minutes, the fair shares of their demand, and the capacity."""

    tenants: tuple[str, ...]
    minutes: Mapping[Kind, Minutes]
    fair: Mapping[Kind, Longs]
    capacity: Mapping[Kind, int]

    @property
    def is_within(self) -> npt.NDArray[np.bool_]:
        """Where a tenant wants no more than its fair share, of any kind."""
        within: npt.NDArray[np.bool_] = np.all([day.demand <= self.fair[kind] for kind, day in self.minutes.items()], 0)
        return within

    def free(self) -> dict[Kind, Longs]:
        """What is left of each minute."""
        left = {kind: self.capacity[kind] - day.admitted.sum(axis=0) for kind, day in self.minutes.items()}
        return {kind: np.maximum(amount, 0) for kind, amount in left.items()}


def carriable(refused: Mapping[Kind, Longs], free: Mapping[Kind, Longs]) -> dict[Kind, Longs]:
    """What of ``refused`` fits into what is ``free``: of every kind the same share, as the scarcest allows.

    A request needs all its kinds: tokens left are of no use to it where no request is.
    """
    found = {kind: amount.copy() for kind, amount in refused.items()}
    for scarce, amount in refused.items():
        short = np.nonzero(free[scarce] < amount)
        room, wanted = free[scarce][short].astype(object), amount[short]  # Python's integers: products are exact
        for kind, carried in found.items():
            carried[short] = np.minimum(carried[short], (refused[kind][short] * room // wanted).astype(np.int64))
    return found


@dataclass(slots=True)
class Totals:
    """Sums of one kind over days, whole numbers; by tenant where a mapping."""

    demand: dict[str, int] = field(default_factory=dict)
    carriable: dict[str, int] = field(default_factory=dict)
    served_short: dict[str, int] = field(default_factory=dict)
    fair_short: dict[str, int] = field(default_factory=dict)
    denied: int = 0
    minutes_over: int = 0
    over: int = 0
    denied_while_free: int = 0
    denied_within_share: int = 0
    moved: int = 0
    moved_from: int = 0

    def add(self, judged: Judged, kind: Kind, together: Longs, alone: Longs) -> None:
        """One day more; of what was refused, what the capacity left would have carried of all, and of each alone."""
        day, is_short = judged.minutes[kind], judged.minutes[kind].refused > 0
        over = np.maximum(day.admitted.sum(axis=0) - judged.capacity[kind], 0)
        self.denied += int(day.unmet.sum())
        self.minutes_over += int(np.count_nonzero(over))
        self.over += int(over.sum())
        self.denied_while_free += int(together.sum())
        self.denied_within_share += int(day.refused[judged.is_within].sum())
        _add(self.demand, judged.tenants, day.demand)
        _add(self.carriable, judged.tenants, alone)
        _add(self.served_short, judged.tenants, np.where(is_short, day.demand - day.unmet, 0))
        _add(self.fair_short, judged.tenants, np.where(is_short, judged.fair[kind], 0))

    def add_change(self, before: Mapping[str, int], now: Mapping[str, int]) -> None:
        """The limits of two days in a row; those of tenants with one of them alone do not count."""
        both = before.keys() & now.keys()
        self.moved += sum(abs(now[tenant] - before[tenant]) for tenant in both)
        self.moved_from += sum(before[tenant] for tenant in both)

    def figures(self) -> Figures:
        """The figures of these sums."""
        demand = sum(self.demand.values())
        served = {tenant: Fraction(self.served_short[tenant], fair) for tenant, fair in self.fair_short.items() if fair}
        shares = {tenant: _share(self.carriable[tenant], amount) for tenant, amount in sorted(self.demand.items())}
        worst = max(shares, key=lambda tenant: shares[tenant], default=None)
        return Figures(
            demand=demand,
            denied=self.denied,
            denied_share=_share(self.denied, demand),
            minutes_over=self.minutes_over,
            over=self.over,
            denied_while_free=self.denied_while_free,
            denied_while_free_share=_share(self.denied_while_free, demand),
            denied_within_share=self.denied_within_share,
            denied_within_share_share=_share(self.denied_within_share, demand),
            jain=jain(list(served.values())),
            change=_share(self.moved, self.moved_from) if self.moved_from else None,
            worst_tenant=worst if worst and shares[worst] else None,
            worst_share=shares[worst] if worst else 0.0,
        )


def add_day(totals: Mapping[Kind, Totals], judged: Judged) -> None:
    """One day more, of all its kinds."""
    refused = {kind: day.refused for kind, day in judged.minutes.items()}
    free = judged.free()
    together = carriable({kind: amount.sum(axis=0) for kind, amount in refused.items()}, free)
    alone = carriable(refused, {kind: np.broadcast_to(free[kind], amount.shape) for kind, amount in refused.items()})
    for kind in judged.minutes:
        totals[kind].add(judged, kind, together[kind], alone[kind])


def fair_shares(demand: Longs, tenants: Sequence[str], weights: Mapping[str, Fraction], capacity: int) -> Longs:
    """Each tenant's weighted max-min share of the capacity of each minute; all its demand where the capacity is enough.

    Rows are tenants, columns minutes, as in ``Minutes``.
    """
    shares = demand.copy()
    for minute in np.flatnonzero(demand.sum(axis=0) > capacity).tolist():
        wants = {tenant: want for tenant, want in zip(tenants, demand[:, minute].tolist(), strict=True) if want}
        found = weighted_max_min(wants, weights, capacity)
        shares[:, minute] = [found.get(tenant, 0) for tenant in tenants]
    return shares


def jain(shares: Sequence[Fraction | int]) -> float | None:
    """(sum x)^2 / (n * sum x^2): 1 where all are equal, 1/n where one has everything; None of nothing.

    Jain, Chiu and Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared
    Computer Systems", DEC-TR-301, 1984.

    >>> jain([3, 3, 3, 3]), jain([1, 0, 0, 0])
    (1.0, 0.25)
    """
    squares = sum(share * share for share in shares)
    return float(Fraction(sum(shares)) ** 2 / (len(shares) * squares)) if squares else None


def _add(sums: dict[str, int], tenants: Sequence[str], amounts: Longs) -> None:
    for tenant, amount in zip(tenants, amounts.sum(axis=1).tolist(), strict=True):
        sums[tenant] = sums.get(tenant, 0) + amount


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
