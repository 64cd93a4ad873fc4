"""The days of a build: which files count for each date, how often each hour was counted, what became of its lines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from jobs.spark.inputs import Inputs
from jobs.spark.sources import Sources
from quotaloop.marts import tables
from quotaloop.marts.candidate import EVENTS
from quotaloop.marts.internal import INTERNAL_SCHEMAS
from quotaloop.marts.release import Day, FileEntry
from quotaloop.parsed.unit import Unit


def compose(
    inputs: Inputs, sources: Sources, *, hours: Iterable[int], events: frozenset[int], outcomes: Iterable[Iterable[Any]]
) -> dict[str, Day]:
    """The parent's days, and those of ``hours`` (epoch ms) anew; daily tables are not in the new ones yet.

    ``outcomes`` are rows of hour and counts (see ``Day``) for the hours ``events``.
    """
    days = dict(inputs.parent_days)
    hours = frozenset(hours)
    changed = {date_of(hour) for hour in hours}
    for date in sorted(changed):
        before = inputs.parent_days.get(date)
        days[date] = Day(date, inputs.fingerprint)
        if before is not None:
            days[date].counted = {hour: word for hour, word in before.counted.items() if hour not in hours}
            days[date].outcomes = {hour: rows for hour, rows in before.outcomes.items() if hour not in events}
        days[date].tables[EVENTS] = _event_files(inputs, date)
    for hour in hours:
        days[date_of(hour)].counted[hour] = "once"
    for hour, *counts in outcomes:
        days[date_of(hour)].outcomes.setdefault(hour, []).append(counts)
    carried = []
    for table in (*(table.name for table in tables.HOURLY), *INTERNAL_SCHEMAS):
        for entry in sources.entries(table):
            date = date_of(entry.hours[0])
            if date in changed:
                days[date].tables.setdefault(table, []).append(entry)
                carried.append(entry)
    sources.checked(carried)
    return days


def date_of(hour: int) -> str:
    """The UTC date of an hour (epoch ms)."""
    return datetime.fromtimestamp(hour // 1000, UTC).strftime("%Y-%m-%d")


def _event_files(inputs: Inputs, date: str) -> list[FileEntry]:
    entries = []
    for item, note in sorted(inputs.notes.items()):
        hours = tuple(sorted(hour for hour in note.hours if date_of(hour) == date))
        if hours:
            path = Unit(item, inputs.fingerprint).events_path
            entries.append(FileEntry(path, note.events, note.events_bytes, note.events_sha256, hours))
    return entries
