"""The tables as they stand while a build writes them."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from jobs.spark.inputs import Inputs
from quotaloop.events.columns import TIME
from quotaloop.marts import tables
from quotaloop.marts.integrity import check_files
from quotaloop.marts.internal import INTERNAL_SCHEMAS
from quotaloop.marts.release import FileEntry
from quotaloop.storage.parquet import read_tables
from quotaloop.storage.store import Store


class Sources:
    """Files of the parent, less the hours that are written again, and the files written so far.

    ``replaced``: the hours (epoch ms) written again, by table; ``others`` for tables that are not named there.
    """

    def __init__(self, store: Store, inputs: Inputs, others: frozenset[int]) -> None:
        self._store, self._inputs, self._others = store, inputs, others
        self.replaced: dict[str, frozenset[int]] = {}
        self.written: dict[str, list[FileEntry]] = {}
        self._sound: set[FileEntry] = set()

    def add(self, name: str, entries: Iterable[FileEntry]) -> None:
        """Files written now; they were hashed as they were written."""
        new = list(entries)
        self.written.setdefault(name, []).extend(new)
        self._sound.update(new)

    def table(self, name: str, hours: frozenset[int]) -> pa.Table:
        """Rows of these hours."""
        schema = schema_of(name)
        paths = self.checked(entry for entry in self.entries(name) if not hours.isdisjoint(entry.hours))
        rows = pa.concat_tables([schema.empty_table(), *read_tables(self._store, paths, schema=schema)])
        return rows.filter(pc.is_in(rows["hour"], pa.array(sorted(hours), pa.int64()).cast(TIME)))

    def checked(self, entries: Iterable[FileEntry]) -> list[str]:
        """Paths of files that are as they were published; raises ``InputUnreadable``."""
        wanted = list(entries)
        unproven = [entry for entry in wanted if entry not in self._sound]
        check_files(self._store, unproven)
        self._sound.update(unproven)
        return [entry.path for entry in wanted]

    def entries(self, name: str) -> list[FileEntry]:
        """The files of an hourly table, as far as it is written, in the order of their hours."""
        replaced = self.replaced.get(name, self._others)
        kept = [
            entry
            for day in self._inputs.parent_days.values()
            for entry in day.tables.get(name, ())
            if entry.hours and replaced.isdisjoint(entry.hours)
        ]
        return sorted(kept + self.written.get(name, []), key=lambda entry: (entry.hours, entry.path))


def schema_of(name: str) -> pa.Schema:
    """The schema of a published or internal table."""
    return INTERNAL_SCHEMAS[name] if name in INTERNAL_SCHEMAS else tables.PUBLISHED[name].schema
