"""The command that serves assistants: ``mcp``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from quotaloop.cli.call import call_of
from quotaloop.errors import UsageError


def mcp(
    context: typer.Context,
    http: Annotated[
        bool, typer.Option("--http", help="Serve over HTTP; without it, on standard input and output.")
    ] = False,
    host: Annotated[str | None, typer.Option(help="Where to listen; by default 127.0.0.1, this machine alone.")] = None,
    port: Annotated[int | None, typer.Option(help="By default 8765; 0 takes a free one.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the bearer token; else it is QUOTALOOP_MCP_TOKEN.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="A web page's origin that may ask, such as https://example.com.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name by which the server is asked, as behind a proxy.")
    ] = None,
    allow_publish: Annotated[
        bool, typer.Option("--allow-publish", help="Offer tools that change live limits.")
    ] = False,
) -> None:
    """Serve releases, limits and their reasons to assistants, by the Model Context Protocol."""
    call = call_of(context)
    logging.basicConfig(level=logging.WARNING)  # to standard error; standard output is the protocol's
    try:
        from quotaloop.cli.mcp.http import Place, serve, token_of
        from quotaloop.cli.mcp.server import made
    except ModuleNotFoundError as error:
        raise UsageError(f"mcp needs {error.name}, which is not installed: pip install quotaloop[mcp]") from error
    chosen = {"host": host, "port": port, "hosts": tuple(allow_host or ()), "origins": tuple(allow_origin or ())}
    given: dict[str, Any] = {name: value for name, value in chosen.items() if value not in (None, ())}
    if http:
        serve(made(call.settings, allow_publish=allow_publish), Place(**given), token_of(token_file))
    elif given or token_file:
        raise UsageError("--host, --port, --token-file, --allow-origin and --allow-host go with --http")
    else:
        made(call.settings, allow_publish=allow_publish).run("stdio")
