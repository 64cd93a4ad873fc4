"""Is a quota any good? Limits of each day from the days before it alone, tried on that day, beside simpler ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from quotaloop.errors import CheckRefused
from quotaloop.quotas.evaluation.baselines import METHODS, Known, Method, capacity
from quotaloop.quotas.evaluation.enforced import DAY_MS, Day, first_come, minutes, read_day, under_policy
from quotaloop.quotas.evaluation.figures import Figures, Judged, Totals, add_day, fair_shares
from quotaloop.quotas.fair_share import weights_of
from quotaloop.quotas.policy import KINDS, RATES, Kind, Policy, rfc3339
from quotaloop.quotas.target import OURS, Target
from quotaloop.quotas.trial.replay import Longs
from quotaloop.settings import Settings

FIRST_COME = "first come, first served"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """``methods``: by method, then by kind that any tenant asked for; the days judged are UTC dates, in order."""

    days: tuple[str, ...]
    tenants: int
    capacity: dict[Kind, int]
    methods: dict[str, dict[Kind, Figures]]


@dataclass(frozen=True, slots=True)
class Step:
    """A day to be judged, with each method's policy for it, and for the day judged before."""

    day_ms: int
    policies: Mapping[str, Policy]
    before: Mapping[str, Policy]


def evaluate(
    connection: duckdb.DuckDBPyConnection,
    *,
    hours: Sequence[int],
    settings: Settings,
    target: Target = OURS,
    methods: Mapping[str, Method] = METHODS,
) -> Evaluation:
    """Figures of every method, and of first come, first served under the capacity alone, over the same days.

    ``connection`` has the views ``events``, ``demand_minutely`` and ``rate_limit_usage``; ``hours`` (epoch ms) are fit.
    The attempts of a day go through the ``target``, which begins each day with nothing spent. What a client that is
    denied here, and was not then, would have tried again is not known: it counts as denied. Raises ``CheckRefused``
    where no day can be judged.
    """
    totals = {name: {kind: Totals() for kind in RATES} for name in (*methods, FIRST_COME)}
    days, tenants = [], set[str]()
    for step in walk(connection, hours=hours, settings=settings, methods=methods):
        day = read_day(connection, step.day_ms, hours, target)
        for name, judged in _judged(day, step.policies, settings, target):
            add_day(totals[name], judged)
        for name, policy in step.policies.items():
            if name in step.before:
                _add_changes(totals[name], step.before[name], policy)
        days.append(rfc3339(step.day_ms)[:10])
        tenants.update(day.tenants)
    if not days:
        raise CheckRefused("no day can be judged: fit hours of two UTC days are needed, with demand on the first")
    wanted = [kind for kind in RATES if any(totals[FIRST_COME][kind].demand.values())]
    figures = {name: {kind: of_method[kind].figures() for kind in wanted} for name, of_method in totals.items()}
    return Evaluation(tuple(days), len(tenants), {kind: capacity(kind, settings) for kind in wanted}, figures)


def walk(
    connection: duckdb.DuckDBPyConnection, *, hours: Sequence[int], settings: Settings, methods: Mapping[str, Method]
) -> Iterator[Step]:
    """The UTC days of these hours, in order, for which every method knows limits from the hours of earlier days.

    A method that refuses keeps its policy of the day before; while it has none, the day is not judged.
    """
    before: dict[str, Policy] = {}
    for day_ms in sorted({hour // DAY_MS * DAY_MS for hour in hours}):
        earlier = tuple(sorted(hour for hour in set(hours) if hour < day_ms))
        policies: dict[str, Policy] = {}
        for name, method in methods.items():
            policy = _next(method, Known(connection, earlier, day_ms, settings, before.get(name))) if earlier else None
            if policy is not None:
                policies[name] = policy
        if earlier and len(policies) == len(methods):
            yield Step(day_ms, policies, dict(before))
        before = policies


def _next(method: Method, known: Known) -> Policy | None:
    try:
        return method(known)
    except CheckRefused:
        return known.previous


def _judged(
    day: Day, policies: Mapping[str, Policy], settings: Settings, target: Target
) -> Iterator[tuple[str, Judged]]:
    """The day after each method; the demand, and so the fair shares of it, are the same for all."""
    capacities, weights = {kind: capacity(kind, settings) for kind in KINDS}, weights_of(settings.weights)
    answers = {FIRST_COME: first_come(day, capacities, target)}
    answers |= {name: under_policy(day, policy, target) for name, policy in policies.items()}
    fair: dict[Kind, Longs] = {}
    for name, answer in answers.items():
        found = {kind: minutes(day, answer, kind, target) for kind in RATES}
        for kind in set(RATES) - fair.keys():
            fair[kind] = fair_shares(found[kind].demand, day.tenants, weights, capacities[kind])
        yield name, Judged(day.tenants, found, fair, capacities)


def _add_changes(totals: Mapping[Kind, Totals], before: Policy, now: Policy) -> None:
    for kind, of_kind in totals.items():
        of_kind.add_change(_limits(before, kind), _limits(now, kind))


def _limits(policy: Policy, kind: Kind) -> dict[str, int]:
    return {limit.tenant: limit.limit for limit in policy.limits if limit.kind == kind}
