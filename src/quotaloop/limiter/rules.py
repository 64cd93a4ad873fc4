"""The rule of a limit by the word for its algorithm."""

from __future__ import annotations

from typing import Any, Literal, get_args

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.fixed_window import FixedWindow
from quotaloop.limiter.rule import Rule
from quotaloop.limiter.sliding_log import SlidingLog
from quotaloop.limiter.sliding_window import SlidingWindow
from quotaloop.limiter.token_bucket import TokenBucket

Algorithm = Literal["fixed_window", "sliding_window", "sliding_log", "token_bucket", "gcra"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
_Window = FixedWindow | SlidingWindow | SlidingLog
_WINDOWS: dict[str, type[_Window]] = {
    "fixed_window": FixedWindow,
    "sliding_window": SlidingWindow,
    "sliding_log": SlidingLog,
}
_WORDS: dict[type[Any], str] = {rule: word for word, rule in _WINDOWS.items()}
_WORDS |= {TokenBucket: "token_bucket", Concurrency: "concurrency"}


def rule_of(algorithm: Algorithm, limit: int, per_seconds: int, burst: int) -> Rule[Any]:
    """``limit`` units in ``per_seconds`` seconds; windows take no ``burst``.

    Raises ``ValueError`` for an unknown algorithm and for numbers that cannot be counted exactly.
    """
    period_ms = per_seconds * 1_000
    if algorithm in ("token_bucket", "gcra"):
        return TokenBucket(limit, period_ms, burst)
    if algorithm not in _WINDOWS:
        raise ValueError(f"algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")
    return _WINDOWS[algorithm](limit, period_ms)


def word_of(rule: Rule[Any] | Concurrency) -> str:
    """The word for the algorithm of a rule.

    >>> word_of(rule_of("gcra", 60, 60, 1))
    'token_bucket'
    """
    return _WORDS[type(rule)]
