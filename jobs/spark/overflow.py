"""Sums are 64-bit: a group that would not fit stops the build, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

from jobs.spark.sql import Connection
from quotaloop.errors import CheckRefused
from quotaloop.events.event import TOKEN_CLASSES
from quotaloop.parsed.unit import Note

GREATEST = 2**63 - 1
_WANTED = "CASE WHEN outcome = 'denied' THEN coalesce(wanted_tokens, 0) ELSE 0 END"
_SUMS = {name: name for name in (*TOKEN_CLASSES, "gpu_us", "bytes_in", "bytes_out", "total_tokens")} | {
    "wanted_tokens": _WANTED,
    "total_tokens and wanted_tokens": f"CASE WHEN outcome = 'denied' THEN {_WANTED} ELSE total_tokens END",
}


def check(notes: Iterable[Note], events: Callable[[], AbstractContextManager[Connection]]) -> None:
    """Raise ``CheckRefused`` if a sum of a group does not fit; free while all events together stay below the bound.

    ``events`` opens a connection with the view ``accepted``. A demand has five classes of tokens, and wanted ones.
    """
    if 6 * sum(note.greatest_sum for note in notes) <= GREATEST:
        return
    sums = ", ".join(f'sum({value}) AS "{name}"' for name, value in _SUMS.items())
    with events() as db:
        db.execute(f"CREATE TEMP TABLE sums AS SELECT tenant, hour::DATE AS date, {sums} FROM accepted GROUP BY ALL")
        for name in _SUMS:
            query = f'SELECT tenant, date FROM sums WHERE "{name}" > {GREATEST} ORDER BY ALL LIMIT 1'
            row = db.execute(query).fetchone()
            if row is not None:
                raise CheckRefused(f"the sum of {name} of tenant {row[0]} on {row[1]} does not fit into 64 bits")
