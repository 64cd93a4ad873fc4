"""The loop in one process, one stage after the other: what ``quotaloop run`` does."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import replace
from graphlib import TopologicalSorter
from importlib import import_module
from typing import Any

from jobs.publication import is_going_on, is_published
from jobs.work import Work
from pipelines.loop import LOOP, TO_BUILD, TO_LIMITERS, TO_POLICY, TO_RAW, TO_RELEASE
from quotaloop.errors import CheckRefused, QuotaloopError
from quotaloop.progress import Progress
from quotaloop.quotas.policy import Policy, epoch_ms, newest, rfc3339
from quotaloop.results import Derivation, Done, Publication
from quotaloop.settings import Settings
from quotaloop.storage.lease import lease

_TRIES = 4  # another run may take the next release number first


def run(settings: Settings, progress: Progress) -> Done:
    """The whole loop over what is pending; raises what a stage raises, and then nothing has become visible.

    Raises ``Taken`` where another run is at work on the store.
    """
    with lease(Work(settings).store, "run", length_ms=settings.lease):
        try:
            run_stages(Work(settings, progress), TO_RAW)
            return _release(settings, progress)
        except Exception:
            with suppress(QuotaloopError):  # what was raised first is what is wrong
                _kept_alive(Work(settings, progress))
            raise


def _release(settings: Settings, progress: Progress) -> Done:
    for _ in range(_TRIES):
        work = Work(settings, progress)
        if work.pinned:
            run_stages(work, ("parse",))
            renewal, policy = _kept_alive(work)
            return Done(work.latest, False, True, renewal, policy, tuple(work.unfinished))
        released = False
        if work.is_pending:
            with nullcontext() if work.is_built else work.spark():  # one for both; the recount needs its room
                run_stages(work, TO_BUILD)
            results = run_stages(work, TO_RELEASE)
            if results["release"] is None:
                continue
            released = True
        fresh = Work(settings, progress)
        derivation, policy = _to_limiters(fresh)
        return Done(fresh.latest, released, False, derivation, policy, tuple(work.unfinished))
    raise QuotaloopError(f"other runs released first {_TRIES} times in a row; try again")


def _kept_alive(work: Work) -> tuple[Derivation | None, Policy | None]:
    """What also a pinned or a failing store does for its limiters: a live policy does not expire.

    It is renewed and put into the sinks, as long as the same limits were in force before.
    """
    renewal: Derivation | None = run_stages(work, ("renew",))["renew"]
    policy = newest(work.store)
    if policy is None or is_published(work, policy) or not is_going_on(work, policy):
        return renewal, None
    publication: Publication | None = run_stages(work, ("publish",))["publish"]
    assert publication is not None
    publication.check()
    return renewal, publication.policy


def _to_limiters(work: Work) -> tuple[Derivation, Policy | None]:
    """The stages after a release; where no limits can be derived from it, those in force stay, and the run goes on.

    Raises what keeps the policy from being in force somewhere, or from lasting.
    """
    try:
        derivation: Derivation = run_stages(work, TO_POLICY)["derive"]
    except CheckRefused as refusal:
        derivation = Derivation(newest(work.store), False, f"limits unchanged: {refusal}")
    results = run_stages(work, TO_LIMITERS)
    renewal: Derivation | None = results["renew"]
    if renewal is not None and renewal.policy is not None:
        until = rfc3339(epoch_ms(renewal.policy.expires_at))
        said = f"{derivation.message}; renewed until {until}" if renewal.is_new else renewal.message
        derivation = replace(derivation, policy=renewal.policy, is_new=renewal.is_new, message=said)
    publication: Publication | None = results["publish"]
    if publication is None:
        return derivation, None
    publication.check()
    return derivation, publication.policy


def run_stages(work: Work, names: Iterable[str]) -> dict[str, Any]:
    """Run the named stages in the order that their needs give; name to what each returned."""
    wanted = set(names)
    stages = {stage.name: stage for stage in LOOP}
    order = TopologicalSorter({stage.name: stage.after for stage in LOOP}).static_order()
    results = {}
    for name in order:
        if name in wanted:
            module, function = stages[name].job.split(":")
            results[name] = getattr(import_module(module), function)(work)
    return results
