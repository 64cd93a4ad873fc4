"""From the newest release to the next policy: derived, tried on history, past every gate, then given an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from msgspec.structs import replace

from jobs.backtest import Trial, backtest
from jobs.fit_hours import as_of, fit_hours, is_recent, recent_hours
from jobs.work import Work
from quotaloop import faults
from quotaloop.errors import CheckRefused
from quotaloop.marts.release import Release, rfc3339
from quotaloop.marts.rollback import taken_back
from quotaloop.marts.views import open_views
from quotaloop.quotas.derivation.derive import derive as derive_policy
from quotaloop.quotas.derivation.derive import renew
from quotaloop.quotas.fitness import Fitness
from quotaloop.quotas.policy import (
    Policy,
    check_push,
    derived_ms,
    epoch_ms,
    is_live,
    is_pinned,
    newest,
    rests_on_ms,
    store_policy,
)
from quotaloop.quotas.trial import gate
from quotaloop.results import Derivation
from quotaloop.sinks.configured import sinks

_TABLES = ("demand_minutely", "rate_limit_usage", "events")


class GateRefused(CheckRefused):
    """A gate is against the policy; the limits stay as they are."""


def derive(
    work: Work, *, backfill: bool = False, accepted: AbstractSet[str] = frozenset(), dry_run: bool = False
) -> Derivation:
    """A policy from the newest release, if the newest policy is of an earlier one and there are newer hours.

    The time it stands for is the end of the newest hour that was counted twice: the same release gives the same policy
    whenever it is derived. With ``backfill``, a release that only brought older hours moves limits too. Raises
    ``CheckRefused`` where a gate is against it that is not among those ``accepted``; with ``dry_run`` it is only told,
    and nothing is stored.
    """
    release, previous = work.latest, newest(work.store)
    if release is None:
        return Derivation(previous, False, "there is no release to derive from")
    if previous is not None and previous.release >= release.number and not backfill:
        return Derivation(previous, False, f"policy {previous.epoch} is of release {previous.release} already")
    fit, end = fit_hours(work, release), as_of(work, release)
    if not (backfill or _has_newer_hours(work, end, previous)):
        assert previous is not None
        said = f"limits unchanged: release {release.number} brings no newer hour than policy {previous.epoch} was "
        said += "derived from; `quotaloop quotas derive --backfill` lets older hours move them"
        return Derivation(previous, False, said, len(fit.fit), dict(fit.unfit), previous)
    if is_pinned(work.store, previous) or not _is_fit(work, fit, end, None if backfill else previous):
        return _same_again(work, previous, end, fit, dry_run=dry_run)
    since = rfc3339(max(0, fit.fit[-1] - work.settings.quota_span))[:10]
    with open_views(work.store, release, tables=_TABLES, proven=True, since=since) as connection:
        policy = derive_policy(
            connection,
            hours=fit.fit,
            release=release.number,
            settings=work.settings,
            previous=previous,
            as_of_ms=end,
        )
    objections = _objections(work, release, recent_hours(work, fit), policy, previous)
    if not dry_run and (refused := [one for one in objections if one.gate not in accepted]):
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise GateRefused(f"{refused[0]}{more}; `quotas diff` shows all")
    said = f"derived from {len(fit.fit)} hours of release {release.number}"
    return _stored(work, _on_record(policy, objections), previous, said, fit, objections, dry_run=dry_run)


def renew_by_clock(work: Work) -> Derivation | None:
    """Let a live policy not expire because nothing new could be derived: the same limits, from now on.

    A policy is live if it was stored before it expired; one from a backfill is not, and is left alone. It is renewed
    once half of its time is over, as long as its limits are young enough; None where there is nothing to do. Raises
    ``CheckRefused`` where it has expired and cannot be renewed: every tenant has safe capacity then.
    """
    policy, now = newest(work.store), work.now_ms()
    if policy is None or not is_live(work.store, policy):
        return None
    if 2 * now < epoch_ms(policy.valid_from) + epoch_ms(policy.expires_at):
        return None
    renewal = renew(policy, as_of_ms=now, settings=work.settings)
    if renewal.policy is not None:
        said = "limits unchanged: nothing newer to derive from" + (f"; {renewal.warning}" if renewal.warning else "")
        return _stored(work, renewal.policy, policy, said, Fitness((), {}))
    if now >= epoch_ms(policy.expires_at):
        raise CheckRefused(f"policy {policy.epoch} has expired, every tenant has safe capacity: {renewal.warning}")
    return Derivation(policy, False, f"limits unchanged: {renewal.warning}", before=policy)


def is_pending(work: Work) -> bool:
    """Would ``derive`` look for a policy of the newest release, and not have renewed the one before already?"""
    policy = newest(work.store)
    if work.latest is None or policy is None:
        return work.latest is not None
    if policy.release >= work.latest.number:
        return False
    end = as_of(work, work.latest)
    if not _has_newer_hours(work, end, policy):
        return False
    return epoch_ms(policy.valid_from) < end or _is_fit(work, fit_hours(work, work.latest), end, policy)


def _has_newer_hours(work: Work, end: int, previous: Policy | None) -> bool:
    """Are there hours that ``previous`` did not know, or was its release taken back?"""
    return previous is None or end > derived_ms(previous) or taken_back(work.store, previous.release) is not None


def _is_fit(work: Work, fit: Fitness, end: int, previous: Policy | None) -> bool:
    """Is there a fit hour among the last ``quota_span`` that the limits of ``previous`` do not rest on already?"""
    if not is_recent(work, fit, end):
        return False
    if previous is None or taken_back(work.store, previous.release) is not None:
        return True
    return fit.fit[-1] > rests_on_ms(previous)


def _objections(
    work: Work, release: Release, hours: Sequence[int], policy: Policy, in_force: Policy | None
) -> tuple[gate.Objection, ...]:
    """What the gates say; raises ``CheckRefused`` for a policy that a sink cannot hold, which nobody can accept."""
    found = list(gate.step(policy, in_force, work.settings)) if in_force else []
    targets = {}
    for sink in sinks(work.settings, work.store):
        sink.check(policy)
        targets[sink.configuration.name] = sink.configuration.target
    distinct = [target for place, target in enumerate(targets.values()) if target not in list(targets.values())[:place]]
    known = [policy, in_force] if in_force else [policy]
    outcomes = backtest(work, release, hours, [Trial(one, target) for target in distinct for one in known])
    tables = [outcome.minutes for outcome in outcomes]
    after = {name: tables[distinct.index(target) * len(known)] for name, target in targets.items()}
    before = {name: tables[distinct.index(target) * len(known) + 1] for name, target in targets.items() if in_force}
    return (*found, *gate.backtest(after, before, policy, work.settings))


def _on_record(policy: Policy, objections: Sequence[gate.Objection]) -> Policy:
    """The policy with what was said against a limit, and accepted, in its evidence."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in objections:
        said.setdefault((one.tenant, one.kind), []).append(str(one))
    limits = [
        replace(limit, evidence=limit.evidence | {"accepted": said[limit.tenant, limit.kind]})
        if (limit.tenant, limit.kind) in said
        else limit
        for limit in policy.limits
    ]
    return replace(policy, limits=tuple(limits))


def _same_again(work: Work, previous: Policy | None, end: int, fit: Fitness, *, dry_run: bool) -> Derivation:
    """The limits in force once more, where no hour is fit or a rollback pins them."""
    if previous is None:
        return Derivation(None, False, "no hour is fit for quotas, and there is no policy to renew", 0, dict(fit.unfit))
    pinned = f"policy {previous.epoch} is pinned by a rollback until `quotaloop quotas resume`: limits unchanged"
    said = pinned if is_pinned(work.store, previous) else "no hour is fit for quotas: limits unchanged"
    renewal = renew(previous, as_of_ms=end, settings=work.settings)
    said += f"; {renewal.warning}" if renewal.warning else ""
    if renewal.policy is None or renewal.policy.expires_at <= previous.expires_at:
        return Derivation(previous, False, said, 0, dict(fit.unfit), previous)
    return _stored(work, renewal.policy, previous, said, fit, dry_run=dry_run)


def _stored(
    work: Work,
    policy: Policy,
    previous: Policy | None,
    said: str,
    fit: Fitness,
    objections: tuple[gate.Objection, ...] = (),
    *,
    dry_run: bool = False,
) -> Derivation:
    check_push(policy, previous)
    is_new = not dry_run and store_policy(work.store, policy)
    faults.reached("policy:numbered")
    return Derivation(policy, is_new, said, len(fit.fit), dict(fit.unfit), previous, objections)
