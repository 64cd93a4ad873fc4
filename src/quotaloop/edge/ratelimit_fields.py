"""The fields ``RateLimit-Policy`` and ``RateLimit`` of draft-ietf-httpapi-ratelimit-headers-10."""

from __future__ import annotations

import re
from functools import lru_cache

from quotaloop.limiter.answer import Answer
from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.limits import Bound

_UNITS = {"requests": "requests", "tokens": "tokens", "compute": "microseconds", "concurrency": "concurrent-requests"}
_MOST = 999_999_999_999_999  # the greatest integer of RFC 9651
_NOT_IN_STRINGS = re.compile(r"[^ -~]")


def ratelimit_fields(answer: Answer) -> list[tuple[bytes, bytes]]:
    """Both fields for all limits that were asked; none where no limit was."""
    if not answer.bounds:
        return []
    policies, left = _of(answer.bounds)
    remaining = tuple([found.remaining for _, found in answer.decisions])
    if answer.allowed and max(remaining) <= _MOST:
        return [policies, (b"ratelimit", (left % remaining).encode())]
    said = [
        f"{_name(bound)};r={min(found.remaining, _MOST)}"
        + ("" if found.allowed else f";t={seconds(found.retry_after_ms)}")
        for bound, (_, found) in zip(answer.bounds, answer.decisions, strict=True)
    ]
    return [policies, (b"ratelimit", ", ".join(said).encode())]


def seconds(ms: int) -> int:
    """Whole seconds until then, never too few.

    >>> seconds(0), seconds(1), seconds(1_000), seconds(1_001)
    (0, 1, 1, 2)
    """
    return -(-ms // 1_000)


@lru_cache(4_096)
def _of(bounds: tuple[Bound, ...]) -> tuple[tuple[bytes, bytes], str]:
    """The field of policies, and the other one with a place for what is left of each."""
    policies = ", ".join(map(_policy, bounds)).encode()
    left = ", ".join(_name(bound).replace("%", "%%") + ";r=%d" for bound in bounds)
    return (b"ratelimit-policy", policies), left


def _policy(bound: Bound) -> str:
    rule = bound.rule
    quota = 0 if rule is None else min(rule.limit, _MOST)
    window = "" if rule is None or isinstance(rule, Concurrency) else f";w={rule.period_ms // 1_000}"
    return f'{_name(bound)};q={quota};qu="{_UNITS[bound.kind]}"{window}'


def _name(bound: Bound) -> str:
    """As a string of RFC 9651, which is printable ASCII; a policy may name models otherwise."""
    plain = _NOT_IN_STRINGS.sub(lambda match: match[0].encode("unicode_escape").decode(), bound.name)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
