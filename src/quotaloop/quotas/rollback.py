"""Going back: the limits of an earlier policy under a new epoch."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from quotaloop.errors import UsageError
from quotaloop.quotas.policy import Policy, at_epoch, epoch_ms, instant, rfc3339, same_limits


def rolled_back(known: Sequence[Policy], newest: Policy, epoch: int | None, *, now_ms: int | None) -> Policy:
    """The limits of policy ``epoch`` of those ``known``, or of the last with others than the newest, as the next one.

    It lasts as long as the one it replaces did, from ``now_ms`` on, or where that is None over the same time. Its
    evidence says that it is a rollback, which pins it. Raises ``UsageError`` where there is no such policy.
    """
    old = _chosen(known, newest, epoch)
    lifetime = epoch_ms(newest.expires_at) - epoch_ms(newest.valid_from)
    begin = epoch_ms(newest.valid_from) if now_ms is None else now_ms
    told = {"rolled_back_to": old.epoch, "rolled_back_from": newest.epoch, "derived_at": rfc3339(begin)}
    told |= {"rolled_back_at": newest.epoch + 1}
    return replace(
        newest,
        epoch=newest.epoch + 1,
        release=old.release,
        created_at=instant(begin),
        valid_from=instant(begin),
        expires_at=instant(begin + lifetime),
        limits=tuple(replace(limit, evidence=limit.evidence | told) for limit in old.limits),
        safe_capacity=old.safe_capacity,
    )


def _chosen(known: Sequence[Policy], newest: Policy, epoch: int | None) -> Policy:
    if epoch is None:
        others = [policy for policy in known if not same_limits(policy, newest)]
        if not others:
            raise UsageError(f"no policy before {newest.epoch} has other limits")
        return others[-1]
    return at_epoch(known, epoch)
