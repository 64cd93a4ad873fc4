"""How a limiter that policies are published to decides: what a backtest needs to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from quotaloop.quotas.policy import Kind

Algorithm = Literal["token_bucket", "fixed_window", "window_from_first", "sliding_window", "sliding_log", "concurrency"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
TokenClass = Literal["input", "cache_read", "cache_write", "output", "reasoning"]
TOKEN_CLASSES: tuple[TokenClass, ...] = get_args(TokenClass)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a target decides under several limits at once.

    ``together``: a request that one limit refuses is charged under none; else each limit counts by itself.
    ``counts_refused``: what a limit refuses is charged under it all the same. ``replicas``: so many instances count by
    themselves, each with the full limit, and requests go to them in turn.
    """

    together: bool = True
    counts_refused: bool = False
    replicas: int = 1

    def __post_init__(self) -> None:
        if self.replicas < 1 or (self.together and self.counts_refused):
            raise ValueError(
                "replicas are above 0, and what is charged together or not at all is not counted if refused"
            )


@dataclass(frozen=True, slots=True)
class Target:
    """How a limiter that policies are published to decides: an algorithm a kind, and which kinds it charges at the end.

    A kind without an algorithm is not limited there. Of tokens, it charges those of ``token_classes``.
    """

    algorithms: Mapping[Kind, Algorithm]
    manner: Manner = field(default_factory=Manner)
    after: frozenset[Kind] = frozenset()
    token_classes: frozenset[TokenClass] = frozenset(TOKEN_CLASSES)


OURS = Target(
    {"requests": "token_bucket", "tokens": "token_bucket", "compute": "token_bucket", "concurrency": "concurrency"}
)
_RATES: frozenset[Algorithm] = frozenset({"token_bucket", "fixed_window", "sliding_window", "sliding_log"})
OUR_CHOICES: Mapping[Kind, frozenset[Algorithm]] = {
    "requests": _RATES,
    "tokens": _RATES,
    "compute": _RATES,
    "concurrency": frozenset({"concurrency"}),
}
