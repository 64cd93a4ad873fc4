"""One SELECT of a client over the current release, with a cap on rows, bytes and memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import duckdb

from quotaloop.cli.mcp.opened import first_rows, opened, release_now
from quotaloop.errors import UsageError
from quotaloop.marts.integrity import check_files
from quotaloop.marts.views import named, read_files

if TYPE_CHECKING:
    from jobs.work import Work


def select(work: Work, statement: str, *, max_rows: int, timed: AbstractContextManager[None]) -> dict[str, Any]:
    """The first rows of one SELECT, as ``quotaloop sql`` answers it; it may take ``task_memory`` of memory.

    What the statement itself does, and nothing else, is done within ``timed``.
    Raises ``UsageError`` for anything but a SELECT, for what DuckDB refuses, and for what takes too much.
    """
    tables = named(statement)
    release = release_now(work)
    with opened(work, release, tables) as connection:
        try:
            with timed:
                found = first_rows(connection.sql(_before_its_end(statement)), max_rows)
        except duckdb.OutOfMemoryException as error:
            raise UsageError(f"sql: stopped, it needs more than {work.settings.task_memory} of memory") from error
        except duckdb.Error as error:
            check_files(work.store, read_files(work.store, release, tables))  # perhaps parsed events are damaged
            raise UsageError(f"sql: {error}") from error
    return {"release": release.number, **found}


def _before_its_end(statement: str) -> str:
    """One statement up to its semicolon; a relation is not limited where a comment stands behind that."""
    text = statement.encode()
    tokens = duckdb.tokenize(statement)
    ends = (place for place, kind in tokens if kind == duckdb.token_type.operator and text[place : place + 1] == b";")
    return text[: next(ends, len(text))].decode()
