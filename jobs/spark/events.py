"""The events of some hours as views of a connection, over the units that hold them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from jobs.spark.sql import Connection, connect, in_hours
from quotaloop.events.columns import EVENTS_SCHEMA
from quotaloop.marts.internal import EXCLUSIONS, INTERNAL_SCHEMAS
from quotaloop.storage.parquet import relation
from quotaloop.storage.store import Store


@dataclass(frozen=True, slots=True)
class EventFiles:
    """Files of a store that hold the events of some hours: of parsed events, and of those that are not accepted."""

    units: tuple[str, ...]
    exclusions: tuple[str, ...] = ()


@contextmanager
def opened(store: Store, files: EventFiles, memory: str) -> Iterator[Connection]:
    """A connection with the views ``units`` and ``excluded``: all rows of the files, whatever their hour."""
    views = (
        ("units", files.units, EVENTS_SCHEMA),
        ("excluded", files.exclusions, INTERNAL_SCHEMAS[EXCLUSIONS]),
    )
    with connect(memory) as db, ExitStack() as stack:
        for name, paths, schema in views:
            if paths:
                here = stack.enter_context(store.all_on_disk(paths))
                db.execute(f"CREATE VIEW {name} AS FROM {relation(map(str, here))}")
            else:
                db.register(name, schema.empty_table())
        yield db


def view_parsed(db: Connection, hours: Collection[int]) -> None:
    """Make the view ``parsed``: all events of these hours (epoch ms)."""
    db.execute(f"CREATE VIEW parsed AS FROM units WHERE {in_hours(hours)}")


def view_once(db: Connection, name: str, hours: Collection[int]) -> None:
    """Make a view: the events of these hours (epoch ms), each once."""
    db.execute(f"""
        CREATE VIEW {name} AS FROM (FROM units WHERE {in_hours(hours)})
        ANTI JOIN excluded USING (topic, "partition", "offset")""")
