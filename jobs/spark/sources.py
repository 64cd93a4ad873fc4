"""What a build reads: parsed events, and the tables as they stand while it writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema

from jobs.spark.inputs import Inputs
from jobs.spark.transforms.outcomes import accepted
from quotaloop.events.columns import EVENTS_SCHEMA
from quotaloop.marts import tables
from quotaloop.marts.integrity import check_file
from quotaloop.marts.internal import EXCLUSIONS, INTERNAL_SCHEMAS
from quotaloop.marts.plan import holding
from quotaloop.marts.release import Day, FileEntry
from quotaloop.parsed.unit import Unit
from quotaloop.storage.store import Store


class Sources:
    """Files of the parent, less the hours that are written again, and the files written so far.

    ``replaced``: the hours (epoch ms) written again, by table; ``others`` for tables that are not named there.
    """

    def __init__(self, spark: SparkSession, store: Store, inputs: Inputs, others: frozenset[int]) -> None:
        self._spark, self._store, self._inputs, self._others = spark, store, inputs, others
        self.replaced: dict[str, frozenset[int]] = {}
        self.written: dict[str, list[FileEntry]] = {}
        self._sound: set[FileEntry] = set()

    def add(self, name: str, entries: list[FileEntry]) -> None:
        """Files written now; they were hashed as they were written."""
        self.written[name] = entries
        self._sound.update(entries)

    def parsed(self, hours: frozenset[int]) -> DataFrame:
        """All parsed events of these hours."""
        units = [Unit(item, self._inputs.fingerprint) for item in holding(self._inputs.notes, hours)]
        paths = [unit.events_path for unit in units]
        if not paths:
            return self.empty(EVENTS_SCHEMA)
        return self._open(paths, EVENTS_SCHEMA).where(in_hours(hours))

    def accepted(self, hours: frozenset[int]) -> DataFrame:
        """Events of these hours, each once."""
        return accepted(self.parsed(hours), self.table(EXCLUSIONS, hours))

    def table(self, name: str, hours: frozenset[int]) -> DataFrame | None:
        """Rows of these hours; None: there are none."""
        found = [entry for entry in self.entries(name) if not hours.isdisjoint(entry.hours)]
        return self._open(self.checked(found), schema_of(name)).where(in_hours(hours)) if found else None

    def dates(self, name: str, days: Mapping[str, Day], dates: Iterable[str]) -> DataFrame | None:
        """All rows of these dates; None: there are none."""
        found = [entry for date in dates for entry in days[date].tables.get(name, ())]
        return self._open(self.checked(found), schema_of(name)) if found else None

    def checked(self, entries: Iterable[FileEntry]) -> list[str]:
        """Paths of files that are as they were published; raises ``InputUnreadable``."""
        paths = []
        for entry in entries:
            if entry not in self._sound:
                check_file(self._store, entry)
                self._sound.add(entry)
            paths.append(entry.path)
        return paths

    def entries(self, name: str) -> list[FileEntry]:
        """The files of an hourly table, as far as it is written."""
        replaced = self.replaced.get(name, self._others)
        kept = [
            entry
            for day in self._inputs.parent_days.values()
            for entry in day.tables.get(name, ())
            if entry.hours and replaced.isdisjoint(entry.hours)
        ]
        return kept + self.written.get(name, [])

    def empty(self, schema: pa.Schema) -> DataFrame:
        """No rows."""
        return self._spark.createDataFrame(schema.empty_table())

    def _open(self, paths: list[str], schema: pa.Schema) -> DataFrame:
        """Files whose schema is known: Spark need not look into them for it."""
        reader = self._spark.read.schema(from_arrow_schema(schema))
        return reader.parquet(*(self._store.uri(path) for path in paths))


def schema_of(name: str) -> pa.Schema:
    """The schema of a published or internal table."""
    return INTERNAL_SCHEMAS[name] if name in INTERNAL_SCHEMAS else tables.PUBLISHED[name].schema


def in_hours(hours: Iterable[int]) -> Column:
    """Is the row of one of these hours (epoch ms)?"""
    return F.col("hour").isin([datetime.fromtimestamp(hour // 1000, UTC) for hour in sorted(hours)])
