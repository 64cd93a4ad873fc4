"""Commands on releases: make, list, show, go back."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from quotaloop.cli.call import call_of
from quotaloop.errors import QuotaloopError, UsageError
from quotaloop.terminal import output

app = typer.Typer(invoke_without_command=True, help="Release the build that was audited; list, show, go back.")


@app.callback()
def release(context: typer.Context) -> None:
    """Release the build that was audited; list, show, go back."""
    if context.invoked_subcommand is not None:
        return
    from jobs import stages

    call = call_of(context)
    with call.working() as work:
        if not work.is_pending:
            call.print({"release": None}, "nothing new has landed or closed: no release")
            return
        made = stages.release(work)
    if made is None:
        raise QuotaloopError("another run released first; build again")
    call.print({"release": made.number}, f"release {made.number}")


@app.command("list")
def release_list(context: typer.Context) -> None:
    """All releases."""
    call = call_of(context)
    rows = output.releases(call.work().store)
    call.print({"releases": rows}, output.releases_text(rows))


@app.command("show")
def release_show(
    context: typer.Context, number: Annotated[int | None, typer.Argument(help="By default the current one.")] = None
) -> None:
    """One release: its raw, its checks, its files."""
    from quotaloop.marts.release import current, read_release

    call = call_of(context)
    store = call.work().store
    shown = read_release(store, number) if number is not None else current(store)
    if shown is None:
        raise UsageError("there is no release yet; run `quotaloop run`")
    document = json.loads(shown.render())
    call.print(document, output.release(shown))


@app.command("rollback")
def release_rollback(context: typer.Context, number: Annotated[int, typer.Argument(help="Whose content.")]) -> None:
    """Append a release with the content of an earlier one, pinned until `release resume`."""
    from quotaloop.marts.rollback import roll_back

    call = call_of(context)
    made = roll_back(call.work().store, number)
    call.print(
        {"release": made.number, "rolled_back_to": number, "pinned": True},
        f"release {made.number} has the content of release {number}, pinned until `quotaloop release resume`",
    )


@app.command("resume")
def release_resume(context: typer.Context) -> None:
    """End the pin of a rollback."""
    from quotaloop.marts.rollback import resume

    call = call_of(context)
    number = resume(call.work().store)
    call.print({"resumed": number}, "nothing is pinned" if number is None else f"release {number} is no longer pinned")
