"""Which past hours are like those in which a policy will hold: the same clock hours of the week."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

HOUR_MS = 3_600_000
WEEK_HOURS = 168


def hours_alike(hours: Sequence[int], *, as_of_ms: int, lifetime_ms: int, weeks: int) -> list[int]:
    """Of distinct ``hours`` (epoch ms) those whose hour of the week, in UTC, ``[as_of_ms, + lifetime_ms)`` touches.

    None if one of the hours of the week that are touched is there less than ``weeks`` times, or ``weeks`` is 0.

    >>> mondays = [(week * WEEK_HOURS + 96) * HOUR_MS for week in (2930, 2931)]
    >>> monday = (2932 * WEEK_HOURS + 96) * HOUR_MS
    >>> hours_alike(mondays, as_of_ms=monday, lifetime_ms=HOUR_MS, weeks=2) == mondays
    True
    >>> hours_alike(mondays, as_of_ms=monday, lifetime_ms=HOUR_MS + 1, weeks=2)
    []
    """
    first, end = as_of_ms // HOUR_MS, -(-(as_of_ms + lifetime_ms) // HOUR_MS)
    coming = {hour % WEEK_HOURS for hour in range(first, min(end, first + WEEK_HOURS))}
    seen = Counter(_hour_of_week(hour) for hour in hours)
    if weeks == 0 or any(seen[hour] < weeks for hour in coming):
        return []
    return [hour for hour in hours if _hour_of_week(hour) in coming]


def _hour_of_week(hour_ms: int) -> int:
    """Counted from the hour of the week that 1970 began in."""
    return hour_ms // HOUR_MS % WEEK_HOURS
