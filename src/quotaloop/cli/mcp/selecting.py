"""One SELECT of a client over the current release, with a cap on rows, time and memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb

from quotaloop.cli.mcp.desk import Answer
from quotaloop.cli.mcp.opened import first_rows, opened, release_now
from quotaloop.errors import UsageError
from quotaloop.marts.integrity import check_files
from quotaloop.marts.views import named, read_files
from quotaloop.terminal.output import grid

if TYPE_CHECKING:
    from jobs.work import Work

_AGAIN_S = 0.05


def select(work: Work, statement: str, *, max_rows: int, timeout_s: float) -> Answer:
    """The first rows of one SELECT, as ``quotaloop sql`` answers it; it may take ``task_memory`` of memory.

    Raises ``UsageError`` for anything but a SELECT, for what DuckDB refuses, and for what takes too long or too much.
    """
    tables = named(statement)
    release = release_now(work)
    with opened(work, release, tables) as connection:
        try:
            with capped(connection, seconds=timeout_s):
                found = first_rows(connection.sql(_before_its_end(statement)), max_rows)
        except duckdb.OutOfMemoryException as error:
            raise UsageError(f"sql: stopped, it needs more than {work.settings.task_memory} of memory") from error
        except duckdb.Error as error:
            check_files(work.store, read_files(work.store, release, tables))  # perhaps parsed events are damaged
            raise UsageError(f"sql: {error}") from error
    return Answer({"release": release.number, **found}, grid(found))


def _before_its_end(statement: str) -> str:
    """One statement up to its semicolon; a relation is not limited where a comment stands behind that."""
    text = statement.encode()
    tokens = duckdb.tokenize(statement)
    ends = (place for place, kind in tokens if kind == duckdb.token_type.operator and text[place : place + 1] == b";")
    return text[: next(ends, len(text))].decode()


@contextmanager
def capped(connection: duckdb.DuckDBPyConnection, *, seconds: float) -> Iterator[None]:
    """Interrupt what the connection does when its time is over; ``UsageError`` says so."""
    watch = _Watch(connection, seconds)
    watch.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise UsageError(watch.said) from error
    finally:
        watch.end()


class _Watch(threading.Thread):
    """Looks after a connection until it is ended.

    An interrupt that comes before a statement has begun is lost, so it is repeated.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, seconds: float) -> None:
        super().__init__(name="sql watch", daemon=True)
        self._connection, self._seconds = connection, seconds
        self._ended = threading.Event()
        self.said = f"sql: stopped after {seconds:g} s; ask for less, or for fewer hours"

    def run(self) -> None:
        """Wait for the end of the work or of its time."""
        if self._ended.wait(self._seconds):
            return
        while not self._ended.wait(_AGAIN_S):
            self._connection.interrupt()

    def end(self) -> None:
        """Return when nothing is interrupted any more."""
        self._ended.set()
        self.join()
