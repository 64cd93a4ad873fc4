"""What LiteLLM is told of a policy: numbers for each key or team, and who they are."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.quotas.policy import EVERYTHING, Kind, Limit, Policy
from quotaloop.sinks.sink import Configuration

Fields = dict[str, Any]  # as LiteLLM names them: a number, or of a field of models, model to number

FIELDS: Mapping[Kind, str] = {"requests": "rpm_limit", "tokens": "tpm_limit", "concurrency": "max_parallel_requests"}
MODEL_FIELDS: Mapping[Kind, str] = {"requests": "model_rpm_limit", "tokens": "model_tpm_limit"}

_GREATEST = {"concurrency": 2**31 - 1}  # its column is an INTEGER; of the others, a BIGINT
_HASH = re.compile(r"[0-9a-f]{64}")


def held(configuration: Configuration, policy: Policy, window_seconds: int) -> dict[str, Fields]:
    """For every tenant of the identity map, by name, all fields of the kinds that are limited there.

    Where a tenant has no limit of a kind, the field is the safe capacity: no limit would be unlimited. Raises
    ``CheckRefused`` for what LiteLLM, that counts over ``window_seconds``, cannot hold to the unit.
    """
    safe = safe_fields(configuration, policy, window_seconds)
    whole = {(limit.tenant, limit.kind) for limit in policy.limits if limit.scope == EVERYTHING}
    found = {tenant: dict(safe) | _no_models(configuration) for tenant in sorted(configuration.tenants)}
    for limit in configuration.limits(policy):
        if reason := _reason(configuration, limit, window_seconds, has_whole=(limit.tenant, limit.kind) in whole):
            raise configuration.refusal(limit, f"{limit.limit} per {limit.per_seconds} s: {reason}")
        fields = found[limit.tenant]
        if limit.scope == EVERYTHING:
            fields[FIELDS[limit.kind]] = limit.limit
        else:
            fields[MODEL_FIELDS[limit.kind]][limit.scope.model] = limit.limit
    return found


def safe_fields(configuration: Configuration, policy: Policy, window_seconds: int) -> Fields:
    """The safe capacity; raises ``CheckRefused`` if LiteLLM cannot hold it to the unit."""
    found = {}
    for kind in configuration.target.algorithms:
        rate = policy.safe_capacity[kind]
        if reason := _unholdable(kind, rate.limit, rate.per_seconds, window_seconds):
            number = f"{rate.limit} per {rate.per_seconds} s"
            raise CheckRefused(f"sink {configuration.name} cannot hold safe_capacity, {kind}: {number}: {reason}")
        found[FIELDS[kind]] = rate.limit
    return found


def key_hash(configuration: Configuration, tenant: str) -> str:
    """The token of a tenant's key as LiteLLM keeps it: a key, which begins with ``sk-``, is hashed, a hash is kept.

    Raises ``UsageError``, which does not show it, for an identity that is neither.
    """
    identity = configuration.identity(tenant)
    if identity.startswith("sk-"):
        return hashlib.sha256(identity.encode()).hexdigest()
    if not _HASH.fullmatch(identity):
        raise UsageError(
            f"sink {configuration.name}: tenants: {tenant} is a key, which begins with sk-, or its SHA-256 in hex"
        )
    return identity


def differences(there: Mapping[str, Any], fields: Fields) -> list[str]:
    """What is not as it should be, by field; numbers are integers, and no models is none, null or an empty object."""
    return [
        f"{name} is {there.get(name)!r}, not {value!r}"
        for name, value in sorted(fields.items())
        if not _same(there.get(name), value)
    ]


def _same(there: object, value: object) -> bool:
    if isinstance(value, dict):
        found = there or {}
        return (
            isinstance(found, dict)
            and found.keys() == value.keys()
            and all(_same(found[model], value[model]) for model in value)
        )
    return type(there) is int and there == value


def _no_models(configuration: Configuration) -> Fields:
    return {field: {} for kind, field in MODEL_FIELDS.items() if kind in configuration.target.algorithms}


def _reason(configuration: Configuration, limit: Limit, window_seconds: int, *, has_whole: bool) -> str | None:
    """Why LiteLLM cannot hold it; None if it can."""
    if limit.tenant not in configuration.tenants:
        return "the option tenants does not say who that is to LiteLLM"
    if limit.scope.api_version != EVERYTHING.api_version:
        return "LiteLLM has no limits by version"
    if limit.scope != EVERYTHING and limit.kind not in MODEL_FIELDS:
        return f"LiteLLM does not limit {limit.kind} by model"
    if not has_whole:
        return "LiteLLM would not limit its other models: give it a limit for all models too"
    return _unholdable(limit.kind, limit.limit, limit.per_seconds, window_seconds)


def _unholdable(kind: Kind, number: int, per_seconds: int, window_seconds: int) -> str | None:
    if kind != "concurrency" and per_seconds != window_seconds:
        return f"LiteLLM counts over {window_seconds} s"
    if number > _GREATEST.get(kind, number):
        return f"LiteLLM holds at most {_GREATEST[kind]}"
    return None
