"""Build the tables of the hours that new raw touches; files of untouched hours are listed where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.sql import SparkSession

from jobs.spark import days as composing
from jobs.spark import groups, ledger, overflow
from jobs.spark.completeness import Boot, Run, completeness, owned_runs
from jobs.spark.events import opened, view_once
from jobs.spark.inputs import Inputs
from jobs.spark.sources import Sources
from jobs.spark.spread import spread
from jobs.spark.sql import Connection
from jobs.spark.tasks import Aggregate, Exclude, Made, Merge, Share, Target
from quotaloop import faults
from quotaloop.marts import tables
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.internal import PRIOR_STAMPS, STAMP_RUNS
from quotaloop.marts.plan import events_by_hour, holding, hours_of_boots, reaching_into
from quotaloop.marts.release import Day
from quotaloop.progress import Progress
from quotaloop.storage.store import Store

_EVENTS_OF_A_TASK = 500_000  # neighbouring hours share a task up to here; an hour is never split


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
        self.events = events_by_hour(inputs.notes)
        self.target = Target(store.url, inputs.revision)
        self.sources = Sources(store, inputs, self.touched.events)
        self.sources.replaced[tables.RATE_LIMIT_USAGE.name] = self.touched.rates

    def candidate(self) -> Candidate:
        self._exclude()
        overflow.check(self.inputs.notes.values(), self._accepted)
        outcomes = [row for made in self._aggregate() for row in made.outcomes]
        self._completeness()
        for table in tables.HOURLY:
            written = self.sources.written.get(table.name, [])
            groups.check(self.store, table, written, self.inputs.settings.max_groups)
        emit = self.touched.rates | self.sources.replaced[tables.COMPLETENESS_HOURLY.name]
        days = composing.compose(self.inputs, self.sources, emit=emit, events=self.touched.events, outcomes=outcomes)
        self._daily(days, sorted({composing.date_of(hour) for hour in emit}))
        faults.reached("build:files")
        read = self._read_hours(emit)
        return Candidate(
            revision=self.inputs.revision,
            fingerprint=self.inputs.fingerprint,
            parent=self.inputs.parent.number if self.inputs.parent else None,
            ranges=self.inputs.ranges,
            new=self.inputs.new,
            emit=sorted(emit),
            read=sorted(read),
            sources=sorted({*holding(self.inputs.notes, read), *self.inputs.new}),
            days=days,
            ledger=ledger.write(self.store, self.inputs, days, self.frozen),
        )

    def _exclude(self) -> None:
        self.progress.note("which lines repeat one another")
        nothing: frozenset[int] = frozenset()
        shares = [
            Share(hours, nothing, nothing, self.sources.parsed(hours)) for hours in self._shares(self.touched.events)
        ]
        self._add(spread(self.spark, Exclude(self.target), shares))

    def _aggregate(self) -> list[Made]:
        self.progress.note("tables of the hours")
        shares = [self._share(hours) for hours in self._shares(self.touched.rates)]
        waiting = iter([sum(self.events[hour] for hour in share.events) for share in shares])

        def done(tasks: int) -> None:
            self.progress.advance(sum(next(waiting) for _ in range(tasks)))

        made = spread(self.spark, Aggregate(self.target), shares, done=done)
        self._add(made)
        return made

    def _share(self, hours: frozenset[int]) -> Share:
        reaching = reaching_into(self.inputs.notes, hours) - self.frozen
        return Share(hours & self.touched.events, hours, reaching, self.sources.accepted(reaching))

    def _shares(self, hours: Iterable[int]) -> Iterator[frozenset[int]]:
        """Neighbouring hours together, up to the events of a task."""
        share: list[int] = []
        events = 0
        for hour in sorted(hours):
            if share and events + self.events[hour] > _EVENTS_OF_A_TASK:
                yield frozenset(share)
                share, events = [], 0
            share.append(hour)
            events += self.events[hour]
        if share:
            yield frozenset(share)

    def _add(self, made: Iterable[Made]) -> None:
        for one in made:
            for name, entries in one.files.items():
                self.sources.add(name, entries)

    @contextmanager
    def _accepted(self, hours: frozenset[int] | None = None) -> Iterator[Connection]:
        """``accepted`` of these hours, or of all that have new events, on the driver."""
        wanted = self.touched.events if hours is None else hours
        with opened(self.store, self.sources.accepted(wanted)) as db:
            view_once(db, "accepted", wanted)
            yield db

    def _completeness(self) -> None:
        """Write the hours whose rows change, which only their rows can tell."""
        name = tables.COMPLETENESS_HOURLY.name
        self.progress.note(name)
        hours = hours_of_boots(self.inputs.notes, self.touched.boots) - self.frozen

        def owned(boot: Boot) -> list[Run]:
            with self._accepted(hours) as db:
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

    def _read_hours(self, emit: frozenset[int]) -> frozenset[int]:
        """Hours that the recount has to read: also those whose attempts or stamps have a part in ``emit``."""
        notes = self.inputs.notes
        boots = frozenset(
            (host, boot) for note in notes.values() for host, boot, hour, _, _ in note.stamps if hour in emit
        )
        claimed = frozenset(
            (host, prior) for note in notes.values() for host, _, hour, prior, _ in note.prior if hour in emit
        )
        neighbours = hours_of_boots(notes, boots | claimed)
        return (emit | reaching_into(notes, emit) | neighbours) - self.frozen
