"""Commands on limits: derived, tried, compared, published, looked at, taken back, explained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, get_args

import typer

from quotaloop.cli.call import call_of
from quotaloop.errors import UsageError
from quotaloop.terminal import quotas as shown

app = typer.Typer(help="Limits from history.")


@app.command("derive")
def quotas_derive(
    context: typer.Context,
    backfill: Annotated[bool, typer.Option("--backfill", help="Let hours older than the limits move them.")] = False,
    accept: Annotated[list[str] | None, typer.Option(help="A gate that may object, on the record.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it; no policy is made.")] = False,
) -> None:
    """A policy from the hours of the newest release that are fit for quotas; nothing is published."""
    from jobs.feedback import derive

    accepted = _gates(accept or [])
    call = call_of(context)
    with call.working() as work:
        derivation = derive(work, backfill=backfill, accepted=accepted, dry_run=dry_run)
    call.print(shown.derivation(derivation), shown.derivation_text(derivation))


@app.command("diff")
def quotas_diff(
    context: typer.Context,
    old: Annotated[int | None, typer.Argument(help="An epoch; by default the policy in force.")] = None,
    new: Annotated[int | None, typer.Argument(help="A later one; by default what would be derived.")] = None,
) -> None:
    """What the next policy would change, and what gates would say; or two policies side by side."""
    from jobs.feedback import derive
    from quotaloop.quotas.policy import at_epoch, policies
    from quotaloop.results import Derivation

    call = call_of(context)
    with call.working() as work:
        known = policies(work.store)
        before = at_epoch(known, old) if old is not None else known[-1] if known else None
        stored = Derivation(at_epoch(known, new), False, "as stored") if new is not None else None
        found = stored or derive(work, dry_run=True)
    if found.policy is None:
        raise UsageError(f"there is no policy to compare: {found.message}")
    if found.policy == before and old is None and len(known) > 1:
        before = known[-2]
    document = shown.difference(found.policy, before, message=found.message, objections=found.objections)
    call.print(document, shown.difference_text(document))


@app.command("backtest")
def quotas_backtest(
    context: typer.Context,
    what_if: Annotated[
        list[str] | None, typer.Option(help="tenant=acme,limit=150000; kind is tokens unless given.")
    ] = None,
    policy: Annotated[int | None, typer.Option(help="An epoch; by default the next policy.")] = None,
    sink: Annotated[str | None, typer.Option(help="Of one sink; by default all.")] = None,
    since: Annotated[str | None, typer.Option(help="The first hour, RFC 3339.")] = None,
    until: Annotated[str | None, typer.Option(help="Before this hour, RFC 3339.")] = None,
) -> None:
    """Replay history under a policy, by default the next, beside the one in force and what really happened."""
    from jobs.trying import trial

    call = call_of(context)
    with call.working() as work:
        found = trial(work, epoch=policy, changes=what_if or [], sink=sink, since=since, until=until)
    document = {
        "policy": found.policy.epoch,
        "what_if": what_if or [],
        "in_force": found.in_force.epoch if found.in_force else None,
        "release": found.release.number,
        "hours": found.hours,
        "sinks": {name: shown.tried(rows) for name, rows in found.rows.items()},
    }
    from rich.console import Group

    call.print(document, Group(*(shown.tried_text(f"{name}: {found.told}", rows) for name, rows in found.rows.items())))


@app.command("publish")
def quotas_publish(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what differs; nothing is written.")] = False,
) -> None:
    """Put the newest policy into every sink, and mend what differs there."""
    from jobs.publication import publish, verify

    call = call_of(context)
    with call.working() as work:
        publication = verify(work) if dry_run else publish(work, mend=True)
    document = shown.publication(publication)
    call.print(document, shown.publication_text(document))
    if publication is not None and not dry_run:
        publication.check()


@app.command("verify")
def quotas_verify(context: typer.Context) -> None:
    """See that every sink holds the newest policy, to the unit; nothing is written."""
    from jobs.publication import verify

    call = call_of(context)
    with call.working() as work:
        publication = verify(work)
    document = shown.publication(publication)
    call.print(document, shown.publication_text(document))
    if publication is not None:
        publication.check()


@app.command("rollback")
def quotas_rollback(
    context: typer.Context,
    epoch: Annotated[int | None, typer.Argument(help="Whose limits; by default the last that were others.")] = None,
) -> None:
    """Publish the limits of an earlier policy under a new epoch; they hold until `quotas resume`."""
    from jobs.publication import roll_back

    call = call_of(context)
    with call.working() as work:
        publication = roll_back(work, epoch)
    document = shown.publication(publication)
    call.print(document, shown.publication_text(document))
    publication.check()


@app.command("resume")
def quotas_resume(context: typer.Context) -> None:
    """End the pin of a rollback: the next release moves limits again."""
    from quotaloop.quotas.policy import resume

    call = call_of(context)
    epoch = resume(call.work().store)
    call.print({"resumed": epoch}, "nothing is pinned" if epoch is None else f"policy {epoch} is no longer pinned")


@app.command("why")
def quotas_why(context: typer.Context, tenant: Annotated[str, typer.Argument(help="Whose limits.")]) -> None:
    """Why a tenant is limited as it is, down to the raw offsets."""
    from jobs.why import why

    call = call_of(context)
    with call.working() as work:
        document = why(work, tenant)
    call.print(document, shown.why(document))


@app.command("evaluate")
def quotas_evaluate(
    context: typer.Context,
    days: Annotated[int, typer.Option(help="How many days are judged, the last of the release.")] = 14,
    sink: Annotated[str, typer.Option(help="Whose limiter enforces them.")] = "file",
) -> None:
    """Judge the rules: derive on the days before, enforce on the next, step on, beside simpler ways to set limits."""
    from jobs.judging import judge

    call = call_of(context)
    with call.working() as work:
        evaluation = judge(work, days=days, sink=sink)
    call.print(asdict(evaluation), shown.evaluation(evaluation))


def _gates(words: list[str]) -> frozenset[str]:
    from quotaloop.quotas.trial.gate import Gate

    if unknown := sorted(set(words) - set(get_args(Gate))):
        raise UsageError(f"--accept {unknown[0]}: gates that can be answered are {', '.join(get_args(Gate))}")
    return frozenset(words)
