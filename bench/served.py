"""Requests served first come, first served under one capacity a clock minute, and what clients do about refusals."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from quotaloop.settings import Settings

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


@dataclass(frozen=True, slots=True)
class Client:
    """Tries again ``retries`` times, first after about ``wait_ms``, then after ``backoff`` times as long as before."""

    retries: int = 3
    wait_ms: int = 2_000
    backoff: int = 4


class Attempt(NamedTuple):
    """One line of the log: which request, when, refused by what, and the place in the log of its first attempt."""

    request: int
    arrived_ms: int
    is_denied: bool
    by_tokens: bool
    root: int


@dataclass(slots=True)
class _Capacity:
    """What has been spent in the clock minute of ``spend``."""

    requests: int
    tokens: int
    minute: int = -1
    spent_requests: int = 0
    spent_tokens: int = 0

    def spend(self, now: int, cost: int) -> tuple[bool, bool]:
        """Is it refused, and is it for tokens alone? What is refused spends nothing."""
        if now // MINUTE_MS != self.minute:
            self.minute, self.spent_requests, self.spent_tokens = now // MINUTE_MS, 0, 0
        if self.spent_requests >= self.requests:
            return True, False
        if self.spent_tokens + cost > self.tokens:
            return True, True
        self.spent_requests += 1
        self.spent_tokens += cost
        return False, False


def served(requests: Iterable[tuple[int, int, Client]], settings: Settings, dice: random.Random) -> list[Attempt]:
    """Every attempt by time; requests are (epoch ms, tokens, client) by time.

    Nobody tries again after the hour of the first attempt, where a chain ends.
    """
    log: list[Attempt] = []
    again: list[tuple[int, int, int, int, int, Client]] = []  # when, place of the first, tries, request, cost, client
    capacity = _Capacity(settings.capacity_requests, settings.capacity_tokens)

    def attempt(now: int, root: int, tries: int, request: int, cost: int, client: Client) -> None:
        refusal = capacity.spend(now, cost)
        log.append(Attempt(request, now, *refusal, root))
        if refusal[0] and tries < client.retries:
            later = now + int(client.wait_ms * client.backoff**tries * dice.uniform(0.5, 1.5))
            if later // HOUR_MS == log[root].arrived_ms // HOUR_MS:
                heappush(again, (later, root, tries + 1, request, cost, client))

    for request, (arrived, cost, client) in enumerate(requests):
        while again and again[0][0] <= arrived:
            attempt(*heappop(again))
        attempt(arrived, len(log), 0, request, cost, client)
    while again:
        attempt(*heappop(again))
    return log
