"""Commands on limits."""

from __future__ import annotations

import typer

from quotaloop.cli.call import call_of
from quotaloop.terminal import output

app = typer.Typer(help="Limits from history.")


@app.command("derive")
def quotas_derive(context: typer.Context) -> None:
    """A policy from the hours of the newest release that are fit for quotas; nothing is published."""
    from jobs.feedback import derive

    call = call_of(context)
    with call.working() as work:
        derivation = derive(work)
    call.print(output.derivation(derivation), output.derivation_text(derivation))
