"""The front door: all commands together, and every error in one line with its exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quotaloop.cli import land, loop, quarantine, quotas, reading, release
from quotaloop.cli.call import Call
from quotaloop.errors import QuotaloopError
from quotaloop.settings import load

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From API request logs to rate limits that can be trusted.",
)
app.command()(loop.run)
app.add_typer(land.app, name="land")
app.command()(loop.build)
app.command()(loop.recount)
app.add_typer(loop.audit_app, name="audit")
app.add_typer(release.app, name="release")
app.add_typer(quotas.app, name="quotas")
app.add_typer(quarantine.app, name="quarantine")
app.command()(reading.sql)
app.command()(reading.status)
app.command()(reading.version)


@app.callback()
def _options(
    context: typer.Context,
    store: Annotated[str | None, typer.Option(help="Where everything lies: file:///path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the stack of an error.")] = False,
) -> None:
    context.obj = Call(load(flags={"store": store}, config=config), as_json, debug)


def main() -> None:
    """The entry point: every error in one line, and its exit code."""
    arguments = _flags_first(sys.argv[1:])
    debug = "--debug" in arguments
    try:
        app(arguments, standalone_mode=False)
    except QuotaloopError as error:
        if debug:
            raise
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped; run it again to go on", 1)
    except Exception as error:
        if debug:
            raise
        code = getattr(error, "exit_code", 1)
        formatted = getattr(error, "format_message", None)
        _fail(formatted() if formatted else f"{type(error).__name__}: {error}", code)


def _flags_first(arguments: list[str]) -> list[str]:
    """``--json`` and ``--debug`` may stand anywhere before a ``--``."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [word for word in arguments[:end] if word in ("--json", "--debug")]
    return [*flags, *(word for word in arguments[:end] if word not in flags), *arguments[end:]]


def _fail(message: str, code: int) -> None:
    from quotaloop.events.credentials import redact_text

    line = redact_text(" ".join(message.split()))
    printable = "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    sys.stderr.write(f"quotaloop: {printable[:2000]}\n")
    sys.exit(code)
