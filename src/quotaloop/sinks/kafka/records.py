"""A policy as the records of a compacted topic, and back: a record a tenant, and one for the rest of the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from itertools import groupby
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from quotaloop.errors import CheckRefused
from quotaloop.quotas.policy import FORMAT, Kind, Limit, Policy, Rate, check_push

HEAD = b"_policy"  # a key that no tenant has

_Epoch = Annotated[int, Meta(ge=1, le=9_999_999_999)]
_Instant = Annotated[datetime, Meta(tz=True)]


class TenantLimits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The value of a tenant: its limits under this epoch."""

    format: Literal["quotaloop/policy-limits@1"] = "quotaloop/policy-limits@1"
    epoch: _Epoch
    limits: Annotated[tuple[Limit, ...], Meta(min_length=1)]


class Head(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The value of ``_policy``: all but the limits; how many tenants there are, and the ``digest`` of their values."""

    format: Literal["quotaloop/policy-head@1"] = "quotaloop/policy-head@1"
    epoch: _Epoch
    release: int
    created_at: _Instant
    valid_from: _Instant
    expires_at: _Instant
    safe_capacity: dict[Kind, Rate]
    tenants: int
    digest: str


class _Ours(Struct):
    format: Literal["quotaloop/policy-limits@1", "quotaloop/policy-head@1"]
    epoch: _Epoch


def records(policy: Policy, identity: Callable[[str], str] = str) -> dict[bytes, bytes]:
    """Key to value, by key, ``_policy`` last; the key of a tenant is its identity, values are one line of JSON.

    Of a tenant, limits stay in the order of the policy. Raises ``CheckRefused`` where two tenants have one identity.
    """
    found: dict[bytes, bytes] = {}
    for tenant, limits in groupby(sorted(policy.limits, key=_tenant), key=_tenant):
        key = identity(tenant).encode()
        if key in found or key == HEAD:
            raise CheckRefused(f"policy {policy.epoch}: {tenant} would have the key {key.decode()}, which is another's")
        found[key] = _encoded(TenantLimits(epoch=policy.epoch, limits=tuple(limits)))
    found = dict(sorted(found.items()))
    head = Head(
        epoch=policy.epoch,
        release=policy.release,
        created_at=policy.created_at,
        valid_from=policy.valid_from,
        expires_at=policy.expires_at,
        safe_capacity=policy.safe_capacity,
        tenants=len(found),
        digest=digest(found.values()),
    )
    return found | {HEAD: _encoded(head)}


def policy_of(table: Mapping[bytes, bytes]) -> Policy | None:
    """The policy of what lies in the topic by key (a tombstone takes its key away); None where nothing does.

    Limits are ordered by tenant. Raises ``CheckRefused`` for what is not one policy as published, such as the first
    records of a new one before its ``_policy`` has come: a limiter keeps what it has.
    """
    if not table:
        return None
    try:
        head = msgspec.json.decode(table.get(HEAD, b""), type=Head)
        values = [value for key, value in sorted(table.items()) if key != HEAD]
        if (head.tenants, head.digest) != (len(values), digest(values)):
            raise CheckRefused(f"what lies there is not policy {head.epoch} as a whole")
        tenants = [msgspec.json.decode(value, type=TenantLimits) for value in values]
        if any(one.epoch != head.epoch for one in tenants):
            raise CheckRefused(f"what lies there is not of policy {head.epoch} alone")
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise CheckRefused(f"what lies there is not a policy as published: {' '.join(str(error).split())}") from error
    policy = Policy(
        format=FORMAT,
        epoch=head.epoch,
        release=head.release,
        created_at=head.created_at,
        valid_from=head.valid_from,
        expires_at=head.expires_at,
        limits=tuple(sorted((limit for one in tenants for limit in one.limits), key=_tenant)),
        safe_capacity=head.safe_capacity,
    )
    check_push(policy, None)
    return policy


def digest(values: Iterable[bytes]) -> str:
    """SHA-256 (hex) of the values of all tenants in the order of their keys' bytes, a line feed after each."""
    return sha256(b"".join(value + b"\n" for value in values)).hexdigest()


def epoch_of(value: bytes) -> int | None:
    """The epoch that a value says, None for one that is not ours."""
    try:
        return msgspec.json.decode(value, type=_Ours).epoch
    except (ValueError, RecursionError):
        return None


def _tenant(limit: Limit) -> str:
    return limit.tenant


def _encoded(value: Struct) -> bytes:
    return msgspec.json.encode(value, order="sorted")
