"""What the limiter says of a request."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from quotaloop.limiter.limits import Bound
from quotaloop.limiter.rule import Decision
from quotaloop.quotas.policy import Kind

Source = Literal["policy", "safe_capacity", "local", "open", "closed"]


class Answer(Struct, frozen=True, gc=False):
    """May the request pass? ``decisions`` are those of the limits that were asked, each with its kind.

    ``denied_by`` is the first that denied; ``retry_after_ms`` is the longest wait of those that denied; ``bounds`` are
    the limits, in the order of ``decisions``; ``subject`` is whose count it is: the tenant's own or one it shares,
    None for what was refused.
    """

    allowed: bool
    denied_by: Kind | None
    retry_after_ms: int
    decisions: tuple[tuple[Kind, Decision], ...]
    source: Source
    policy_epoch: int | None
    bounds: tuple[Bound, ...] = ()
    subject: str | None = None


def refused(
    pairs: tuple[tuple[Kind, Decision], ...], source: Source, epoch: int | None, bounds: tuple[Bound, ...]
) -> Answer:
    """The answer where at least one of these decisions denies."""
    denied = [(kind, found) for kind, found in pairs if not found.allowed]
    wait_ms = max(found.retry_after_ms for _, found in denied)
    return Answer(False, denied[0][0], wait_ms, pairs, source, epoch, bounds)
