"""What a run came to, for whoever asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field

from quotaloop.errors import CheckRefused, QuotaloopError
from quotaloop.marts.release import Release
from quotaloop.quotas.policy import Policy
from quotaloop.quotas.trial.gate import Objection


@dataclass(frozen=True, slots=True)
class Derivation:
    """What came of deriving: the policy in force afterwards, whether it is new, and what is to be said about it.

    ``before`` was in force. ``unfit`` gives the reason of each hour (epoch ms) that does not move quotas,
    ``objections`` what gates said against the policy that were answered, or only asked.
    """

    policy: Policy | None
    is_new: bool
    message: str
    fit_hours: int = 0
    unfit: dict[int, str] = field(default_factory=dict)
    before: Policy | None = None
    objections: tuple[Objection, ...] = ()


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a policy in one sink: what differs there from it, or why it could not be put or looked at."""

    sink: str
    drift: tuple[str, ...] = ()
    error: QuotaloopError | None = None

    @property
    def is_there(self) -> bool:
        """Is the policy in force there, to the unit?"""
        return not self.drift and self.error is None


@dataclass(frozen=True, slots=True)
class Publication:
    """A policy and what became of it in each sink; ``moved`` says whether any was written."""

    policy: Policy
    sinks: tuple[Published, ...]
    moved: bool

    def check(self) -> None:
        """Raises what went wrong in the first sink where the policy is not in force."""
        for sink in self.sinks:
            if sink.error is not None:
                raise sink.error
        for sink in self.sinks:
            if sink.drift:
                more = f" (and {len(sink.drift) - 1} more)" if len(sink.drift) > 1 else ""
                raise CheckRefused(
                    f"sink {sink.sink} is not at policy {self.policy.epoch} as published: {sink.drift[0]}{more}; "
                    "`quotaloop quotas publish` mends it"
                )


@dataclass(frozen=True, slots=True)
class Done:
    """What a run did: the release in force afterwards, whether it is new, and what became of the quotas."""

    release: Release | None
    released: bool
    pinned: bool
    derivation: Derivation | None
    policy: Policy | None
    unfinished: tuple[str, ...]
