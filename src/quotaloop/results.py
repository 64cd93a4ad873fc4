"""What a run came to, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass

from quotaloop.marts.release import Release
from quotaloop.quotas.policy import Policy


@dataclass(frozen=True, slots=True)
class Derivation:
    """What came of deriving: the policy in force afterwards, whether it is new, and what is to be said about it.

    ``unfit`` gives the reason of each hour (epoch ms) that does not move quotas.
    """

    policy: Policy | None
    is_new: bool
    message: str
    fit_hours: int
    unfit: dict[int, str]


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did: the release in force afterwards, whether it is new, and what became of the quotas."""

    release: Release | None
    released: bool
    pinned: bool
    derivation: Derivation | None
    policy: Policy | None
    unfinished: tuple[str, ...]
