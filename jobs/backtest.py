"""Policies tried on the history of a release, under each target's own algorithm: here, or on Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
from msgspec.structs import replace

from jobs.work import Work
from quotaloop.marts.release import Release, read_days, rfc3339
from quotaloop.marts.views import open_views
from quotaloop.quotas.policy import Limit, Policy
from quotaloop.quotas.target import Target
from quotaloop.quotas.trial.backtest import TRIED, summed, tried
from quotaloop.quotas.trial.history import Group, histories
from quotaloop.quotas.trial.minutes import UNMET, unmet
from quotaloop.storage.store import Store

_EVENTS_A_GROUP = 2_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """A policy and how the limiter decides that it is tried on."""

    policy: Policy
    target: Target


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial: ``rows`` are of ``TRIED``, ``minutes`` of ``UNMET``."""

    rows: pa.Table
    minutes: pa.Table


def backtest(work: Work, release: Release, hours: Sequence[int], trials: Sequence[Trial]) -> list[Outcome]:
    """What each trial would have done in these hours (epoch ms) of a release.

    Tenants are tried one by one, so groups of them are tried apart: where the setting ``backtest_on`` says so, as tasks
    of Spark, with the same rows.
    """
    chosen = frozenset(hours)
    days = read_days(work.store, release).values()
    rows = [row for day in days for hour, found in day.outcomes.items() if hour in chosen for row in found]
    count = sum(row[3] for row in rows) // _EVENTS_A_GROUP + 1
    one = partial(_tried, work.store, release, tuple(sorted(chosen)), tuple(trials))
    with work.stage("backtest", count, "groups of tenants"):
        if work.settings.backtest_on == "spark":
            from jobs.spark.spread import spread

            with work.spark() as spark:
                count = max(count, spark.sparkContext.defaultParallelism)
                found = spread(spark, one, _groups(count), done=work.progress.advance)
        else:
            found = [one(group) for group in _told(work, _groups(count))]
    return [_joined(parts) for parts in zip(*found, strict=True)]


def _groups(count: int) -> list[Group]:
    return [Group(number, count) for number in range(count)]


def _told(work: Work, groups: list[Group]) -> Iterator[Group]:
    for group in groups:
        yield group
        work.progress.advance(1)


def _tried(
    store: Store, release: Release, hours: Sequence[int], trials: Sequence[Trial], group: Group
) -> list[Outcome]:
    """All trials over one group of tenants."""
    found: list[tuple[list[pa.Table], list[pa.Table]]] = [([], []) for _ in trials]
    since = rfc3339(min(hours, default=0))[:10]
    limits = [_by_tenant(trial.policy) for trial in trials]
    with open_views(store, release, tables=["events"], since=since) as connection:
        for classes in dict.fromkeys(trial.target.token_classes for trial in trials):
            for history in histories(connection, hours, token_classes=classes, group=group):
                for place, trial in enumerate(trials):
                    if trial.target.token_classes == classes:
                        policy = replace(trial.policy, limits=limits[place].get(history.tenant, ()))
                        answers = tried(history, policy, trial.target)
                        found[place][0].append(summed(history, answers))
                        found[place][1].append(unmet(history, answers))
    return [
        Outcome(pa.concat_tables([TRIED.empty_table(), *rows]), pa.concat_tables([UNMET.empty_table(), *minutes]))
        for rows, minutes in found
    ]


def _by_tenant(policy: Policy) -> dict[str, tuple[Limit, ...]]:
    found: dict[str, tuple[Limit, ...]] = {}
    for limit in policy.limits:
        found[limit.tenant] = (*found.get(limit.tenant, ()), limit)
    return found


def _joined(parts: Sequence[Outcome]) -> Outcome:
    """Groups of tenants together, in an order that does not depend on how they were grouped."""
    order = [(name, "ascending") for name in ("hour_ms", "tenant", "model")]
    rows = pa.concat_tables([part.rows for part in parts]).sort_by(order)
    return Outcome(rows, pa.concat_tables([part.minutes for part in parts]))
