"""What the tasks of a build do, each for some hours or for one date."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pyarrow as pa

from jobs.spark.events import EventFiles, opened, view_once, view_parsed
from jobs.spark.files import write_table
from jobs.spark.sql import Connection, connect
from jobs.spark.transforms.attempts import attempts, chains
from jobs.spark.transforms.concurrency import concurrency
from jobs.spark.transforms.daily import daily
from jobs.spark.transforms.demand_minutely import demand_minutely, minutely
from jobs.spark.transforms.latency import latency_cells, latency_hourly, latency_summary
from jobs.spark.transforms.outcomes import exclusions, outcome_counts
from jobs.spark.transforms.rate_limit_usage import rate_limit_usage
from jobs.spark.transforms.stamp_runs import prior_stamps, stamp_runs
from jobs.spark.transforms.usage_hourly import usage_hourly
from quotaloop.marts import internal, tables
from quotaloop.marts.release import FileEntry
from quotaloop.storage.parquet import relation
from quotaloop.storage.store import Store

Written = dict[str, list[FileEntry]]


@dataclass(frozen=True, slots=True)
class Target:
    """Where tasks write."""

    store: Store
    revision: str
    memory: str  # that DuckDB may take

    def write(self, name: str, rows: pa.Table, hours: frozenset[int] | None = None) -> list[FileEntry]:
        """Write a table's rows; with ``hours`` (epoch ms) only those of them."""
        return write_table(self.store, rows, folder=name, revision=self.revision, hours=hours)


@dataclass(frozen=True, slots=True)
class Parsed:
    """Hours (epoch ms) and the units that hold them."""

    hours: frozenset[int]
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Share:
    """Hours (epoch ms) of one task, and the files that hold them.

    ``events``: hours with new events; ``rates``: hours whose rates may change; ``reaching``: hours that hold an attempt
    which is in flight in one of ``rates``.
    """

    events: frozenset[int]
    rates: frozenset[int]
    reaching: frozenset[int]
    files: EventFiles


@dataclass(frozen=True, slots=True)
class Made:
    """Files that a task wrote, by table, and what became of its events (see ``outcome_counts``)."""

    files: Written = field(default_factory=dict)
    outcomes: list[tuple[int, str, int, int, int, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Exclude:
    """Find which events of some hours are not accepted."""

    target: Target

    def __call__(self, parsed: Parsed) -> Made:
        with opened(self.target.store, EventFiles(parsed.units), self.target.memory) as db:
            view_parsed(db, parsed.hours)
            return Made({internal.EXCLUSIONS: self.target.write(internal.EXCLUSIONS, exclusions(db))})


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Make the hourly tables of a share, but for completeness, of which it makes the parts."""

    target: Target

    def __call__(self, share: Share) -> Made:
        with opened(self.target.store, share.files, self.target.memory) as db:
            view_once(db, "accepted", share.events)
            view_once(db, "rated", share.rates)
            view_once(db, "reaching", share.reaching)
            made = Made()
            if share.events:
                made.outcomes.extend(outcome_counts(db, share.events))
                made.files.update(self._of_events(db))
            made.files.update(self._of_rates(db, share))
            return made

    def _of_events(self, db: Connection) -> Written:
        latency_cells(db)
        made = {
            tables.USAGE_HOURLY.name: usage_hourly(db),
            tables.LATENCY_HOURLY.name: latency_hourly(db),
            tables.LATENCY_SUMMARY.name: latency_summary(db),
            internal.STAMP_RUNS: stamp_runs(db),
            internal.PRIOR_STAMPS: prior_stamps(db),
        }
        return {name: self.target.write(name, rows) for name, rows in made.items()}

    def _of_rates(self, db: Connection, share: Share) -> Written:
        attempts(db)
        chains(db)
        minutely(db)
        db.register("in_flight", concurrency(db, share.rates))
        demand, rates = tables.DEMAND_MINUTELY.name, tables.RATE_LIMIT_USAGE.name
        return {
            demand: self.target.write(demand, demand_minutely(db), share.events),
            rates: self.target.write(rates, rate_limit_usage(db)),
        }


@dataclass(frozen=True, slots=True)
class Merge:
    """Make the daily tables of one date from files of its hourly tables, by table."""

    target: Target

    def __call__(self, files: Mapping[str, list[str]]) -> Made:
        with connect(self.target.memory) as db, ExitStack() as stack:
            for name, paths in files.items():
                here = stack.enter_context(self.target.store.all_on_disk(paths))
                db.execute(f"CREATE VIEW {name} AS FROM {relation(map(str, here))}")
            wanted = [table for table, hourly in tables.DAILY.items() if hourly.name in files]
            return Made({table.name: self.target.write(table.name, daily(db, table)) for table in wanted})
