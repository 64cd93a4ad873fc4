"""What became of a day's demand, minute by minute, under limits that were not in force when it happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from quotaloop.quotas.policy import EVERYTHING, RATES, Kind, Policy
from quotaloop.quotas.target import Algorithm, Target
from quotaloop.quotas.trial.backtest import tried
from quotaloop.quotas.trial.history import History, histories
from quotaloop.quotas.trial.replay import PASSED, Attempts, Counter, Longs, replay

DAY_MS, MINUTE_MS = 86_400_000, 60_000
Answers = Sequence[Longs]  # for each tenant of a day, what ``replay`` says of each attempt


@dataclass(frozen=True, slots=True)
class Day:
    """The attempts of one UTC day that begins at ``start_ms``, of each tenant by name."""

    start_ms: int
    histories: tuple[History, ...]

    @property
    def tenants(self) -> tuple[str, ...]:
        """Those with attempts, in the order of the rows of ``Minutes``."""
        return tuple(history.tenant for history in self.histories)


@dataclass(frozen=True, slots=True)
class Minutes:
    """Amounts of one kind: a row a tenant, a column a minute of the day.

    As in ``demand_minutely``, ``demand`` and ``unmet`` stand at the first attempt of a chain and ``admitted`` at each
    attempt; the demand of a chain is what its first attempt took that passed when it happened, or else its first.
    ``refused``: the part of ``unmet`` whose first attempt the limit of a rate refused, of this kind or another.
    """

    demand: Longs
    admitted: Longs
    unmet: Longs
    refused: Longs


def read_day(connection: duckdb.DuckDBPyConnection, start_ms: int, hours: Sequence[int], target: Target) -> Day:
    """The attempts of those of the ``hours`` (epoch ms) that are of the day; of tokens, what the target charges."""
    of_day = [hour for hour in hours if hour // DAY_MS * DAY_MS == start_ms]
    return Day(start_ms, tuple(histories(connection, of_day, token_classes=target.token_classes)))


def under_policy(day: Day, policy: Policy, target: Target) -> Answers:
    """What a target that begins the day with nothing spent does under a policy with one limit a tenant and kind."""
    if any(limit.scope != EVERYTHING for limit in policy.limits):
        raise ValueError("limits of single models or versions are not evaluated")
    return [tried(history, policy, target) for history in day.histories]


def first_come(day: Day, capacity: Mapping[Kind, int], target: Target) -> Answers:
    """All tenants together, by time, under the capacity alone: each clock minute's, and of concurrency the slots."""
    if not day.histories:
        return []
    starts = np.cumsum([0, *(len(history.arrived_ms) for history in day.histories[:-1])])
    chain = [
        np.where(history.chain < 0, -1, history.chain + start)
        for history, start in zip(day.histories, starts.tolist(), strict=True)
    ]
    order = np.argsort(np.concatenate([history.arrived_ms for history in day.histories]), kind="stable")
    costs = [_merged([history.cost(kind) for history in day.histories], order) for kind in target.algorithms]
    attempts = Attempts(
        _merged([history.arrived_ms for history in day.histories], order),
        _merged([history.ended_ms for history in day.histories], order),
        np.array(costs),
        _merged(chain, order),
        np.concatenate([history.was_denied for history in day.histories])[order],
    )
    answers = np.empty(len(order), np.int64)
    answers[order] = replay(attempts, [_counter(kind, capacity[kind]) for kind in target.algorithms])
    return np.split(answers, starts[1:])


def minutes(day: Day, answers: Answers, kind: Kind, target: Target) -> Minutes:
    """The day's amounts of one kind after such answers."""
    rates = [place for place, limited in enumerate(target.algorithms) if limited in RATES]
    shape = (len(day.histories), DAY_MS // MINUTE_MS)
    found = Minutes(*(np.zeros(shape, np.int64) for _ in range(4)))
    for row, (history, answer) in enumerate(zip(day.histories, answers, strict=True)):
        cost, minute = history.cost(kind), (history.arrived_ms - day.start_ms) // MINUTE_MS
        root, counted = _chains(history)
        is_passed = answer == PASSED
        is_served = np.zeros(len(answer), np.bool_)
        is_served[root[is_passed]] = True
        is_root = root == np.arange(len(root))
        is_unmet = is_root & ~is_served
        np.add.at(found.demand[row], minute[is_root], cost[counted[is_root]])
        np.add.at(found.admitted[row], minute[is_passed], cost[is_passed])
        np.add.at(found.unmet[row], minute[is_unmet], cost[counted[is_unmet]])
        is_refused = is_unmet & np.isin(answer, rates)
        np.add.at(found.refused[row], minute[is_refused], cost[counted[is_refused]])
    return found


def _chains(history: History) -> tuple[Longs, Longs]:
    """For each attempt the place of the first of its chain; at that place, the attempt whose amounts are its demand."""
    places = np.arange(len(history.chain))
    root = np.where(history.chain < 0, places, history.chain)
    counted = places.copy()
    admitted = places[~history.was_denied][::-1]
    counted[root[admitted]] = admitted  # backwards: of several, the first stays
    return root, counted


def _merged(columns: Sequence[Longs], order: Longs) -> Longs:
    """One column of all tenants; read-only, as those of a history are, so that the replay is compiled once."""
    merged: Longs = np.concatenate(columns)[order]
    merged.flags.writeable = False
    return merged


def _counter(kind: Kind, capacity: int) -> Counter:
    algorithm: Algorithm = "concurrency" if kind == "concurrency" else "fixed_window"
    return Counter(algorithm, capacity, MINUTE_MS, capacity)
