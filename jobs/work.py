"""One run's work: the inputs that all stages share, looked up once and kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from quotaloop.marts import candidate as candidates
from quotaloop.marts.release import Day, Release, mend_pointer, newest, read_days
from quotaloop.marts.rollback import is_pinned
from quotaloop.parsed.unit import Note, missing, parse_note, units
from quotaloop.progress import Progress, Silence
from quotaloop.raw import closing, topics
from quotaloop.raw.landing import unfinished
from quotaloop.raw.ranges import Range, check_tiling, landed
from quotaloop.settings import Settings
from quotaloop.storage.address import store_of
from quotaloop.storage.parquet import read_table
from quotaloop.storage.store import Store, read_files
from quotaloop.version import fingerprint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class Work:
    """What a run works on; made anew for every run, so that nothing it looks up changes under it."""

    settings: Settings
    progress: Progress = field(default_factory=Silence)
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000  # what decides whether a live policy expires

    @cached_property
    def store(self) -> Store:
        """The store of the settings, its pointer mended."""
        store = store_of(self.settings)
        mend_pointer(store)
        return store

    @cached_property
    def _declared(self) -> frozenset[str]:
        """The topics of the raw zone."""
        return frozenset(topics.declared(self.store))

    @cached_property
    def _landed(self) -> list[Range]:
        """The listing of the raw zone, after that of closed hours: what closed them is in it.

        A topic from Kafka that came since is left to the next run, for it may hold hours open.
        """
        _ = self.closed_before
        found = landed(self.store)
        unknown = {item.topic for item in found} - self._declared
        came = {name for name in unknown if (topics.read(self.store, name) or {}).get("source") == "kafka"}
        return [item for item in found if item.topic not in came]

    @cached_property
    def ranges(self) -> list[Range]:
        """What has landed, found to tile; of a partition only what is before what is not complete."""
        holes: dict[tuple[str, int], int] = {}
        for item in frozenset().union(*self.unfinished.values()):
            place = (item.topic, item.partition)
            holes[place] = min(item.start, holes.get(place, item.start))
        whole = [item for item in self._landed if item.start < holes.get((item.topic, item.partition), item.end)]
        check_tiling(whole)
        return whole

    @cached_property
    def unfinished(self) -> dict[str, frozenset[Range]]:
        """What was begun and cut off; it is left out until it is landed again."""
        return unfinished(self.store, self._landed)

    @cached_property
    def fingerprint(self) -> str:
        """Of the code and the settings that touch rows."""
        return fingerprint(self.settings)

    @cached_property
    def latest(self) -> Release | None:
        """The newest release."""
        return newest(self.store)

    @cached_property
    def base(self) -> Release | None:
        """The release whose files can be carried over: the newest, if code and settings are the same."""
        latest = self.latest
        return latest if latest is not None and latest.fingerprint == self.fingerprint else None

    @property
    def pinned(self) -> bool:
        """Was the store rolled back, and not resumed?"""
        return is_pinned(self.store, self.latest)

    @cached_property
    def new_ranges(self) -> list[Range]:
        """Ranges that the newest release does not have."""
        return [item for item in self.ranges if self.latest is None or not self.latest.has(item)]

    @cached_property
    def closed_before(self) -> int | None:
        """Hours before this one (epoch ms) are closed; None if all that landed are."""
        _ = self._declared  # a topic that came after it may hold hours open
        return closing.closed_before(self.store)

    def is_closed(self, hour: int) -> bool:
        """Has everything of this hour (epoch ms) landed, as far as its topics can tell?"""
        return self.closed_before is None or hour < self.closed_before

    @property
    def closing(self) -> frozenset[int]:
        """Hours (epoch ms) that were released while they were open, and are closed now."""
        hours = self.latest.open_hours if self.latest else ()
        return frozenset(hour for hour in hours if self.is_closed(hour))

    @property
    def is_pending(self) -> bool:
        """Is there anything that the newest release does not have?"""
        return bool(self.new_ranges or self.closing)

    @cached_property
    def unparsed(self) -> list[Range]:
        """Ranges whose units are not there."""
        return [unit.range for unit in missing(self.store, units(self.ranges, self.fingerprint), self.fingerprint)]

    @cached_property
    def notes(self) -> dict[Range, Note]:
        """The notes of all units; all ranges must be parsed."""
        wanted = units(self.ranges, self.fingerprint)
        notes = read_files(self.store, [unit.note_path for unit in wanted])
        return {unit.range: parse_note(data) for unit, data in zip(wanted, notes, strict=True)}

    @cached_property
    def base_days(self) -> dict[str, Day]:
        """Days that can be carried over: the base's, and those whose raw is gone, which are frozen."""
        here = {(item.topic, item.partition, item.start) for item in self.ranges}
        days = read_days(self.store, self.latest)
        for day in days.values():
            day.frozen = day.frozen or any(tuple(row[:3]) not in here for rows in day.outcomes.values() for row in rows)
        return {date: day for date, day in days.items() if day.frozen or self.base is not None}

    @cached_property
    def base_ledger(self) -> pa.Table | None:
        """The newest release's ledger; of ranges whose raw is gone it is all that is left."""
        if self.latest is None or self.latest.ledger is None:
            return None
        return read_table(self.store, self.latest.ledger.path)

    @cached_property
    def revision(self) -> str:
        """The revision that a build of these inputs makes."""
        days = self.latest.days if self.latest else {}
        carried = {date: days[date] for date in self.base_days}
        return candidates.revision_of(self.fingerprint, self.base, carried, self.ranges, self.closed_before)

    @property
    def is_built(self) -> bool:
        """Is there a candidate of these inputs already?"""
        return not self.unparsed and candidates.load(self.store, self.revision) is not None

    @contextmanager
    def stage(self, name: str, total: int | None = None, unit: str = "") -> Iterator[None]:
        """Say that a stage begins and ends."""
        self.progress.begin(name, total, unit)
        try:
            yield
        finally:
            self.progress.end()

    @contextmanager
    def spark(self) -> Iterator[SparkSession]:
        """The run's session, opened when it is first needed."""
        from jobs.spark.runtime import session  # a run that finds nothing to do never loads Spark

        with session(self.settings) as spark:
            yield spark
