"""The policy document ``quotaloop/policy@1``: its types, its canonical bytes, its checks, its place in the store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.storage.store import Store, read_files

FORMAT: Literal["quotaloop/policy@1"] = "quotaloop/policy@1"
FOLDER = "policies"
Kind = Literal["requests", "tokens", "concurrency", "compute"]
KINDS: tuple[Kind, ...] = get_args(Kind)
RATES: tuple[Kind, ...] = ("requests", "tokens", "compute")  # kinds with an amount in a period

_EXACT = 2**53 - 1  # the greatest integer that every JSON reader keeps exactly
_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_Positive = Annotated[int, Meta(ge=1, le=_EXACT)]
_Amount = Annotated[int, Meta(ge=0, le=_EXACT)]
_Instant = Annotated[datetime, Meta(tz=True)]


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """``limit`` units in ``per_seconds`` seconds, at most ``burst`` at once (the size of the bucket)."""

    limit: _Positive
    per_seconds: _Positive
    burst: _Positive


class Scope(Struct, frozen=True, forbid_unknown_fields=True, order=True):
    """What a limit covers; ``*`` is all models, all versions, together."""

    model: Annotated[str, Meta(min_length=1, max_length=128)]
    api_version: Annotated[str, Meta(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,31})\Z")]


EVERYTHING = Scope(model="*", api_version="*")


class Limit(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A tenant's limit: units of ``kind`` (compute: microseconds) in ``per_seconds``, and what it was derived from.

    Of ``concurrency``, ``limit`` is a number of slots; ``per_seconds`` is 1 and means nothing.
    """

    tenant: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
    scope: Scope
    kind: Kind
    limit: _Amount
    per_seconds: _Positive
    burst: _Amount
    evidence: dict[str, Any]
    suspended: bool = False


class Policy(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All limits under one ``epoch``, which only grows; ``safe_capacity`` is each tenant's where no limit is valid."""

    format: Literal["quotaloop/policy@1"]
    epoch: Annotated[int, Meta(ge=1, le=9_999_999_999)]
    release: _Positive
    created_at: _Instant
    valid_from: _Instant
    expires_at: _Instant
    limits: Annotated[tuple[Limit, ...], Meta(min_length=1)]
    safe_capacity: dict[Kind, Rate]


def instant(ms: int) -> datetime:
    """The UTC time of epoch milliseconds."""
    return _EPOCH_START + timedelta(milliseconds=ms)


def epoch_ms(time: datetime) -> int:
    """Epoch milliseconds of a time, finer digits truncated."""
    return (time - _EPOCH_START) // timedelta(milliseconds=1)


def rfc3339(ms: int) -> str:
    """Epoch milliseconds as the policy spells times.

    >>> rfc3339(1_772_409_600_000)
    '2026-03-02T00:00:00Z'
    """
    return instant(ms).isoformat().replace("+00:00", "Z")


def render(policy: Policy) -> bytes:
    """Canonical JSON: keys sorted, one space of indent, a newline at the end. Nothing is checked here."""
    return msgspec.json.format(msgspec.json.encode(policy, order="sorted"), indent=1) + b"\n"


def parse(data: bytes) -> Policy:
    """A whole policy or none: raises ``CheckRefused`` with the first thing that is wrong."""
    try:
        document = json.loads(
            data.decode(),
            object_pairs_hook=_unique,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_whole,
        )
        policy = msgspec.convert(document, Policy)
    except (ValueError, TypeError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise CheckRefused(f"the policy is refused whole: {' '.join(str(error).split())}") from error
    _consistent(policy)
    return policy


def check_push(new: Policy, in_force: Policy | None) -> None:
    """Raises ``CheckRefused`` unless ``new`` is valid as a whole and its epoch is newer than that in force."""
    try:
        same = parse(render(new)) == new
    except (TypeError, ValueError, OverflowError, RecursionError):  # what msgspec raises for what it cannot encode
        same = False
    if not same:
        raise CheckRefused(f"policy {new.epoch} is refused whole: its evidence holds what JSON does not carry")
    if in_force is not None and new.epoch <= in_force.epoch:
        raise CheckRefused(f"policy {new.epoch} is refused whole: epoch {in_force.epoch} is in force, push a newer one")


def same_limits(first: Policy, second: Policy) -> bool:
    """Do both enforce the same? Epoch, times, release, evidence and order are not compared."""
    return _enforced(first) == _enforced(second)


def store_policy(store: Store, policy: Policy) -> bool:
    """Rename the policy in if its epoch is free; says whether it did. Raises ``CheckRefused`` for an invalid one."""
    check_push(policy, None)
    return store.write_if_absent(_path(policy.epoch), render(policy))


def policies(store: Store) -> list[Policy]:
    """All stored policies, by epoch."""
    paths = _paths(store)
    return [_of_path(path, data) for path, data in zip(paths, read_files(store, paths), strict=True)]


def newest(store: Store) -> Policy | None:
    """The stored policy of the greatest epoch."""
    paths = _paths(store)
    return _of_path(paths[-1], store.read(paths[-1])) if paths else None


def rests_on_ms(policy: Policy) -> int:
    """The newest hour that its limits were derived from (epoch ms); where their evidence does not say it, the first."""
    times = [limit.evidence.get("last_hour") for limit in policy.limits]
    try:
        return max((epoch_ms(datetime.fromisoformat(time)) for time in times if time is not None), default=0)
    except (TypeError, ValueError) as error:
        raise CheckRefused(f"evidence of policy {policy.epoch}: last_hour is not an RFC 3339 time") from error


def is_live(store: Store, policy: Policy) -> bool:
    """Was it stored before it expired? One from a backfill was not, and nobody counts on its lasting."""
    return stored_ms(store, policy) < epoch_ms(policy.expires_at)


def latest(store: Store, count: int) -> list[Policy]:
    """The stored policies of the greatest epochs, so many at most, by epoch."""
    paths = _paths(store)[-count:]
    return [_of_path(path, data) for path, data in zip(paths, read_files(store, paths), strict=True)]


def at_epoch(known: Sequence[Policy], epoch: int) -> Policy:
    """The policy of that epoch; raises ``UsageError``."""
    for policy in known:
        if policy.epoch == epoch:
            return policy
    raise UsageError(
        f"there is no policy {epoch}; there are {', '.join(str(policy.epoch) for policy in known) or 'none'}"
    )


def stored_ms(store: Store, policy: Policy) -> int:
    """When a stored policy was stored (epoch ms)."""
    return next(info.modified_ms for info in store.files(FOLDER) if info.path == _path(policy.epoch))


def derived_ms(policy: Policy) -> int:
    """When the newest of its limits was derived (epoch ms); where their evidence does not say it, when it was created.

    Raises ``CheckRefused`` where the evidence holds what is no time.
    """
    created = rfc3339(epoch_ms(policy.created_at))
    try:
        times = [datetime.fromisoformat(limit.evidence.get("derived_at", created)) for limit in policy.limits]
        return max(map(epoch_ms, times))
    except (TypeError, ValueError) as error:
        raise CheckRefused(f"evidence of policy {policy.epoch}: derived_at is not an RFC 3339 time") from error


def is_pinned(store: Store, policy: Policy | None) -> bool:
    """Are these the limits of a rollback that was not resumed since?"""
    if policy is None:
        return False
    rollbacks = [int(limit.evidence["rolled_back_at"]) for limit in policy.limits if "rolled_back_at" in limit.evidence]
    resumed = (info.path.removesuffix(".resumed") for info in store.files(FOLDER) if info.path.endswith(".resumed"))
    ended = max((int(path.rpartition("/")[2]) for path in resumed), default=0)
    return max(rollbacks, default=0) > ended  # a renewal has a later epoch than the rollback that it goes on with


def resume(store: Store) -> int | None:
    """Let limits be derived again after a rollback; the epoch it ends, None where nothing is pinned."""
    policy = newest(store)
    if policy is None or not is_pinned(store, policy):
        return None
    store.write_if_absent(f"{FOLDER}/{policy.epoch:010d}.resumed", b"{}\n")
    return policy.epoch


def _path(epoch: int) -> str:
    return f"{FOLDER}/{epoch:010d}.json"


def _paths(store: Store) -> list[str]:
    return sorted(info.path for info in store.files(FOLDER) if re.fullmatch(FOLDER + r"/[0-9]{10}\.json", info.path))


def _of_path(path: str, data: bytes) -> Policy:
    policy = parse(data)
    if path != _path(policy.epoch):
        raise CheckRefused(f"{path} holds epoch {policy.epoch}: restore the file from where it was copied")
    return policy


def _enforced(policy: Policy) -> tuple[dict[tuple[str, Scope, str], Limit], dict[Kind, Rate]]:
    bare = (msgspec.structs.replace(limit, evidence={}) for limit in policy.limits)
    return {(limit.tenant, limit.scope, limit.kind): limit for limit in bare}, policy.safe_capacity


def _consistent(policy: Policy) -> None:
    """What the types cannot say."""
    seen = set()
    for limit in policy.limits:
        name = f"{limit.tenant}, {limit.scope.model}, {limit.scope.api_version}, {limit.kind}"
        if name in seen:
            raise CheckRefused(f"the policy is refused whole: two limits for ({name})")
        seen.add(name)
        if limit.suspended != (limit.limit == 0):
            raise CheckRefused(f"the policy is refused whole: ({name}) has limit 0 without suspended, or the reverse")
        if limit.burst == 0 and not limit.suspended:
            raise CheckRefused(f"the policy is refused whole: ({name}) has burst 0, which lets nothing through")
    if missing := sorted(set(KINDS) - set(policy.safe_capacity)):
        raise CheckRefused(f"the policy is refused whole: safe_capacity lacks {', '.join(missing)}")
    if policy.valid_from >= policy.expires_at:
        raise CheckRefused("the policy is refused whole: it expires before it is valid")
    if any(time.utcoffset() for time in (policy.created_at, policy.valid_from, policy.expires_at)):
        raise CheckRefused("the policy is refused whole: times are UTC")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"the same key twice in an object of {', '.join(sorted(found))}")
    return found


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number")


def _whole(text: str) -> int:
    number = int(text)
    if abs(number) >= 2**63:
        raise ValueError(f"an integer of {len(text)} digits is too great")
    return number


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _no_number(text)
