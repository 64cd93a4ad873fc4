"""Which hours new raw touches, for each table: just those that a build from nothing would change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quotaloop.events.columns import HOUR_MS
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range

Notes = Mapping[Range, Note]


@dataclass(frozen=True, slots=True)
class Touched:
    """Hours (epoch ms) to build again.

    ``events``: hours of new events. ``rates``: those, and all that an attempt of one of them is in flight in.
    ``boots``: (host, boot) whose completeness may change.
    """

    events: frozenset[int]
    rates: frozenset[int]
    boots: frozenset[tuple[str, str]]


def touched(notes: Notes, new: Iterable[Range], frozen: frozenset[int]) -> Touched:
    """What the ranges ``new`` touch among all ``notes``; frozen hours are never touched."""
    events = frozenset(hour for item in new for hour in notes[item].hours) - frozen
    rates = set(events)
    boots: set[tuple[str, str]] = set()
    for note in notes.values():
        for hour, (_, reach) in note.hours.items():
            if hour in events:
                rates.update(range(hour, reach + 1, HOUR_MS))
        boots.update((host, boot) for host, boot, hour, _, _ in note.stamps if hour in events)
        boots.update((host, prior) for host, _, hour, prior, _ in note.prior if hour in events)
    return Touched(events, frozenset(rates) - frozen, frozenset(boots))


@dataclass(frozen=True, slots=True)
class Index:
    """Notes by hour (epoch ms): how many parsed events it has, which ranges hold it, which hours reach into it."""

    events: Mapping[int, int]
    ranges: Mapping[int, frozenset[Range]]
    reaching: Mapping[int, frozenset[int]]

    def holding(self, hours: Iterable[int]) -> list[Range]:
        """Ranges with an event of one of ``hours``."""
        return sorted(frozenset().union(*(self.ranges.get(hour, ()) for hour in hours)))

    def reaching_into(self, hours: Iterable[int]) -> frozenset[int]:
        """Hours that hold an attempt which is in flight in one of ``hours``."""
        return frozenset().union(*(self.reaching.get(hour, ()) for hour in hours))


def index(notes: Notes) -> Index:
    """The notes by hour."""
    events = Counter[int]()
    ranges: dict[int, set[Range]] = defaultdict(set)
    reaching: dict[int, set[int]] = defaultdict(set)
    for item, note in notes.items():
        for hour, (count, reach) in note.hours.items():
            events[hour] += count
            ranges[hour].add(item)
            for later in range(hour, reach + 1, HOUR_MS):
                reaching[later].add(hour)
    return Index(
        events,
        {hour: frozenset(found) for hour, found in ranges.items()},
        {hour: frozenset(found) for hour, found in reaching.items()},
    )


def hours_of_boots(notes: Notes, boots: frozenset[tuple[str, str]]) -> frozenset[int]:
    """Hours in which one of the boots wrote a stamp, or a later boot of the host speaks of it."""
    hours: set[int] = set()
    for note in notes.values():
        hours.update(hour for host, boot, hour, _, _ in note.stamps if (host, boot) in boots)
        hours.update(hour for host, _, hour, prior, _ in note.prior if (host, prior) in boots)
    return frozenset(hours)
