"""Build the tables of the hours that new raw touches; files of untouched hours are listed where they lie."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from jobs.spark import days as composing
from jobs.spark import groups, ledger, overflow
from jobs.spark.completeness import completeness
from jobs.spark.files import write_frame
from jobs.spark.inputs import Inputs
from jobs.spark.sources import Sources, in_hours, schema_of
from jobs.spark.transforms.attempts import attempts, contributions
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.daily import daily, latency_summary_daily
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from jobs.spark.transforms.latency import latency_cells, latency_hourly, latency_summary
from jobs.spark.transforms.outcomes import exclusions, outcome_counts
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from jobs.spark.transforms.stamp_runs import prior_stamps, stamp_runs
from jobs.spark.transforms.usage_hourly import usage_hourly
from quotaloop import faults
from quotaloop.marts import tables
from quotaloop.marts.candidate import Candidate
from quotaloop.marts.internal import EXCLUSIONS, PRIOR_STAMPS, STAMP_RUNS
from quotaloop.marts.plan import holding, hours_of_boots, reaching_into, touched
from quotaloop.marts.release import Day
from quotaloop.storage.store import Store

_AT_ONCE = 3  # jobs of small data wait for the driver's planning more than for tasks

Progress = Callable[[str], None]


def build(spark: SparkSession, store: Store, inputs: Inputs, *, progress: Progress = lambda _: None) -> Candidate:
    """The candidate for the next release; raises ``CheckRefused`` for overflow and for too many groups in an hour."""
    return _Build(spark, store, inputs, progress).candidate()


class _Build:
    def __init__(self, spark: SparkSession, store: Store, inputs: Inputs, progress: Progress) -> None:
        self.spark, self.store, self.inputs, self.progress = spark, store, inputs, progress
        self.frozen = inputs.frozen
        self.new = inputs.new
        self.touched = touched(inputs.notes, self.new, self.frozen)
        self.sources = Sources(spark, store, inputs, self.touched.events)
        self.sources.replaced[tables.RATE_LIMIT_USAGE.name] = self.touched.rates

    def candidate(self) -> Candidate:
        hours = self.touched.events
        self.progress("which lines repeat one another")
        self._write(EXCLUSIONS, exclusions(self.sources.parsed(hours)), ("hour", "topic", "partition", "offset"))
        events = self.sources.accepted(hours)
        overflow.check(events, self.inputs.notes.values())
        self._at_once(
            self._rates,
            partial(self._completeness, events),
            partial(self._latency, events),
            partial(self._publish, tables.USAGE_HOURLY, usage_hourly(events)),
        )
        for table in tables.HOURLY:
            written = self.sources.written.get(table.name, [])
            groups.check(self.store, table, written, self.inputs.settings.max_groups)
        emit = self.touched.rates | self.sources.replaced[tables.COMPLETENESS_HOURLY.name]
        days = composing.compose(
            self.inputs,
            self.sources,
            emit=emit,
            events=hours,
            outcomes=outcome_counts(events, self.sources.table(EXCLUSIONS, hours)).collect(),
        )
        self._daily(days, sorted({composing.date_of(hour) for hour in emit}))
        faults.reached("build:files")
        read = self._read_hours(emit)
        return Candidate(
            revision=self.inputs.revision,
            fingerprint=self.inputs.fingerprint,
            parent=self.inputs.parent.number if self.inputs.parent else None,
            ranges=self.inputs.ranges,
            new=self.new,
            emit=sorted(emit),
            read=sorted(read),
            sources=sorted({*holding(self.inputs.notes, read), *self.new}),
            days=days,
            ledger=ledger.write(self.store, self.inputs, days, self.frozen),
        )

    def _at_once(self, *steps: Callable[[], Any]) -> None:
        """Run steps that do not need one another; raises what the first of them raises."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for running in [pool.submit(step) for step in steps]:
                running.result()

    def _write(self, name: str, frame: DataFrame, order: tuple[str, ...], time: str = "hour") -> None:
        entries = write_frame(
            frame,
            store_url=self.store.url,
            folder=name,
            revision=self.inputs.revision,
            schema=schema_of(name),
            order=order,
            time=time,
        )
        self.sources.add(name, entries)

    def _publish(self, table: tables.Table, frame: DataFrame) -> None:
        self.progress(table.name)
        self._write(table.name, frame, table.grain, table.time)

    def _latency(self, events: DataFrame) -> None:
        cells = latency_cells(events).persist()
        self._publish(tables.LATENCY_HOURLY, latency_hourly(cells))
        self._publish(tables.LATENCY_SUMMARY, latency_summary(cells))
        cells.unpersist()

    def _rates(self) -> None:
        hours = self.touched.rates
        rows = attempts(self.sources.accepted(hours))
        minutes = minutely(contributions(rows)).persist()
        self._publish(tables.DEMAND_MINUTELY, demand_minutely(minutes.where(in_hours(self.touched.events))))
        reaching = reaching_into(self.inputs.notes, hours) - self.frozen
        in_flight = concurrency(self.sources.accepted(reaching)).where(in_hours(hours))
        self._publish(tables.RATE_LIMIT_USAGE, rate_limit_usage(minutes, rows, in_flight))
        minutes.unpersist()

    def _completeness(self, events: DataFrame) -> None:
        """Write the hours whose rows change, which only their rows can tell."""
        order = ("hour", "host", "boot")
        self._write(STAMP_RUNS, stamp_runs(events), (*order, "first_seq"))
        self._write(PRIOR_STAMPS, prior_stamps(events), (*order, "prev_boot"))
        table = tables.COMPLETENESS_HOURLY
        boots = self.touched.boots
        hours = hours_of_boots(self.inputs.notes, boots) - self.frozen
        rows = completeness(
            runs=self._known(STAMP_RUNS, hours),
            prior=self._known(PRIOR_STAMPS, hours),
            events=lambda: self.sources.accepted(hours),
            boots=boots,
            before=self._before(table.name, hours),
            always=self.touched.events,
        )
        self.sources.replaced[table.name] = rows.hours
        self._publish(table, self.spark.createDataFrame(rows.table.cast(table.schema)))

    def _known(self, name: str, hours: frozenset[int]) -> DataFrame:
        found = self.sources.table(name, hours)
        return self.sources.empty(schema_of(name)) if found is None else found

    def _before(self, name: str, hours: frozenset[int]) -> DataFrame | None:
        """Rows as the parent has them."""
        self.sources.replaced[name] = frozenset()
        return self.sources.table(name, hours)

    def _daily(self, days: dict[str, Day], dates: list[str]) -> None:
        """Every daily table of these dates, into the days."""
        merged = ((table, self._merged(table, days, dates)) for table in tables.DAILY)
        found = {table: frame for table, frame in merged if frame is not None}
        self._at_once(*(partial(self._publish, table, frame) for table, frame in found.items()))
        for table in found:
            for entry in self.sources.written[table.name]:
                date = entry.path.split("/date=")[1][:10]
                days[date].tables.setdefault(table.name, []).append(entry)

    def _merged(self, table: tables.Table, days: dict[str, Day], dates: list[str]) -> DataFrame | None:
        hours = self.sources.dates(tables.DAILY[table].name, days, dates)
        if hours is None:
            return None
        if table is not tables.LATENCY_SUMMARY_DAILY:
            return daily(hours, table)
        histogram = self.sources.dates(tables.LATENCY_HOURLY.name, days, dates)
        assert histogram is not None
        return latency_summary_daily(histogram, hours)

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
