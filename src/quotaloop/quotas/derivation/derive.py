"""The next policy: from the demand of fit hours, or, when no hour is fit, the same limits once more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
from msgspec.structs import replace

from quotaloop.errors import CheckRefused
from quotaloop.quotas.derivation.demand import demands
from quotaloop.quotas.derivation.limits import limits
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.derivation.rules import Bounds, Rules
from quotaloop.quotas.derivation.shape import hours_alike
from quotaloop.quotas.policy import FORMAT, Limit, Policy, Rate, epoch_ms, instant, rfc3339
from quotaloop.settings import Settings


@dataclass(frozen=True, slots=True)
class Renewal:
    """The renewed policy, or None when it is too old for that, and what the operator must be told."""

    policy: Policy | None
    warning: str | None


def derive(
    connection: duckdb.DuckDBPyConnection,
    *,
    hours: Sequence[int],
    release: int,
    settings: Settings,
    previous: Policy | None,
    as_of_ms: int,
) -> Policy:
    """Limits for each tenant and kind with demand in the fit ``hours`` (epoch ms) of one release.

    Of ``hours``, those of the last ``quota_span`` up to the newest count. Limits are units per minute (compute:
    microseconds), of concurrency slots. ``bound_by`` in the evidence is the last of these steps that decided:

    - ``want``: ceil(quantile of active minutes * headroom). Where the hours hold each hour of the week in which this
      policy will be valid ``shape_weeks`` times, only minutes of those hours of the week count, for tenants active in
      them. Of concurrency, the greater of the quantile of hourly peaks and Little's law on the quantile of requests.
    - ``floor``, ``cap``: not below the one, not above the other.
    - ``dead_band``, ``step_up``, ``step_down``: against ``previous``, see ``Damping``. Who had no limit, or was
      suspended, takes no step. ``vanished``: without demand a limit takes the greatest step down each time, to the safe
      capacity, and is then left out.
    - ``capacity``: the share of what all have. Then ``dead_band`` again, where that moved a limit within it.
    - ``suspended``: 0, whatever the demand.

    On a Saturday, a tenant that is active on weekdays alone has the limit of its weekdays. One with some demand then
    goes down towards that, by a step a derivation, and from when the hours ahead reach into Monday, which is
    ``policy_lifetime`` before, up again by steps. ``burst`` is the envelope of demand at the limit's rate, see
    ``burst_of``. A tenant or kind without a limit has ``safe_capacity``. It does not expire before ``previous`` would.

    Raises ``CheckRefused`` where there is no fit hour, no demand or less capacity than one unit each, ``UsageError``
    for settings that contradict themselves.
    """
    rules = Rules.of(settings)
    newest = max(hours, default=0)
    span = sorted({hour for hour in hours if hour > newest - settings.quota_span})
    shape = hours_alike(span, as_of_ms=as_of_ms, lifetime_ms=settings.policy_lifetime, weeks=settings.shape_weeks)
    found = demands(connection, span, quantile=rules.quantile, shape=shape)
    if not found:
        raise CheckRefused(f"release {release} has no demand in {len(span)} fit hours: the limits stay as they are")
    epoch = previous.epoch + 1 if previous else 1
    origin = {"derived_at": rfc3339(as_of_ms), "epoch": epoch, "releases": [release], "hours": len(span)}
    origin |= {"first_hour": rfc3339(span[0]), "last_hour": rfc3339(span[-1])}
    derived = limits(connection, span, found, previous.limits if previous else (), rules)
    expiry = instant(as_of_ms + settings.policy_lifetime)
    return Policy(
        format=FORMAT,
        epoch=epoch,
        release=release,
        created_at=instant(as_of_ms),
        valid_from=instant(as_of_ms),
        expires_at=max(expiry, previous.expires_at) if previous else expiry,
        limits=tuple(_sorted(replace(limit, evidence=origin | limit.evidence) for limit in derived)),
        safe_capacity={kind: _safe_capacity(bounds) for kind, bounds in rules.bounds.items()},
    )


def renew(previous: Policy, *, as_of_ms: int, settings: Settings) -> Renewal:
    """The same limits under a new epoch and expiry, up to ``max_policy_age`` after they were last derived.

    From half of that age on there is a warning; beyond it no policy. Limits without ``derived_at`` in their evidence
    count as derived when ``previous`` was created, and say so from now on.
    """
    origin = {"derived_at": rfc3339(epoch_ms(previous.created_at)), "epoch": previous.epoch}
    limits = tuple(replace(limit, evidence=origin | limit.evidence) for limit in previous.limits)
    derived_ms = min(_derived_ms(limit) for limit in limits)
    age_ms = as_of_ms - derived_ms
    told = f"the limits of policy {previous.epoch} were last derived at {rfc3339(derived_ms)}"
    if age_ms > settings.max_policy_age:
        expiry = rfc3339(epoch_ms(previous.expires_at))
        return Renewal(None, f"{told}: too old to renew, safe capacity holds after {expiry}; make hours fit")
    policy = replace(
        previous,
        epoch=previous.epoch + 1,
        created_at=instant(as_of_ms),
        valid_from=instant(as_of_ms),
        expires_at=instant(as_of_ms + settings.policy_lifetime),
        limits=limits,
    )
    end = rfc3339(derived_ms + settings.max_policy_age)
    warns = 2 * age_ms >= settings.max_policy_age
    return Renewal(policy, f"{told}: they can be renewed until {end}; make hours fit" if warns else None)


def _sorted(limits: Iterable[Limit]) -> list[Limit]:
    return sorted(limits, key=lambda limit: (limit.tenant, limit.kind))


def _safe_capacity(bounds: Bounds) -> Rate:
    return Rate(limit=bounds.safe, per_seconds=PER_SECONDS[bounds.kind], burst=bounds.safe)


def _derived_ms(limit: Limit) -> int:
    try:
        return epoch_ms(datetime.fromisoformat(limit.evidence["derived_at"]))
    except (TypeError, ValueError) as error:
        raise CheckRefused(f"evidence of {limit.tenant}, {limit.kind}: derived_at is not an RFC 3339 time") from error
