"""Which hours are fit for quotas: counted twice, without waiver, complete, hardly changed after they closed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from quotaloop.errors import UsageError
from quotaloop.settings import COMPLETENESS, Settings

_STRAY_ONE_IN = 100


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
    stray: Set[int],
    stamps: Iterable[Stamps],
    lost: Set[int],
    late: Mapping[int, tuple[int, int]],
    settings: Settings,
) -> Fitness:
    """Judge ``hours`` (epoch ms); the reason is the first: waived, counted_once, stray, lost, unstamped, missing, late.

    ``twice``: hours whose double entry agreed (hence closed). ``waived``: hours with a waiver. ``stray``: hours that
    only a wrong clock can have written (see ``strays``). ``lost``: hours that offsets may be of which never landed.
    ``stamps``: rows of ``completeness_hourly``. ``late``: per hour the events that came after it had closed, and all
    its events; an hour not in it had none. A share equal to its maximum is fit. Raises ``UsageError`` for an unknown
    ``completeness``.
    """
    if settings.completeness not in COMPLETENESS:
        raise UsageError(f"setting completeness: {settings.completeness!r} is none of {', '.join(COMPLETENESS)}")
    sums = _sums(stamps)
    unfit: dict[int, str] = {}
    for hour in sorted(set(hours)):
        if hour in waived:
            unfit[hour] = "waived"
        elif hour not in twice:
            unfit[hour] = "counted_once"
        elif hour in stray:
            unfit[hour] = "stray"
        elif hour in lost:
            unfit[hour] = "lost"
        elif reason := _incomplete(sums.get(hour), settings):
            unfit[hour] = reason
        elif _above(*late.get(hour, (0, 0)), settings.max_late_share):
            unfit[hour] = "late"
    return Fitness(tuple(hour for hour in sorted(set(hours)) if hour not in unfit), unfit)


def strays(events: Mapping[int, int], span_ms: int, *, now_ms: int) -> frozenset[int]:
    """Hours (epoch ms) of a clock that was wrong, of hours with their numbers of accepted events.

    They come after more than ``span_ms`` without any event, or have not begun yet, and all that follow hold at most 1 %
    of the events. One line of the year 2099 would else leave the limits to itself: only the newest ``span_ms`` of hours
    makes them; and one of next week would keep them from moving until then.
    """
    ordered, total = sorted(events), sum(events.values())
    found: frozenset[int] = frozenset()
    after = 0
    for before, hour in reversed(list(pairwise(ordered))):
        after += events[hour]
        if after * _STRAY_ONE_IN > total:
            break
        if hour - before > span_ms or hour > now_ms:
            found = frozenset(later for later in ordered if later >= hour)
    return found


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
