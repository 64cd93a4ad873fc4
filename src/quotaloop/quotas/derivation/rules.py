"""The settings that limits are derived by, read once and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from quotaloop.errors import UsageError
from quotaloop.quotas.derivation.damping import Damping
from quotaloop.quotas.derivation.suspended import suspended_tenants
from quotaloop.quotas.fair_share import weights_of
from quotaloop.quotas.policy import KINDS, Kind
from quotaloop.settings import Settings


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one kind: the least and greatest limit of a tenant, what all share, and what holds without a limit."""

    kind: Kind
    floor: int
    cap: int
    capacity: int
    safe: int

    @classmethod
    def of(cls, kind: Kind, settings: Settings) -> Bounds:
        """Of the settings; raises ``UsageError`` for those that contradict themselves."""
        names = ("floor", "cap", "capacity", "safe_capacity")
        bounds = cls(kind, *(int(getattr(settings, f"{name}_{kind}")) for name in names))
        _require(bounds.floor <= bounds.cap and bounds.cap > 0, f"floor_{kind} is at most cap_{kind}, which is above 0")
        _require(bounds.safe > 0, f"safe_capacity_{kind} is above 0: never unlimited, never nothing")
        return bounds


@dataclass(frozen=True, slots=True)
class Rules:
    """Numbers as the decimals that were written; ``bounds`` by kind, ``weights`` by tenant."""

    quantile: Fraction
    headroom: Fraction
    damping: Damping
    greatest_burst: Fraction
    max_over_share: Fraction
    bounds: Mapping[Kind, Bounds]
    weights: Mapping[str, Fraction]
    suspended: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Of the settings; raises ``UsageError`` for what is out of range or no tenant."""
        _require(0 < settings.quantile <= 1, "quantile is above 0 and at most 1")
        _require(settings.headroom > 0, "headroom is above 0")
        _require(settings.greatest_burst > 0, "greatest_burst is above 0")
        _require(settings.max_over_share <= 1, "max_over_share is at most 1")
        return cls(
            quantile=Fraction(str(settings.quantile)),
            headroom=Fraction(str(settings.headroom)),
            damping=Damping.of(settings),
            greatest_burst=Fraction(str(settings.greatest_burst)),
            max_over_share=Fraction(str(settings.max_over_share)),
            bounds={kind: Bounds.of(kind, settings) for kind in KINDS},
            weights=weights_of(settings.weights),
            suspended=suspended_tenants(settings.suspended),
        )

    def evidence(self, tenant: str, kind: Kind) -> dict[str, Any]:
        """Those that a limit of that tenant and kind was derived by."""
        bounds = self.bounds[kind]
        return {
            "quantile": float(self.quantile),
            "headroom": float(self.headroom),
            "dead_band_up": float(self.damping.band_up),
            "dead_band_down": float(self.damping.band_down),
            "greatest_step_up": float(self.damping.step_up),
            "greatest_step_down": float(self.damping.step_down),
            "floor": bounds.floor,
            "cap": bounds.cap,
            "capacity": bounds.capacity,
            "weight": str(self.weights.get(tenant, 1)),
        }


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"settings: {rule}")
