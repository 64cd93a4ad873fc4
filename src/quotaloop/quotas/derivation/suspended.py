"""Tenants that an operator lets nothing through for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quotaloop.errors import UsageError
from quotaloop.quotas.derivation.periods import PER_SECONDS
from quotaloop.quotas.policy import EVERYTHING, Kind, Limit


def suspended_tenants(text: str) -> frozenset[str]:
    """Tenants of the setting ``acme,globex``; raises ``UsageError`` for what is no tenant's name.

    >>> sorted(suspended_tenants("globex, acme,"))
    ['acme', 'globex']
    """
    names = frozenset(filter(None, (piece.strip() for piece in text.split(","))))
    for name in sorted(names):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) is None:
            raise UsageError(f"setting suspended: {name!r} is not the name of a tenant")
    return names


def suspended(tenant: str, kind: Kind, evidence: Mapping[str, Any]) -> Limit:
    """The limit that lets nothing through."""
    return Limit(
        tenant=tenant,
        scope=EVERYTHING,
        kind=kind,
        limit=0,
        per_seconds=PER_SECONDS[kind],
        burst=0,
        evidence={**evidence, "bound_by": "suspended"},
        suspended=True,
    )
