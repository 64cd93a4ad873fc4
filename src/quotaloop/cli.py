"""The command line: parse arguments, call, print; nothing is decided here."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from quotaloop import __version__
from quotaloop.errors import InputUnreadable, QuotaloopError, UsageError
from quotaloop.settings import Settings, load
from quotaloop.terminal import output

if TYPE_CHECKING:
    from jobs.work import Work

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From API request logs to rate limits that can be trusted.",
)
land_app = typer.Typer(no_args_is_help=True, help="Copy request logs into the raw zone, byte for byte.")
audit_app = typer.Typer(invoke_without_command=True, help="Check the build; nothing is released.")
release_app = typer.Typer(invoke_without_command=True, help="Release the build that was audited; list, show, go back.")
quotas_app = typer.Typer(no_args_is_help=True, help="Limits from history.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Lines that did not become events.")
for name, group in {
    "land": land_app,
    "audit": audit_app,
    "release": release_app,
    "quotas": quotas_app,
    "quarantine": quarantine_app,
}.items():
    app.add_typer(group, name=name)


@dataclass(frozen=True, slots=True)
class Call:
    """What stands before the command."""

    settings: Settings
    as_json: bool
    debug: bool

    def work(self, progress: Any = None) -> Work:
        """A run's work on the store of the settings."""
        from jobs.work import Work

        return Work(self.settings, progress) if progress else Work(self.settings)

    def print(self, document: Any, text: Any) -> None:
        """The document as JSON, or the text (or rich renderable) for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
        else:
            Console().print(text)


@app.callback()
def _options(
    context: typer.Context,
    store: Annotated[str | None, typer.Option(help="Where everything lies: file:///path.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")] = False,
    debug: Annotated[bool, typer.Option(help="Show the stack of an error.")] = False,
) -> None:
    context.obj = Call(load(flags={"store": store}, config=config), as_json, debug)


def _call(context: typer.Context) -> Call:
    call = context.find_root().obj
    assert isinstance(call, Call)
    return call


@app.command()
def run(context: typer.Context) -> None:
    """Run the whole loop over what is pending."""
    from pipelines.in_process import run as run_loop
    from quotaloop.terminal import summary
    from quotaloop.terminal.bars import Bars

    call = _call(context)
    began = time.monotonic()
    with Bars() as progress:
        done = run_loop(call.settings, progress)
    document = summary.document(call.work().store, done)
    call.print(document, summary.text(document, seconds=time.monotonic() - began))


@land_app.command("files")
def land_files(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files: plain, .gz or .zst.")],
    topic: Annotated[str | None, typer.Option(help="The topic to land in; by default the format's name.")] = None,
    file_format: Annotated[str, typer.Option("--format", help="native, azure-llm or llmperf.")] = "native",
    partition: Annotated[int, typer.Option(min=0, max=99_999, help="The partition to land in.")] = 0,
    landed_at: Annotated[
        str | None, typer.Option(help="Kafka time of the lines: RFC 3339 or epoch ms; none unless given.")
    ] = None,
) -> None:
    """Land files; bytes that were landed into the topic before are skipped."""
    from quotaloop.raw.formats import FORMATS
    from quotaloop.raw.landing import land_file
    from quotaloop.storage.address import open_store
    from quotaloop.terminal.bars import Bars

    call = _call(context)
    store = open_store(call.settings.store)
    done = []
    with Bars() as progress:
        for path in paths:
            if not path.is_file():
                raise InputUnreadable(f"{path} is not a file")
            progress.begin(f"land {path.name}", path.stat().st_size, "bytes")
            done.append(
                land_file(
                    store,
                    path,
                    topic=topic or file_format,
                    file_format=file_format,
                    settings=call.settings,
                    partition=partition,
                    landed_at_ms=_time_ms(landed_at),
                    now_ms=int(time.time() * 1000),
                    progress=progress.advance,
                )
            )
            progress.end()
    derived = list(FORMATS[file_format].DERIVED)
    rows = [
        {
            "file": str(item.path),
            "lines": item.lines,
            "ranges": [str(part) for part in item.ranges],
            "skipped": item.skipped,
            "sha256": item.sha256,
        }
        for item in done
    ]
    call.print({"topic": topic or file_format, "derived": derived, "files": rows}, output.landed(rows, derived))


def _time_ms(text: str | None) -> int:
    from quotaloop.events.fields import time_ms
    from quotaloop.raw.record import NO_TIME

    if text is None:
        return NO_TIME
    try:
        return time_ms(int(text) if text.isdigit() else text)
    except ValueError as error:
        raise UsageError(f"--landed-at {text!r}: write RFC 3339 with a zone, or epoch milliseconds") from error


@app.command()
def build(context: typer.Context) -> None:
    """Parse what has landed and build the tables of the hours it touches; nothing is released."""
    from jobs import stages

    call = _call(context)
    with _working(call) as work:
        made = stages.build(work)
    files = sum(len(entries) for entries in made.new_files.values())
    document = {"revision": made.revision, "hours": len(made.emit), "files": files, "new_ranges": len(made.new)}
    call.print(
        document, f"revision {made.revision}: {len(made.emit)} hours, {files} files from {len(made.new)} new ranges"
    )


@app.command()
def recount(context: typer.Context) -> None:
    """Count the build's hours again from raw by MapReduce."""
    from jobs import stages

    call = _call(context)
    with _working(call) as work:
        counted = stages.recount(work)
    rows = {name: table.num_rows for name, table in counted.items()}
    call.print({"rows": rows}, ", ".join(f"{name} {count}" for name, count in rows.items()))


@audit_app.callback()
def audit(context: typer.Context) -> None:
    """Check the build; nothing is released."""
    if context.invoked_subcommand is not None:
        return
    from jobs import stages

    call = _call(context)
    with _working(call) as work:
        verdicts = stages.audit(work)
    call.print({"checks": [output.verdict(item) for item in verdicts]}, output.verdicts(verdicts))


@audit_app.command("waive")
def audit_waive(
    context: typer.Context,
    check: Annotated[str, typer.Argument(help="bad_share, line_identity or double_entry.")],
    where: Annotated[str, typer.Argument(metavar="TOPIC/P/START-END", help="The raw range.")],
    reason: Annotated[str, typer.Option(help="Why; it goes on the record.")],
) -> None:
    """Answer a refusal, once and on the record; the hours of that range will not move quotas."""
    from jobs.audit.waivers import waive
    from quotaloop.storage.address import open_store

    call = _call(context)
    path = waive(open_store(call.settings.store), check, where, reason)
    call.print({"waiver": path}, f"recorded as {path}")


@release_app.callback()
def release(context: typer.Context) -> None:
    """Release the build that was audited; list, show, go back."""
    if context.invoked_subcommand is not None:
        return
    from jobs import stages

    call = _call(context)
    with _working(call) as work:
        if not work.new_ranges:
            call.print({"release": None}, "nothing new has landed: no release")
            return
        made = stages.release(work)
    if made is None:
        raise QuotaloopError("another run released first; build again")
    call.print({"release": made.number}, f"release {made.number}")


@release_app.command("list")
def release_list(context: typer.Context) -> None:
    """All releases."""
    call = _call(context)
    rows = output.releases(call.work().store)
    call.print({"releases": rows}, output.table(rows))


@release_app.command("show")
def release_show(
    context: typer.Context, number: Annotated[int | None, typer.Argument(help="By default the current one.")] = None
) -> None:
    """One release: its raw, its checks, its files."""
    from quotaloop.marts.release import current, read_release

    call = _call(context)
    store = call.work().store
    shown = read_release(store, number) if number is not None else current(store)
    if shown is None:
        raise UsageError("there is no release yet; run `quotaloop run`")
    document = json.loads(shown.render())
    call.print(document, output.release(shown))


@release_app.command("rollback")
def release_rollback(context: typer.Context, number: Annotated[int, typer.Argument(help="Whose content.")]) -> None:
    """Append a release with the content of an earlier one, pinned until `release resume`."""
    from quotaloop.marts.release import roll_back

    call = _call(context)
    made = roll_back(call.work().store, number)
    call.print(
        {"release": made.number, "rolled_back_to": number, "pinned": True},
        f"release {made.number} has the content of release {number}, pinned until `quotaloop release resume`",
    )


@release_app.command("resume")
def release_resume(context: typer.Context) -> None:
    """End the pin of a rollback."""
    from quotaloop.marts.release import resume

    call = _call(context)
    number = resume(call.work().store)
    call.print({"resumed": number}, "nothing is pinned" if number is None else f"release {number} is no longer pinned")


@app.command()
def sql(context: typer.Context, statement: Annotated[str, typer.Argument(help="One SELECT.")]) -> None:
    """Ask the current release, one view a table."""
    from quotaloop.marts.release import current
    from quotaloop.marts.views import open_views, query

    call = _call(context)
    store = call.work().store
    release_now = current(store)
    if release_now is None:
        raise UsageError("there is no release yet; run `quotaloop run`")
    with open_views(store, release_now) as connection:
        rows = output.rows(query(connection, statement))
    call.print(rows, output.grid(rows))


@quotas_app.command("derive")
def quotas_derive(context: typer.Context) -> None:
    """A policy from the hours of the newest release that are fit for quotas; nothing is published."""
    from jobs.feedback import derive

    call = _call(context)
    with _working(call) as work:
        derivation = derive(work)
    call.print(output.derivation(derivation), output.derivation_text(derivation))


@quarantine_app.command("list")
def quarantine_list(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all unless given.")] = None,
) -> None:
    """Quarantined lines of everything that is parsed."""
    from jobs.quarantine import listing

    call = _call(context)
    rows = listing(call.work(), reason=reason, topic=topic, limit=limit)
    call.print(rows, output.grid(rows))


@quarantine_app.command("replay")
def quarantine_replay(context: typer.Context) -> None:
    """Parse quarantined lines again with the code and settings of now, and say what would become of them."""
    from jobs.quarantine import replay

    call = _call(context)
    document = replay(call.work())
    call.print(document, output.replayed(document))


@app.command()
def status(context: typer.Context) -> None:
    """What is landed, pending, released and in force."""
    from jobs.status import status as look

    call = _call(context)
    document = look(call.work())
    call.print(document, output.status(document))


@contextmanager
def _working(call: Call) -> Iterator[Work]:
    """Work with bars on standard error, in one Spark session once it is needed."""
    from quotaloop.terminal.bars import Bars

    with Bars() as progress:
        yield call.work(progress)


@app.command()
def version(context: typer.Context) -> None:
    """The package's version, and that of the code that makes rows."""
    from quotaloop.version import code_version

    call = _call(context)
    document = {"version": __version__, "code": code_version(), "python": sys.version.split()[0]}
    call.print(document, f"quotaloop {document['code']}, Python {document['python']}")


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
