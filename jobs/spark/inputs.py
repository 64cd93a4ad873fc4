"""Everything that a build is a function of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from quotaloop.marts.plan import Touched, index, touched
from quotaloop.marts.release import Day, Release
from quotaloop.parsed.unit import Note
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings


@dataclass(frozen=True, slots=True)
class Inputs:
    """Raw with its notes, the release whose files can be carried over, code and settings.

    ``parent_ledger`` is the newest release's even where there is no ``parent``: of raw that is gone it is all there is.
    Hours before ``closed_before`` (epoch ms) are closed; None: all are.
    """

    ranges: list[Range]
    notes: dict[Range, Note]
    parent: Release | None
    parent_days: dict[str, Day]
    parent_ledger: pa.Table | None
    fingerprint: str
    revision: str
    closed_before: int | None
    settings: Settings

    @property
    def new(self) -> list[Range]:
        """Ranges that the parent does not have."""
        return [item for item in self.ranges if self.parent is None or not self.parent.has(item)]

    @property
    def frozen(self) -> frozenset[int]:
        """Hours (epoch ms) of days whose raw is gone: they stay as they are, also those without any event."""
        return frozenset(hour for day in self.parent_days.values() if day.frozen for hour in day.hours)

    def closed(self, hours: Iterable[int]) -> frozenset[int]:
        """Those of the hours (epoch ms) that are closed."""
        bound = self.closed_before
        return frozenset(hour for hour in hours if bound is None or hour < bound)

    @property
    def open_before(self) -> frozenset[int]:
        """Hours that the parent has counted once, because they were open."""
        return frozenset(self.parent.open_hours if self.parent else ()) - self.frozen

    @property
    def touched(self) -> Touched:
        """What the new ranges change."""
        return touched(self.notes, self.new, self.frozen)

    @property
    def touched_events(self) -> int:
        """How many parsed events a build goes through."""
        events = index(self.notes).events
        return sum(events.get(hour, 0) for hour in self.touched.events)
