"""Which hours are fit for quotas: counted twice, without waiver, complete, hardly changed after they closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction

from quotaloop.errors import UsageError
from quotaloop.settings import COMPLETENESS, Settings

COUNTED_ONCE = "counted_once"


@dataclass(frozen=True, slots=True)
class Stamps:
    """A row of ``completeness_hourly``: of one host and boot, events ``expected`` in the hour, ``missing`` of them."""

    hour_ms: int
    expected: int
    missing: int


@dataclass(frozen=True, slots=True)
class Fitness:
    """Fit hours (epoch ms, ascending), and for each other hour the one reason it is not fit."""

    fit: tuple[int, ...]
    unfit: Mapping[int, str]


def fitness(
    hours: Iterable[int],
    *,
    twice: Set[int],
    waived: Set[int],
    stamps: Iterable[Stamps],
    late: Mapping[int, tuple[int, int]],
    settings: Settings,
) -> Fitness:
    """Judge ``hours`` (epoch ms); the reason is the first of counted_once, waived, unstamped, missing, late.

    ``twice``: hours whose double entry agreed (hence closed). ``waived``: hours with a waiver. ``stamps``: rows of
    ``completeness_hourly``. ``late``: per hour the events that came after it had closed, and all its events; an hour
    not in it had none. A share equal to its maximum is fit. Raises ``UsageError`` for an unknown ``completeness``.
    """
    if settings.completeness not in COMPLETENESS:
        raise UsageError(f"setting completeness: {settings.completeness!r} is none of {', '.join(COMPLETENESS)}")
    sums = _sums(stamps)
    unfit: dict[int, str] = {}
    for hour in sorted(set(hours)):
        if hour not in twice:
            unfit[hour] = COUNTED_ONCE
        elif hour in waived:
            unfit[hour] = "waived"
        elif reason := _incomplete(sums.get(hour), settings):
            unfit[hour] = reason
        elif _above(*late.get(hour, (0, 0)), settings.max_late_share):
            unfit[hour] = "late"
    return Fitness(tuple(hour for hour in sorted(set(hours)) if hour not in unfit), unfit)


def _sums(stamps: Iterable[Stamps]) -> dict[int, tuple[int, int]]:
    """Per hour, over hosts and boots: (missing, expected)."""
    sums: dict[int, tuple[int, int]] = {}
    for row in stamps:
        missing, expected = sums.get(row.hour_ms, (0, 0))
        sums[row.hour_ms] = (missing + row.missing, expected + row.expected)
    return sums


def _incomplete(sums: tuple[int, int] | None, settings: Settings) -> str | None:
    if settings.completeness == "off":
        return None
    if sums is None:
        return "unstamped" if settings.completeness == "require" else None
    return "missing" if _above(*sums, settings.max_missing_share) else None


def _above(part: int, whole: int, share: float) -> bool:
    """Is part / whole above the share as it was written in decimals? No floating point decides."""
    return part > whole * Fraction(str(share))
