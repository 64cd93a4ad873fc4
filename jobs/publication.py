"""A policy on its way to the limiters: put into every sink, looked at there, taken back."""

from __future__ import annotations

import hashlib

from jobs.work import Work
from quotaloop import faults
from quotaloop.errors import CheckRefused, QuotaloopError, UsageError
from quotaloop.marts.release import canonical, rfc3339
from quotaloop.marts.rollback import taken_back
from quotaloop.quotas import policy as documents
from quotaloop.quotas.policy import Policy, newest, render
from quotaloop.quotas.rollback import rolled_back
from quotaloop.results import Publication, Published
from quotaloop.sinks.configured import sinks
from quotaloop.sinks.sink import Sink

FOLDER = "publications"
_LOOK_BACK = 20  # renewals that no sink got


def publish(work: Work, *, mend: bool = False) -> Publication | None:
    """The newest policy to every sink where it has not been put; None where there is no policy.

    Before anything is written, every sink is asked whether it can hold the policy: one that cannot refuses it for all.
    One that does not answer does not keep it from the others. Where the policy has been put before, it is only looked
    at, and what differs is told; with ``mend`` it is put there again. A push that was cut off is ended by the next one.
    """
    policy = newest(work.store)
    if policy is None:
        return None
    known = _able(work, policy)
    before = {sink.configuration.name: work.store.exists(_path(policy, sink)) for sink in known}
    if not any(before.values()) and not is_going_on(work, policy):
        _check_release(work, policy)
    states = tuple(_put(work, sink, policy, skip=before[sink.configuration.name] and not mend) for sink in known)
    faults.reached("policy:published")
    after = newest(work.store)
    if after is not None and after.epoch > policy.epoch:  # somebody else's, meanwhile; a sink may hold the older one
        return publish(work, mend=True)
    return Publication(policy, states, not all(before.values()))


def verify(work: Work) -> Publication | None:
    """What the sinks hold against the newest policy; nothing is written."""
    policy = newest(work.store)
    if policy is None:
        return None
    states = tuple(_looked_at(sink, policy) for sink in sinks(work.settings, work.store))
    return Publication(policy, states, False)


def is_published(work: Work, policy: Policy) -> bool:
    """Has the policy been put into every sink?"""
    return all(work.store.exists(_path(policy, sink)) for sink in sinks(work.settings, work.store))


def roll_back(work: Work, epoch: int | None = None) -> Publication:
    """The limits of an earlier policy under a new epoch, pinned, and published; by default of the last other ones.

    Only limits that were in force once are gone back to, unless their epoch is named. Raises ``UsageError`` where there
    are none, and ``CheckRefused``, with nothing stored, where a sink cannot hold them or another run takes the epoch.
    """
    known = documents.policies(work.store)
    if not known:
        raise UsageError("there is no policy to go back from")
    last = known[-1]
    were_in_force = [one for one in known if epoch is not None or work.store.exists(f"{FOLDER}/{one.epoch:010d}")]
    now_ms = work.now_ms() if documents.is_live(work.store, last) else None
    policy = rolled_back(were_in_force, last, epoch, now_ms=now_ms)
    _able(work, policy)
    if not documents.store_policy(work.store, policy):
        raise CheckRefused(f"another run has taken epoch {policy.epoch}: look at `quotaloop status` and try again")
    faults.reached("policy:numbered")
    publication = publish(work, mend=True)
    assert publication is not None
    return publication


def is_going_on(work: Work, policy: Policy) -> bool:
    """Are these the limits that were published last, renewed, or a rollback that somebody asked for?"""
    if documents.is_pinned(work.store, policy):
        return True
    before = [one for one in documents.latest(work.store, _LOOK_BACK) if one.epoch < policy.epoch]
    for one in reversed(before):
        if not documents.same_limits(one, policy):
            return False
        if work.store.exists(f"{FOLDER}/{one.epoch:010d}"):
            return True
    return False


def _able(work: Work, policy: Policy) -> list[Sink]:
    """All sinks; raises ``CheckRefused`` of one that cannot hold the policy."""
    known = sinks(work.settings, work.store)
    for sink in known:
        sink.check(policy)
    return known


def _check_release(work: Work, policy: Policy) -> None:
    """Raises ``CheckRefused`` for a policy of a release that was rolled back since."""
    gone_to = taken_back(work.store, policy.release)
    if gone_to is not None:
        raise CheckRefused(
            f"gate release: policy {policy.epoch} is of release {policy.release}, which was rolled back to {gone_to}; "
            "`quotaloop quotas rollback` gives the limits before it"
        )


def _put(work: Work, sink: Sink, policy: Policy, *, skip: bool) -> Published:
    try:
        if not skip:
            sink.publish(policy)
        state = _looked_at(sink, policy)
    except QuotaloopError as error:
        return Published(sink.configuration.name, error=error)
    if not skip and state.is_there:
        record = {
            "epoch": policy.epoch,
            "published_at": rfc3339(work.now_ms()),
            "sha256": hashlib.sha256(render(policy)).hexdigest(),
            "sink": sink.configuration.name,
        }
        work.store.write_if_absent(_path(policy, sink), canonical(record))
        faults.reached("policy:put")
    return state


def _looked_at(sink: Sink, policy: Policy) -> Published:
    try:
        return Published(sink.configuration.name, tuple(sink.drift(policy)))
    except QuotaloopError as error:
        return Published(sink.configuration.name, error=error)


def _path(policy: Policy, sink: Sink) -> str:
    return f"{FOLDER}/{policy.epoch:010d}/{sink.configuration.name}.json"
