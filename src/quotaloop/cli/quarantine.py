"""Commands on lines that did not become events."""

from __future__ import annotations

from typing import Annotated

import typer

from quotaloop.cli.call import call_of
from quotaloop.terminal import output

app = typer.Typer(help="Lines that did not become events.")


@app.command("list")
def quarantine_list(
    context: typer.Context,
    reason: Annotated[str | None, typer.Option(help="Only this reason.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only this topic.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all unless given.")] = None,
) -> None:
    """Quarantined lines of everything that is parsed."""
    from jobs.quarantine import listing

    call = call_of(context)
    rows = listing(call.work(), reason=reason, topic=topic, limit=limit)
    call.print(rows, output.quarantined(rows))


@app.command("replay")
def quarantine_replay(context: typer.Context) -> None:
    """Parse quarantined lines again with the code and settings of now, and say what would become of them."""
    from jobs.quarantine import replay

    call = call_of(context)
    document = replay(call.work())
    call.print(document, output.replayed(document))
