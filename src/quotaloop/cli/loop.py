"""Commands of the loop: ``run``, and its stages one by one."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated

import typer

from quotaloop.cli.call import call_of
from quotaloop.storage.lease import Taken
from quotaloop.terminal import output, summary

audit_app = typer.Typer(invoke_without_command=True, help="Check the build; nothing is released.")


def run(context: typer.Context) -> None:
    """Run the whole loop over what is pending."""
    from pipelines.in_process import run as run_loop
    from quotaloop.terminal.bars import Bars

    call = call_of(context)
    began = time.monotonic()
    try:
        with Bars() as progress:
            done = run_loop(call.settings, progress)
    except Taken as taken:
        call.print({"released": False, "at_work": asdict(taken.holder)}, f"{taken}: nothing to do here")
        return
    document = summary.document(call.work().store, done)
    call.print(document, summary.text(document, seconds=time.monotonic() - began))


def build(context: typer.Context) -> None:
    """Parse what has landed and build the tables of the hours it touches; nothing is released."""
    from jobs import stages

    call = call_of(context)
    with call.working() as work:
        made = stages.build(work)
    files = sum(len(entries) for entries in made.new_files.values())
    document = {"revision": made.revision, "hours": len(made.emit), "files": files, "new_ranges": len(made.new)}
    call.print(
        document, f"revision {made.revision}: {len(made.emit)} hours, {files} files from {len(made.new)} new ranges"
    )


def recount(context: typer.Context) -> None:
    """Count the build's hours again from raw by MapReduce."""
    from jobs import stages

    call = call_of(context)
    with call.working() as work:
        counted = stages.recount(work)
    rows = {name: table.num_rows for name, table in counted.items()}
    call.print({"rows": rows}, ", ".join(f"{name} {count}" for name, count in rows.items()))


@audit_app.callback()
def audit(context: typer.Context) -> None:
    """Check the build; nothing is released."""
    if context.invoked_subcommand is not None:
        return
    from jobs import stages

    call = call_of(context)
    with call.working() as work:
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
    from quotaloop.storage.address import store_of

    call = call_of(context)
    path = waive(store_of(call.settings), check, where, reason)
    call.print({"waiver": path}, f"recorded as {path}")
