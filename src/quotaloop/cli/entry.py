"""The front door: all commands together, and every error in one line with its exit code."""

from __future__ import annotations

import io
import sys
import traceback
from pathlib import Path
from typing import Annotated, cast

import typer

from quotaloop.cli import bridge, land, loop, quarantine, quotas, reading, release, serving
from quotaloop.cli.call import Call
from quotaloop.errors import QuotaloopError
from quotaloop.settings import load
from quotaloop.terminal.output import spelled_out

_INTERRUPTED = 130  # what typer makes of Ctrl-C
_LONGEST = 1900  # characters of an error

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From API request logs to rate limits that can be trusted.",
)
app.command()(loop.run)
app.add_typer(land.app, name="land")
app.add_typer(bridge.app, name="bridge")
app.command()(loop.build)
app.command()(loop.recount)
app.add_typer(loop.audit_app, name="audit")
app.add_typer(release.app, name="release")
app.add_typer(quotas.app, name="quotas")
app.add_typer(quarantine.app, name="quarantine")
app.command()(reading.sql)
app.command()(reading.status)
app.command()(reading.version)
app.command(name="mcp")(serving.mcp)


@app.callback()
def _options(
    context: typer.Context,
    store: Annotated[str | None, typer.Option(help="Where everything lies: file:///path, hdfs://host/path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the stack of an error.")] = False,
) -> None:
    context.obj = Call(load(flags={"store": store}, config=config), as_json, debug)


def main() -> None:
    """The entry point: every error in one line, and its exit code."""
    cast(io.TextIOWrapper, sys.stdout).reconfigure(errors="backslashreplace")  # names of files need not be text
    flags, words = _flags_first(sys.argv[1:])
    try:
        code = app([*flags, *words], standalone_mode=False)
    except BaseException as error:
        if "--debug" in flags:
            _write(traceback.format_exc())
        _fail(*_said(error))
    if code == _INTERRUPTED:
        _fail(*_said(KeyboardInterrupt()))
    sys.exit(code if isinstance(code, int) else 0)


def _said(error: BaseException) -> tuple[str, int]:
    """What an error says, and its exit code."""
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return "stopped; run it again to go on", 1
    formatted = getattr(error, "format_message", None)  # of typer's own errors
    said = str(error) if isinstance(error, QuotaloopError) else f"{type(error).__name__}: {error}"
    return formatted() if formatted else _without_stack(said), getattr(error, "exit_code", 1)


def _without_stack(text: str) -> str:
    """What a Java error says, without the lines that tell where."""
    return text.partition("Driver stacktrace:")[0].partition("\n\tat ")[0]


def _flags_first(arguments: list[str]) -> tuple[list[str], list[str]]:
    """``--json`` and ``--debug``, which may stand anywhere before a ``--``, and the other words."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [word for word in arguments[:end] if word in ("--json", "--debug")]
    return flags, [*(word for word in arguments[:end] if word not in flags), *arguments[end:]]


def _fail(message: str, code: int) -> None:
    _write(f"quotaloop: {' '.join(message.split())[:_LONGEST]}")
    sys.exit(code)


def _write(text: str) -> None:
    """To standard error, without credentials and with nothing in it that a terminal would obey."""
    from quotaloop.events.credentials import redact_text

    for line in redact_text(text).splitlines():
        sys.stderr.write(f"{spelled_out(line)}\n")
