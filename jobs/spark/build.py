"""Build the tables of the hours that new raw touches; files of untouched hours are listed where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.spark import ledger, overflow
from jobs.spark.completeness import completeness
from jobs.spark.files import write_frame
from jobs.spark.transforms.attempts import attempts, contributions
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.daily import daily, latency_summary_daily
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from jobs.spark.transforms.latency import latency_cells, latency_hourly, latency_summary
from jobs.spark.transforms.outcomes import accepted, exclusions, outcome_counts
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from jobs.spark.transforms.stamp_runs import prior_stamps, stamp_runs
from jobs.spark.transforms.usage_hourly import usage_hourly
from quotaloop import faults
from quotaloop.errors import CheckRefused
from quotaloop.events.columns import EVENTS_SCHEMA, TIME
from quotaloop.marts import tables
from quotaloop.marts.candidate import EVENTS, Candidate
from quotaloop.marts.plan import Touched, holding, hours_of_boots, reaching_into, touched
from quotaloop.marts.release import Day, FileEntry, Release, rfc3339
from quotaloop.parsed.unit import Note, Unit
from quotaloop.raw.ranges import Range
from quotaloop.settings import Settings
from quotaloop.storage.store import Store

_LONG, _TEXT = pa.int64(), pa.string()
_COORDINATES = [("topic", _TEXT), ("partition", pa.int32()), ("range_start", _LONG), ("offset", _LONG)]
INTERNAL_SCHEMAS = {
    "exclusions": pa.schema([("hour", TIME), *_COORDINATES, ("outcome", _TEXT)]),
    "stamp_runs": pa.schema(
        [("hour", TIME), ("host", _TEXT), ("boot", _TEXT), ("first_seq", _LONG), ("last_seq", _LONG), ("events", _LONG)]
    ),
    "prior_stamps": pa.schema(
        [("hour", TIME), ("host", _TEXT), ("boot", _TEXT), ("prev_boot", _TEXT), ("prev_seq", _LONG)]
    ),
}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a build is a function of."""

    ranges: list[Range]
    notes: dict[Range, Note]
    parent: Release | None
    parent_days: dict[str, Day]
    parent_ledger: pa.Table | None
    fingerprint: str
    revision: str
    settings: Settings


def build(spark: SparkSession, store: Store, inputs: Inputs, *, progress: Progress = lambda _: None) -> Candidate:
    """The candidate for the next release; raises ``CheckRefused`` for overflow and for too many groups in an hour."""
    return _Build(spark, store, inputs, progress).candidate()


class _Build:
    def __init__(self, spark: SparkSession, store: Store, inputs: Inputs, progress: Progress) -> None:
        self.spark, self.store, self.inputs, self.progress = spark, store, inputs, progress
        self.new = [item for item in inputs.ranges if not self._in_parent(item)]
        self.frozen = frozenset(hour for day in inputs.parent_days.values() if day.frozen for hour in day.counted)
        self.touched: Touched = touched(inputs.notes, self.new, self.frozen)
        self.written: dict[str, list[FileEntry]] = {}

    def candidate(self) -> Candidate:
        hours = self.touched.events
        self.progress("which lines repeat one another")
        parsed = self._parsed(hours)
        self._write(
            "exclusions", exclusions(parsed), INTERNAL_SCHEMAS["exclusions"], ("hour", "topic", "partition", "offset")
        )
        events = self._accepted(hours)
        overflow.check(events, self.inputs.notes.values())
        outcomes = outcome_counts(events, self._read("exclusions", hours)).collect()
        self._usage(events)
        self._latency(events)
        self._rates()
        self._stamps(events)
        completeness_hours = self._completeness()
        emit = sorted(self.touched.rates | completeness_hours)
        days = self._days(emit, outcomes)
        self._daily(days, emit)
        self._check_groups()
        faults.reached("build:files")
        read = self._read_hours(frozenset(emit))
        return Candidate(
            revision=self.inputs.revision,
            fingerprint=self.inputs.fingerprint,
            parent=self.inputs.parent.number if self.inputs.parent else None,
            ranges=self.inputs.ranges,
            new=self.new,
            emit=emit,
            read=sorted(read),
            sources=holding(self.inputs.notes, read),
            days=days,
            ledger=ledger.write(self.store, self.inputs, days, self.frozen),
        )

    def _in_parent(self, item: Range) -> bool:
        parent = self.inputs.parent
        return parent is not None and any(
            (span.topic, span.partition) == (item.topic, item.partition)
            and span.start <= item.start
            and item.end <= span.end
            for span in parent.raw
        )

    # Frames

    def _parsed(self, hours: frozenset[int]) -> DataFrame:
        units = [Unit(item, self.inputs.fingerprint) for item in holding(self.inputs.notes, hours)]
        paths = [self.store.uri(unit.events_path) for unit in units]
        if not paths:
            return self._empty(EVENTS_SCHEMA)
        return self._open(paths, EVENTS_SCHEMA).where(F.col("hour").isin(_moments(hours)))

    def _open(self, paths: list[str], schema: pa.Schema) -> DataFrame:
        """Files whose schema is known: Spark need not look into them for it."""
        return self.spark.read.schema(from_arrow_schema(schema)).parquet(*paths)

    def _accepted(self, hours: frozenset[int]) -> DataFrame:
        return accepted(self._parsed(hours), self._read("exclusions", hours))

    def _read(self, table: str, hours: frozenset[int]) -> DataFrame | None:
        """Rows of these hours from the files written now, or else from the parent's; None: there are none."""
        paths = [self.store.uri(entry.path) for entry in self._entries(table) if not hours.isdisjoint(entry.hours)]
        if not paths:
            return None
        schema = INTERNAL_SCHEMAS[table] if table in INTERNAL_SCHEMAS else tables.PUBLISHED[table].schema
        return self._open(paths, schema).where(F.col("hour").isin(_moments(hours)))

    def _entries(self, table: str) -> list[FileEntry]:
        """The files of a table after this build, as far as it got."""
        replaced = self._replaced(table)
        kept = [
            entry
            for day in self.inputs.parent_days.values()
            for entry in day.tables.get(table, ())
            if entry.hours and replaced.isdisjoint(entry.hours)
        ]
        return kept + self.written.get(table, [])

    def _replaced(self, table: str) -> frozenset[int]:
        if table == tables.RATE_LIMIT_USAGE.name:
            return self.touched.rates
        if table == tables.COMPLETENESS_HOURLY.name:
            return self.completeness_hours
        return self.touched.events

    def _empty(self, schema: pa.Schema) -> DataFrame:
        return self.spark.createDataFrame(schema.empty_table())

    # Tables

    def _write(
        self, folder: str, frame: DataFrame, schema: pa.Schema, order: tuple[str, ...], time: str = "hour"
    ) -> None:
        self.written[folder] = write_frame(
            frame,
            store_url=self.store.url,
            folder=folder,
            revision=self.inputs.revision,
            schema=schema,
            order=order,
            time=time,
        )

    def _publish(self, table: tables.Table, frame: DataFrame) -> None:
        self.progress(table.name)
        self._write(table.name, frame, table.schema, table.grain, table.time)

    def _usage(self, events: DataFrame) -> None:
        self._publish(tables.USAGE_HOURLY, usage_hourly(events))

    def _latency(self, events: DataFrame) -> None:
        cells = latency_cells(events).persist()
        self._publish(tables.LATENCY_HOURLY, latency_hourly(cells))
        self._publish(tables.LATENCY_SUMMARY, latency_summary(cells))
        cells.unpersist()

    def _rates(self) -> None:
        hours = self.touched.rates
        rows = attempts(self._accepted(hours))
        minutes = minutely(contributions(rows)).persist()
        own = minutes.where(F.col("hour").isin(_moments(self.touched.events)))
        self._publish(tables.DEMAND_MINUTELY, demand_minutely(own))
        reaching = reaching_into(self.inputs.notes, hours) - self.frozen
        in_flight = concurrency(self._accepted(frozenset(reaching))).where(F.col("hour").isin(_moments(hours)))
        self._publish(tables.RATE_LIMIT_USAGE, rate_limit_usage(minutes, rows, in_flight))
        minutes.unpersist()

    def _stamps(self, events: DataFrame) -> None:
        order = ("hour", "host", "boot")
        self._write("stamp_runs", stamp_runs(events), INTERNAL_SCHEMAS["stamp_runs"], (*order, "first_seq"))
        self._write("prior_stamps", prior_stamps(events), INTERNAL_SCHEMAS["prior_stamps"], (*order, "prev_boot"))

    def _completeness(self) -> frozenset[int]:
        """Write the hours whose rows change, and say which."""
        self.progress(tables.COMPLETENESS_HOURLY.name)
        self.completeness_hours: frozenset[int] = frozenset()
        boots = self.touched.boots
        hours = hours_of_boots(self.inputs.notes, boots) - self.frozen
        before = self._read(tables.COMPLETENESS_HOURLY.name, hours)
        rows = completeness(
            runs=self._read("stamp_runs", hours) or self._empty(INTERNAL_SCHEMAS["stamp_runs"]),
            prior=self._read("prior_stamps", hours) or self._empty(INTERNAL_SCHEMAS["prior_stamps"]),
            events=lambda: self._accepted(hours),
            boots=boots,
            before=before,
            always=self.touched.events,
        )
        self.completeness_hours = rows.hours
        self._write(
            tables.COMPLETENESS_HOURLY.name,
            self.spark.createDataFrame(rows.table.cast(tables.COMPLETENESS_HOURLY.schema)),
            tables.COMPLETENESS_HOURLY.schema,
            tables.COMPLETENESS_HOURLY.grain,
        )
        return rows.hours

    # Days

    def _days(self, emit: list[int], outcomes: Iterable[Row]) -> dict[str, Day]:
        parents = self.inputs.parent_days
        days = dict(parents)
        for date in sorted({_date(hour) for hour in emit}):
            before = parents.get(date)
            days[date] = Day(date, self.inputs.fingerprint, frozen=False)
            if before is not None:
                days[date].counted = {h: word for h, word in before.counted.items() if h not in emit}
                days[date].outcomes = {h: rows for h, rows in before.outcomes.items() if h not in self.touched.events}
        for hour in emit:
            days[_date(hour)].counted[hour] = "once"
        for hour, *counts in outcomes:
            days[_date(hour)].outcomes.setdefault(hour, []).append(counts)
        changed = {_date(hour) for hour in emit}
        for table in (*(table.name for table in tables.HOURLY), *INTERNAL_SCHEMAS):
            for entry in self._entries(table):
                date = _date(entry.hours[0])
                if date in changed:
                    days[date].tables.setdefault(table, []).append(entry)
        for date in changed:
            days[date].tables[EVENTS] = self._event_files(date)
        return days

    def _event_files(self, date: str) -> list[FileEntry]:
        entries = []
        for item, note in sorted(self.inputs.notes.items()):
            hours = tuple(sorted(hour for hour in note.hours if _date(hour) == date))
            if hours:
                path = Unit(item, self.inputs.fingerprint).events_path
                entries.append(FileEntry(path, note.events, note.events_bytes, note.events_sha256, hours))
        return entries

    def _daily(self, days: dict[str, Day], emit: list[int]) -> None:
        dates = sorted({_date(hour) for hour in emit})
        for table, source in tables.DAILY.items():
            hours = self._of_dates(source.name, days, dates)
            if hours is None:
                continue
            if table is tables.LATENCY_SUMMARY_DAILY:
                histogram = self._of_dates(tables.LATENCY_HOURLY.name, days, dates)
                assert histogram is not None
                self._publish(table, latency_summary_daily(histogram, hours))
            else:
                self._publish(table, daily(hours, table))
            for entry in self.written[table.name]:
                date = entry.path.split("/date=")[1][:10]
                days[date].tables.setdefault(table.name, []).append(entry)

    def _of_dates(self, table: str, days: dict[str, Day], dates: list[str]) -> DataFrame | None:
        paths = [self.store.uri(entry.path) for date in dates for entry in days[date].tables.get(table, ())]
        return self._open(paths, tables.PUBLISHED[table].schema) if paths else None

    def _check_groups(self) -> None:
        most = self.inputs.settings.max_groups
        for table in tables.HOURLY:
            rows: dict[int, int] = {}
            for entry in self.written.get(table.name, ()):
                rows[entry.hours[0]] = rows.get(entry.hours[0], 0) + entry.rows
            for hour, count in rows.items():
                if count > most:
                    column = self._widest(table, hour)
                    raise CheckRefused(
                        f"{table.name} has {count} rows in hour {rfc3339(hour)}, more than max_groups = {most}: "
                        f"{column} has the most distinct values; fix what writes it, or raise QUOTALOOP_MAX_GROUPS"
                    )

    def _widest(self, table: tables.Table, hour: int) -> str:
        paths = [entry.path for entry in self.written[table.name] if entry.hours == (hour,)]
        columns = [column for column in table.grain if column != table.time]
        seen: dict[str, set[object]] = {column: set() for column in columns}
        for path in paths:
            with self.store.open(path) as file:
                rows = pq.read_table(file, columns=columns)
            for column in columns:
                seen[column].update(rows[column].unique().to_pylist())
        return max(columns, key=lambda column: len(seen[column]))

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


def _moments(hours: Iterable[int]) -> list[datetime]:
    return [datetime.fromtimestamp(hour // 1000, UTC) for hour in sorted(hours)]


def _date(hour: int) -> str:
    return datetime.fromtimestamp(hour // 1000, UTC).strftime("%Y-%m-%d")
