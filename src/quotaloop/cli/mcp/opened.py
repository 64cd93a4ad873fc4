"""The release that is in force when a call comes in, as views; and the first rows of what is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from quotaloop.errors import UsageError
from quotaloop.marts.release import Release, current
from quotaloop.marts.views import open_views
from quotaloop.terminal.output import rows

if TYPE_CHECKING:
    from jobs.work import Work

MOST_ROWS = 1000
MOST_BYTES = 1_000_000  # of the values of an answer, written as text


def release_now(work: Work) -> Release:
    """The release that ``CURRENT`` names; raises ``UsageError`` where there is none."""
    found = current(work.store)
    if found is None:
        raise UsageError("there is no release yet; run `quotaloop run`")
    return found


@contextmanager
def opened(work: Work, release: Release, tables: Iterable[str] | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that reads these tables (None: all) of the release, whose files are proven, and nothing else."""
    memory = work.settings.task_memory
    with open_views(work.store, release, tables=tables, proven=True, memory=memory) as connection:
        yield connection


def first_rows(relation: duckdb.DuckDBPyRelation, most: int = MOST_ROWS) -> dict[str, Any]:
    """So many rows as ``quotaloop sql`` gives them, and whether there are more (``truncated``).

    Raises ``UsageError`` for values that are too large to be sent: they are measured before they are fetched.
    """
    found = relation.limit(most + 1).materialize()
    size = sum(
        filter(None, (value for row in found.project("strlen(COLUMNS(*)::VARCHAR)").fetchall() for value in row))
    )
    if size > MOST_BYTES:
        raise UsageError(f"the answer has {size:,} bytes; ask for fewer rows or columns, {MOST_BYTES:,} are the most")
    document = rows(found)
    return {**document, "rows": document["rows"][:most], "truncated": len(document["rows"]) > most}


def where(since: str | None, until: str | None, wanted: Mapping[str, str | None]) -> tuple[str, dict[str, object]]:
    """A WHERE clause and its parameters: hours that begin in ``[since, until)``, and columns with one value."""
    times = {"since": moment(since), "until": moment(until)}
    clauses = {"since": "hour >= $since", "until": "hour < $until"} | {name: f'"{name}" = ${name}' for name in wanted}
    given: dict[str, object] = {name: value for name, value in {**times, **wanted}.items() if value is not None}
    return ("WHERE " + " AND ".join(clauses[name] for name in given)) if given else "", given


def moment(text: str | None) -> datetime | None:
    """A time as RFC 3339, or a date for its first instant, UTC; raises ``UsageError`` for anything else."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is not a time: write 2026-03-02 or 2026-03-02T00:00:00Z") from error
    if found.tzinfo is None and len(text) > len("2026-03-02"):
        raise UsageError(f"{text!r} has no time zone: write 2026-03-02T00:00:00Z")
    return found if found.tzinfo else found.replace(tzinfo=UTC)
