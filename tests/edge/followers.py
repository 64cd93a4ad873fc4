"""Limiters that follow policies, and policies that can be told apart by what they let through."""

from __future__ import annotations

from typing import Any

from quotaloop.edge.follow import Follower, Read
from quotaloop.limiter import Limiter, MemoryStore
from quotaloop.quotas.policy import KINDS, Policy, Rate
from tests.sinks.pushes import limit, policy

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z, in ms
PATIENCE_S = 20


def epoch(number: int, requests: int | None = None) -> Policy:
    """A policy under which acme has so many requests a minute, ten times its epoch unless told."""
    return policy(number, limit("acme", "requests", requests or 10 * number))


def limiter() -> Limiter:
    """One without a policy: one request a minute passes."""
    return Limiter(MemoryStore(), safe_capacity={kind: Rate(limit=1, per_seconds=60, burst=1) for kind in KINDS})


def left(asked: Limiter, now_ms: int = NOON) -> int:
    """How many requests of acme would pass."""
    return asked.reserve("acme", "probe", {"requests": 0}, now_ms=now_ms).decisions[0][1].remaining


def follower(read: Read, **chosen: Any) -> Follower:
    """Of a limiter of its own."""
    return Follower(limiter(), read, **chosen)
