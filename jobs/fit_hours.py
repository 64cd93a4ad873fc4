"""Which hours of a release may move quotas, and up to when they reach."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.audit.waivers import waivers
from jobs.work import Work
from quotaloop.events.columns import HOUR_MS
from quotaloop.marts.release import Day, Release, read_days
from quotaloop.marts.views import open_views
from quotaloop.quotas.fitness import Fitness, Stamps, fitness, strays
from quotaloop.raw import closing
from quotaloop.raw.lost import losses


def fit_hours(work: Work, release: Release) -> Fitness:
    """Which hours of a release may move quotas."""
    days = read_days(work.store, release)
    stray = _strays(work, days)
    counted = {hour: word for day in days.values() for hour, word in day.counted.items()}
    waived = {
        hour
        for waiver in waivers(work.store)
        if waiver.path in release.waivers
        for day in days.values()
        for hour, rows in day.outcomes.items()
        if any(tuple(row[:3]) == (waiver.range.topic, waiver.range.partition, waiver.range.start) for row in rows)
    }
    with open_views(work.store, release, tables=["completeness_hourly"], proven=True) as connection:
        rows = connection.execute(
            "SELECT epoch_ms(hour), sum(expected), sum(missing) FROM completeness_hourly GROUP BY hour"
        ).fetchall()
    return fitness(
        sorted(counted),
        twice={hour for hour, word in counted.items() if word == "twice"},
        waived=waived,
        stray=stray,
        stamps=[Stamps(*row) for row in rows],
        lost=_lost(work, days, stray),
        late=_late(work, days, stray),
        settings=work.settings,
    )


def as_of(work: Work, release: Release) -> int:
    """The end of the newest hour that was counted twice and is no stray (epoch ms)."""
    days = read_days(work.store, release)
    twice = {hour for day in days.values() for hour, word in day.counted.items() if word == "twice"}
    return max(twice - _strays(work, days), default=0) + HOUR_MS


def _strays(work: Work, days: Mapping[str, Day]) -> frozenset[int]:
    accepted = {hour: sum(row[3] for row in rows) for day in days.values() for hour, rows in day.outcomes.items()}
    return strays(accepted, work.settings.quota_span, now_ms=work.now_ms())


def is_recent(work: Work, fit: Fitness, as_of: int) -> bool:
    """Is there a fit hour among the last ``quota_span``?"""
    return bool(fit.fit) and fit.fit[-1] + work.settings.quota_span >= as_of


def recent_hours(work: Work, fit: Fitness) -> list[int]:
    """The fit hours (epoch ms) of the last ``quota_span``, from which limits are derived."""
    return [hour for hour in fit.fit if hour > fit.fit[-1] - work.settings.quota_span]


def _late(work: Work, days: Mapping[str, Day], stray: frozenset[int]) -> dict[int, tuple[int, int]]:
    """Per hour (epoch ms) with any: accepted events that came after it had closed, and all its accepted events.

    Only of hours that may still move quotas. Files have none: their hours are closed by the import.
    """
    hours = {hour: rows for day in days.values() for hour, rows in day.outcomes.items()}
    first = max(hours.keys() - stray, default=0) - work.settings.quota_span
    recent = {hour: rows for hour, rows in hours.items() if hour >= first}
    closings = {name: closing.of_hours(work.store, name, recent) for name in closing.kafka_topics(work.store)}
    found = {}
    for hour, rows in recent.items():
        late = 0
        for topic, partition, start, accepted, *_ in rows:
            record = closings.get(topic, {}).get(hour)
            late += accepted if record is not None and start >= record.ends.get(partition, 0) else 0
        if late:
            found[hour] = (late, sum(row[3] for row in rows))
    return found


def _lost(work: Work, days: Mapping[str, Day], stray: frozenset[int]) -> frozenset[int]:
    """Hours (epoch ms) that offsets may be of which never landed.

    Those from the hour that most events of the range before are of, up to the time of the next records, or, where there
    were none, of the landing.
    """
    hours = {hour: rows for day in days.values() for hour, rows in day.outcomes.items() if hour not in stray}
    ranges: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for hour, rows in hours.items():
        for topic, partition, start, accepted, *_ in rows:
            ranges.setdefault((topic, partition), []).append((start, accepted, -hour))
    found: set[int] = set()
    for topic in closing.kafka_topics(work.store):
        for loss in losses(work.store, topic):
            of_partition = ranges.get((topic, loss.range.partition), [])
            before = [place for place in of_partition if place[0] < loss.range.start]
            first = -max(before)[2] if before else 0
            last = max(first, loss.found_at_ms if loss.next_ms is None else loss.next_ms)
            found.update(hour for hour in hours if first <= hour <= last)
    return frozenset(found)
