"""Build the tables of the hours that new raw touches; files of untouched hours are listed where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
from pyspark.sql import SparkSession

from jobs.spark import days as composing
from jobs.spark import groups, ledger, overflow
from jobs.spark.completeness import Boot, Run, completeness, owned_runs
from jobs.spark.events import EventFiles, opened, view_once
from jobs.spark.inputs import Inputs
from jobs.spark.neighbours import hours_beside
from jobs.spark.sources import Sources
from jobs.spark.spread import by_size, spread
from jobs.spark.sql import Connection
from jobs.spark.tasks import Aggregate, Exclude, Made, Merge, Parsed, Share, Target
from quotaloop import faults
from quotaloop.marts import tables
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.internal import EXCLUSIONS, PRIOR_STAMPS, STAMP_RUNS
from quotaloop.marts.plan import hours_of_boots, index
from quotaloop.marts.release import Day, FileEntry
from quotaloop.parsed.unit import Unit
from quotaloop.progress import Progress
from quotaloop.raw.ranges import Range
from quotaloop.storage.store import Store

_EVENTS_OF_A_TASK = 500_000  # neighbouring hours share a task up to here; an hour is never split
_WORTH_A_TASK = 20_000
_HOURS_OF_A_TASK = 200


def build(spark: SparkSession, store: Store, inputs: Inputs, progress: Progress) -> Candidate:
    """The candidate for the next release; raises ``CheckRefused`` for overflow and for too many groups in an hour.

    ``progress`` hears of ``inputs.touched_events``.
    """
    return _Build(spark, store, inputs, progress).candidate()


class _Build:
    def __init__(self, spark: SparkSession, store: Store, inputs: Inputs, progress: Progress) -> None:
        self.spark, self.store, self.inputs, self.progress = spark, store, inputs, progress
        self.frozen = inputs.frozen
        self.touched = inputs.touched
        self.index = index(inputs.notes)
        self.target = Target(store, inputs.revision, inputs.settings.task_memory)
        self.sources = Sources(store, inputs, self.touched.events)
        self.sources.replaced[tables.RATE_LIMIT_USAGE.name] = self.touched.rates

    def candidate(self) -> Candidate:
        self._exclude()
        overflow.check(self.inputs.notes.values(), partial(self._accepted, self.touched.events))
        outcomes = [row for made in self._aggregate() for row in made.outcomes]
        self._completeness()
        for table in tables.HOURLY:
            written = self.sources.written.get(table.name, [])
            groups.check(self.store, table, written, self.inputs.settings.max_groups)
        built = self.touched.rates | self.sources.replaced[tables.COMPLETENESS_HOURLY.name]
        days = composing.compose(self.inputs, self.sources, hours=built, events=self.touched.events, outcomes=outcomes)
        self._daily(days, sorted({composing.date_of(hour) for hour in built}))
        faults.reached("build:files")
        emit = self.inputs.closed(built | self.inputs.open_before)
        read = self._read_hours(emit, days)
        return Candidate(
            revision=self.inputs.revision,
            fingerprint=self.inputs.fingerprint,
            parent=self.inputs.parent.number if self.inputs.parent else None,
            ranges=self.inputs.ranges,
            new=self.inputs.new,
            emit=sorted(emit),
            read=sorted(read),
            sources=sorted({*self.index.holding(read), *self._complete(self.inputs.new)}),
            days=days,
            ledger=ledger.write(self.store, self.inputs, days, self.frozen),
        )

    def _exclude(self) -> None:
        self.progress.note("which lines repeat one another")
        shares = [Parsed(hours, self._units(hours)) for hours in self._shares(self.touched.events)]
        self._add(spread(self.spark, Exclude(self.target), shares))

    def _aggregate(self) -> list[Made]:
        self.progress.note("tables of the hours")
        exclusions = self._exclusions()
        shares = [self._share(hours, exclusions) for hours in self._shares(self.touched.rates)]
        sizes = (sum(self.index.events.get(hour, 0) for hour in share.events) for share in shares)
        made = spread(self.spark, Aggregate(self.target), shares, done=by_size(self.progress.advance, sizes))
        self._add(made)
        return made

    def _share(self, hours: frozenset[int], exclusions: Mapping[int, list[FileEntry]]) -> Share:
        reaching = self.index.reaching_into(hours) - self.frozen
        return Share(hours & self.touched.events, hours, reaching, self._files(reaching, exclusions))

    def _shares(self, hours: frozenset[int]) -> Iterator[frozenset[int]]:
        """Neighbouring hours together, up to the events of a task and so that no core is idle."""
        cores = self.spark.sparkContext.defaultParallelism
        total = sum(self.index.events.get(hour, 0) for hour in hours)
        most = min(_EVENTS_OF_A_TASK, max(_WORTH_A_TASK, total // (2 * cores)))
        share: list[int] = []
        events = 0
        for hour in sorted(hours):
            more = self.index.events.get(hour, 0)
            if share and (events + more > most or len(share) == _HOURS_OF_A_TASK):
                yield frozenset(share)
                share, events = [], 0
            share.append(hour)
            events += more
        if share:
            yield frozenset(share)

    def _units(self, hours: Iterable[int]) -> tuple[str, ...]:
        return tuple(Unit(item, self.inputs.fingerprint).events_path for item in self.index.holding(hours))

    def _exclusions(self) -> dict[int, list[FileEntry]]:
        """Files of exclusions by hour; each has one."""
        found: dict[int, list[FileEntry]] = {}
        for entry in self.sources.entries(EXCLUSIONS):
            found.setdefault(entry.hours[0], []).append(entry)
        return found

    def _files(self, hours: frozenset[int], exclusions: Mapping[int, list[FileEntry]]) -> EventFiles:
        """What holds the events of these hours, and what is excluded of them."""
        excluded = self.sources.checked(entry for hour in sorted(hours) for entry in exclusions.get(hour, ()))
        return EventFiles(self._units(hours), tuple(excluded))

    def _add(self, made: Iterable[Made]) -> None:
        for one in made:
            for name, entries in one.files.items():
                self.sources.add(name, entries)

    @contextmanager
    def _accepted(self, hours: frozenset[int]) -> Iterator[Connection]:
        """``accepted`` of these hours, on the driver."""
        with opened(self.store, self._files(hours, self._exclusions()), self.target.memory) as db:
            view_once(db, "accepted", hours)
            yield db

    def _completeness(self) -> None:
        """Write the hours whose rows change, which only their rows can tell."""
        name = tables.COMPLETENESS_HOURLY.name
        self.progress.note(name)
        hours = hours_of_boots(self.inputs.notes, self.touched.boots) - self.frozen

        def owned(boot: Boot) -> list[Run]:
            own = hours_of_boots(self.inputs.notes, frozenset({boot})) - self.frozen
            with self._accepted(own) as db:
                return owned_runs(db, boot)

        rows = completeness(
            runs=self.sources.table(STAMP_RUNS, hours),
            prior=self.sources.table(PRIOR_STAMPS, hours),
            owned=owned,
            boots=self.touched.boots,
            before=self._before(name, hours),
            always=self.touched.events,
        )
        self.sources.replaced[name] = rows.hours
        self.sources.add(name, self.target.write(name, rows.table))

    def _before(self, name: str, hours: frozenset[int]) -> pa.Table:
        """Rows as the parent has them."""
        self.sources.replaced[name] = frozenset()
        return self.sources.table(name, hours)

    def _daily(self, days: dict[str, Day], dates: list[str]) -> None:
        """Every daily table of these dates, into the days."""
        self.progress.note("daily tables")
        hourly = sorted({table.name for table in tables.DAILY.values()})
        files = [
            {name: self.sources.checked(days[date].tables[name]) for name in hourly if days[date].tables.get(name)}
            for date in dates
        ]
        for date, made in zip(dates, spread(self.spark, Merge(self.target), files), strict=True):
            days[date].tables.update({name: entries for name, entries in made.files.items() if entries})

    def _complete(self, ranges: Iterable[Range]) -> Iterator[Range]:
        """Ranges without an open hour; others are counted again when their hours close."""
        for item in ranges:
            hours = self.inputs.notes[item].hours
            if self.inputs.closed(hours) == frozenset(hours):
                yield item

    def _read_hours(self, emit: frozenset[int], days: Mapping[str, Day]) -> frozenset[int]:
        """Hours that the recount has to read: also those whose attempts or stamps have a part in ``emit``."""
        conflicts = {
            hour for day in days.values() for hour, files in day.outcomes.items() if any(file[-1] for file in files)
        }
        beside = hours_beside(self.inputs.notes, emit, self.frozen, conflicts)
        return (emit | self.index.reaching_into(emit) | beside) - self.frozen
