"""Going back: the limits of an earlier policy under a new epoch."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from quotaloop.errors import UsageError
from quotaloop.quotas.policy import Policy, at_epoch, epoch_ms, instant, rfc3339, same_limits


def rolled_back(known: Sequence[Policy], epoch: int | None, *, now_ms: int) -> Policy:
    """The limits of policy ``epoch``, or of the last one that differs from the newest, as the next policy.

    It lasts as long as the one it replaces did, from now on if that is still valid, else over the same time. Its
    evidence says that it is a rollback, which pins it. Raises ``UsageError`` where there is no such policy.
    """
    if not known:
        raise UsageError("there is no policy to go back from")
    newest = known[-1]
    old = _chosen(known, epoch)
    lifetime = epoch_ms(newest.expires_at) - epoch_ms(newest.valid_from)
    begin = now_ms if now_ms < epoch_ms(newest.expires_at) else epoch_ms(newest.valid_from)
    told = {"rolled_back_to": old.epoch, "rolled_back_from": newest.epoch, "derived_at": rfc3339(begin)}
    return replace(
        newest,
        epoch=newest.epoch + 1,
        created_at=instant(begin),
        valid_from=instant(begin),
        expires_at=instant(begin + lifetime),
        limits=tuple(replace(limit, evidence=limit.evidence | told) for limit in old.limits),
        safe_capacity=old.safe_capacity,
    )


def _chosen(known: Sequence[Policy], epoch: int | None) -> Policy:
    newest = known[-1]
    if epoch is None:
        others = [policy for policy in known if not same_limits(policy, newest)]
        if not others:
            raise UsageError(f"no policy before {newest.epoch} has other limits")
        return others[-1]
    return at_epoch(known, epoch)
