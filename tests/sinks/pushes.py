"""Policies that every sink is pushed: good ones, and those that it must refuse whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from quotaloop.quotas.policy import EVERYTHING, KINDS, Kind, Limit, Policy, Rate, Scope, instant
from quotaloop.quotas.target import Target
from quotaloop.settings import Settings
from quotaloop.sinks.sink import Configuration, Sink, SinkType
from quotaloop.storage.local import LocalStore


def limit(tenant: str, kind: Kind, number: int, *, scope: Scope = EVERYTHING, **fields: Any) -> Limit:
    """So many units a minute (concurrency: slots); fields that are given take precedence."""
    per_seconds = 1 if kind == "concurrency" else 60
    usual = {"per_seconds": per_seconds, "burst": number, "evidence": {"bound_by": "want"}, "suspended": number == 0}
    return Limit(tenant=tenant, scope=scope, kind=kind, limit=number, **{**usual, **fields})


def policy(epoch: int, *limits: Limit) -> Policy:
    """A policy of these limits, by tenant and kind, valid from 1970 to 2090."""
    return Policy(
        format="quotaloop/policy@1",
        epoch=epoch,
        release=1,
        created_at=instant(0),
        valid_from=instant(0),
        expires_at=instant(3_786_912_000_000),
        limits=tuple(sorted(limits, key=lambda one: (one.tenant, one.scope, one.kind))),
        safe_capacity={kind: Rate(limit=1, per_seconds=60, burst=1) for kind in KINDS},
    )


def sink(
    kind_of_sink: SinkType,
    folder: Path,
    *,
    tenants: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    target: Mapping[str, Any] | None = None,
    **options: Any,
) -> Sink:
    """A sink ``edge`` over a store in ``folder``; ``target`` are fields of its usual target that are otherwise here."""
    decides: Target = changed(kind_of_sink.usual, **(target or {}))
    chosen = settings or Settings()
    return kind_of_sink(Configuration("edge", options, decides, tenants or {}, chosen, LocalStore(folder / "store")))


GOOD = policy(7, limit("acme", "requests", 50), limit("acme", "tokens", 9_000), limit("globex", "requests", 20))
# What bad-input says of limits: each is refused whole, and the last good policy stays in force.
REFUSED = [
    pytest.param(policy(8, limit("acme", "requests", number)), id=name)  # type: ignore[arg-type]
    for name, number in (
        ("nan", float("nan")),
        ("infinite", float("inf")),
        ("negative", -5),
        ("fraction", 5.5),
        ("text", "50"),
        ("null", None),
        ("above_2_53", 2**53),
        ("above_2_63", 2**63),
    )
] + [
    pytest.param(policy(8, limit("acme", "requests", 0, suspended=False)), id="zero"),
    pytest.param(policy(8, limit("acme", "requests", 5, suspended=True)), id="suspended_but_not_zero"),
    pytest.param(policy(8, limit("acme", "requests", 5, burst=0)), id="no_burst"),
    pytest.param(policy(8, limit("", "requests", 5)), id="empty_tenant"),
    pytest.param(replace(policy(8), limits=(limit(None, "requests", 5),)), id="missing_tenant"),  # type: ignore[arg-type]
    pytest.param(policy(8), id="no_tenant"),
    pytest.param(policy(8, limit("acme", "requests", 5), limit("acme", "requests", 6)), id="duplicate_tenant"),
    pytest.param(replace(policy(8, limit("acme", "requests", 5)), safe_capacity={}), id="no_safe_capacity"),
    pytest.param(policy(6, limit("acme", "requests", 5)), id="older_epoch"),
]
