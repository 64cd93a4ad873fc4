"""Commands that only look: ``sql``, ``status``, ``version``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from quotaloop import __version__
from quotaloop.cli.call import call_of
from quotaloop.errors import UsageError
from quotaloop.terminal import output


def sql(context: typer.Context, statement: Annotated[str, typer.Argument(help="One SELECT.")]) -> None:
    """Ask the current release, one view a table."""
    from quotaloop.marts.integrity import check_files
    from quotaloop.marts.release import current
    from quotaloop.marts.views import named, open_views, query, read_files

    call = call_of(context)
    store = call.work().store
    release_now = current(store)
    if release_now is None:
        raise UsageError("there is no release yet; run `quotaloop run`")
    tables = named(statement)
    with open_views(store, release_now, tables=tables, proven=True) as connection:
        try:
            rows = output.rows(query(connection, statement))
        except UsageError:
            check_files(store, read_files(store, release_now, tables))  # perhaps parsed events are damaged
            raise
    call.print(rows, output.grid(rows))


def status(context: typer.Context) -> None:
    """What is landed, pending, released and in force."""
    from jobs.status import status as look

    call = call_of(context)
    document = look(call.work())
    call.print(document, output.status(document))


def version(context: typer.Context) -> None:
    """The package's version, and that of the code that makes rows."""
    from quotaloop.version import code_version

    call = call_of(context)
    document = {"version": __version__, "code": code_version(), "python": sys.version.split()[0]}
    call.print(document, f"quotaloop {document['code']}, Python {document['python']}")
