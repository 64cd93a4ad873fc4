"""The arrival envelope of a demand: the smallest token bucket of a rate that would have passed all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.policy import Kind

if TYPE_CHECKING:  # it compiles the replay, which takes time to import
    from quotaloop.quotas.trial.history import History

Longs = npt.NDArray[np.int64]
_SAFE = 2**62  # sums up to here do not leave 64 bits


@dataclass(frozen=True, slots=True)
class Envelope:
    """``burst``: units of the smallest bucket that passes all; ``greatest_cost``: of one request that was served."""

    burst: int
    greatest_cost: int


def envelopes(
    histories: Iterable[History], limits: Mapping[str, Mapping[Kind, int]]
) -> dict[tuple[str, Kind], Envelope]:
    """By tenant and kind, at the rate of each limit (by tenant, then kind), where it is a rate and was asked for.

    Each chain counts once, at its first attempt, with the amount of demand: that of its first attempt which was not
    denied, or of its first if all were.
    """
    found: dict[tuple[str, Kind], Envelope] = {}
    for history in histories:
        first = first_attempts(history.chain)
        for kind, limit in limits.get(history.tenant, {}).items():
            if kind == "concurrency":
                continue
            costs = demanded(history.cost(kind), history.chain, history.was_denied)[first]
            if costs.any():
                period_ms = PER_SECONDS[kind] * 1000
                debt = greatest_debt(history.arrived_ms[first], costs, limit, period_ms)
                greatest = int(history.cost(kind)[~history.was_denied].max(initial=0))
                found[history.tenant, kind] = Envelope(-(-debt // period_ms), greatest)
    return found


def first_attempts(chain: Longs) -> npt.NDArray[np.bool_]:
    """Which attempts are the first of their chain; ``chain`` is the place of that one, or -1."""
    is_first: npt.NDArray[np.bool_] = (chain == -1) | (chain == np.arange(len(chain)))
    return is_first


def demanded(costs: Longs, chain: Longs, was_denied: npt.NDArray[np.bool_]) -> Longs:
    """Costs with, at the first of each chain, that of its first attempt which was not denied, if there is one."""
    amounts = costs.copy()
    served = np.flatnonzero((chain >= 0) & ~was_denied)
    chains, places = np.unique(chain[served], return_index=True)
    amounts[chains] = costs[served[places]]
    return amounts


def greatest_debt(arrived_ms: Longs, costs: Longs, limit: int, period_ms: int) -> int:
    """The greatest debt, in units of 1/period_ms, of a bucket without bound that drains ``limit`` units a period.

    That is the burstiness sigma of Cruz, "A calculus for network delay" (1991), at rho = limit / period, and the
    greatest content of the continuous-state leaky bucket of ITU-T I.371. Exact; times ascend.

    >>> greatest_debt(np.array([0, 0, 500]), np.array([1, 1, 1]), 1, 1_000)  # two, half a unit drained, one more
    2500
    """
    greatest, _ = _debts(arrived_ms, costs, limit, period_ms, 0, int(arrived_ms[0]) if len(arrived_ms) else 0)
    return greatest


def _debts(arrived_ms: Longs, costs: Longs, limit: int, period_ms: int, debt: int, at_ms: int) -> tuple[int, int]:
    """The greatest and the last debt, from one at an earlier time; in halves where 64 bits would not hold the sums."""
    count = len(costs)
    if count == 0:
        return debt, debt
    elapsed = int(arrived_ms[-1]) - at_ms
    if debt + count * int(costs.max()) * period_ms + elapsed * limit < _SAFE:
        spent = np.cumsum(costs) * period_ms
        drained = (arrived_ms - at_ms) * limit
        before = np.minimum.accumulate(spent - costs * period_ms - drained)  # least of what was spent less drained
        debts = spent - drained - np.minimum(before, -debt)
        return int(debts.max()), int(debts[-1])
    if count == 1:
        after = max(debt - elapsed * limit, 0) + int(costs[0]) * period_ms
        return after, after
    half = count // 2
    first, debt = _debts(arrived_ms[:half], costs[:half], limit, period_ms, debt, at_ms)
    second, debt = _debts(arrived_ms[half:], costs[half:], limit, period_ms, debt, int(arrived_ms[half - 1]))
    return max(first, second), debt
