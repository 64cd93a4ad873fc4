"""A policy tried on purpose: the next one, or one that somebody thinks of, beside the policy in force."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from jobs.backtest import Trial, backtest
from jobs.feedback import derive
from jobs.fit_hours import fit_hours, recent_hours
from jobs.work import Work
from quotaloop.errors import UsageError
from quotaloop.marts.release import Release
from quotaloop.quotas.policy import Policy, at_epoch, epoch_ms, newest, policies
from quotaloop.quotas.trial.what_if import what_if
from quotaloop.sinks.configured import sinks

_OF_THE_PAST = ("was_admitted", "was_denied", "was_denied_tokens")
_OF_A_TRIAL = ("admitted", "denied", "denied_tokens", "not_sent")


@dataclass(frozen=True, slots=True)
class Tried:
    """Per sink rows of ``TRIED`` by hour, tenant and model, with columns ``in_force_...`` where a policy was."""

    policy: Policy
    in_force: Policy | None
    release: Release
    hours: int
    told: str
    rows: Mapping[str, pa.Table]


def trial(
    work: Work,
    *,
    epoch: int | None = None,
    changes: Sequence[str] = (),
    sink: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> Tried:
    """The policy of an ``epoch``, or with ``changes`` the one in force with these limits, or the next one, on history.

    Of the last release, the hours of ``quota_span`` that are fit for quotas; where a span is named, all that there are
    in it. Raises ``UsageError`` where there is nothing to try, or no such sink.
    """
    release, in_force = work.latest, newest(work.store)
    if release is None:
        raise UsageError("there is no release to try anything on; run `quotaloop run`")
    policy = what_if(_chosen(work, in_force, epoch, changes), changes)
    hours = _hours(work, release, since, until)
    targets = {
        one.configuration.name: one.configuration.target
        for one in sinks(work.settings, work.store)
        if sink in (None, one.configuration.name)
    }
    if not targets:
        raise UsageError(f"there is no sink {sink} in the settings")
    trials = [
        Trial(one, target) for target in targets.values() for one in ([policy, in_force] if in_force else [policy])
    ]
    rows = [outcome.rows for outcome in backtest(work, release, hours, trials)]
    step = 2 if in_force else 1
    found = {
        name: _beside(rows[place * step], rows[place * step + 1] if in_force else None)
        for place, name in enumerate(targets)
    }
    told = f"policy {policy.epoch}{' with ' + ' and '.join(changes) if changes else ''} over {len(hours)} hours"
    return Tried(policy, in_force, release, len(hours), told, found)


def _chosen(work: Work, in_force: Policy | None, epoch: int | None, changes: Sequence[str]) -> Policy:
    if epoch is not None:
        return at_epoch(policies(work.store), epoch)
    policy = in_force if changes and in_force is not None else derive(work, dry_run=True).policy
    if policy is None:
        raise UsageError("there is no policy to try; `quotaloop quotas derive --dry-run` says why")
    return policy


def _beside(rows: pa.Table, in_force: pa.Table | None) -> pa.Table:
    """Rows of a trial with those of the policy in force, which are of the same hours, tenants and models."""
    found = rows.select([name for name in rows.column_names if name not in _OF_THE_PAST])
    if in_force is not None:
        for name in _OF_A_TRIAL:
            found = found.append_column(f"in_force_{name}", in_force[name])
    for name in _OF_THE_PAST:
        found = found.append_column(name, rows[name])
    return found


def _hours(work: Work, release: Release, since: str | None, until: str | None) -> Sequence[int]:
    fit = fit_hours(work, release)
    if since is None and until is None:
        return recent_hours(work, fit)
    first, end = _time(since, 0), _time(until, 2**62)
    return [hour for hour in sorted({*fit.fit, *fit.unfit}) if first <= hour < end]


def _time(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        return epoch_ms(datetime.fromisoformat(text))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{text!r} is not a time: write 2026-03-02T00:00:00Z") from error
