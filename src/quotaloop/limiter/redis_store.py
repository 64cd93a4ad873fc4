"""Counts in Redis, shared by many processes: one script a decision, by the clock of Redis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from quotaloop.limiter.concurrency import Concurrency
from quotaloop.limiter.redis_scripts import Scripts
from quotaloop.limiter.rule import Decision, check_cost
from quotaloop.limiter.rules import word_of
from quotaloop.limiter.sliding_log import SlidingLog
from quotaloop.limiter.store import HOLD_MS, SETTLED_MS, Ask, check_actual, check_asks
from quotaloop.limiter.token_bucket import TokenBucket

_SUBJECTS = 65_536  # whose hashes are remembered


def connect(url: str, *, timeout_ms: int = 50) -> Redis:
    """A client that asks once and waits no longer than that; raises ``ValueError`` for an address that is none."""
    timeout_s = timeout_ms / 1_000
    return Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0))


class RedisStore:
    """A ``CounterStore`` in Redis 7 or later; all keys of a subject lie in one slot.

    Keys hold a hash of the subject under ``secret``, not its name. What is kept of a key ends by itself once it says no
    more than an empty one. The time is that of Redis, whatever the clock of a host says; with ``clock`` caller it is
    the one given, to replay what was.
    """

    def __init__(
        self,
        client: Redis,
        *,
        secret: bytes,
        prefix: str = "quotaloop",
        hold_ms: int = HOLD_MS,
        settled_ms: int = SETTLED_MS,
        clock: Literal["redis", "caller"] = "redis",
    ) -> None:
        if hold_ms < 1 or settled_ms < 0:
            raise ValueError(f"hold_ms is above 0 and settled_ms not below, not {hold_ms} and {settled_ms}")
        self.client, self.prefix, self.hold_ms, self.clock = client, prefix, hold_ms, clock
        self.settled_ms = settled_ms
        self._scripts = Scripts(client)
        self._hashed = lru_cache(_SUBJECTS)(lambda subject: _hash(subject, secret))

    def spend(self, subject: str, ask: Ask, now_ms: int) -> Decision:
        """Spend under one limit."""
        check_cost(ask.cost, ask.rule.most)
        arguments = [self._now(now_ms), "", 0, *_numbers(ask)]
        fits, remaining, wait_ms = self._scripts.run("reserve", _words([ask]), self._keys(subject, [ask]), arguments)
        return Decision(fits == 1, remaining, wait_ms)

    def reserve(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> list[Decision]:
        """Spend all or nothing."""
        check_asks(asks)
        answer = self._scripts.run(
            "reserve",
            _words(asks),
            [self._record(subject, request_id), *self._keys(subject, asks)],
            [self._now(now_ms), request_id, self.hold_ms, *_all_numbers(asks)],
        )
        triples = zip(answer[::3], answer[1::3], answer[2::3], strict=True)
        return [Decision(fits == 1, remaining, wait_ms) for fits, remaining, wait_ms in triples]

    def settle(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Make the costs those of ``asks``."""
        check_actual(asks)
        return self._again("settle", subject, request_id, asks, now_ms)

    def extend(self, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        """Hold a reservation and its slot for as long again."""
        return self._again("extend", subject, request_id, asks, now_ms)

    def _again(self, verb: str, subject: str, request_id: str, asks: Sequence[Ask], now_ms: int) -> bool:
        keys = [self._record(subject, request_id), *self._keys(subject, asks)]
        arguments = [self._now(now_ms), request_id, verb, self.hold_ms, self.settled_ms, *_all_numbers(asks)]
        return bool(self._scripts.run("settle", _words(asks), keys, arguments) == 1)

    def _now(self, now_ms: int) -> int | str:
        return now_ms if self.clock == "caller" else ""

    def _record(self, subject: str, request_id: str) -> str:
        return f"{self.prefix}:{{{self._hashed(subject)}}}:request:{request_id}"

    def _keys(self, subject: str, asks: Sequence[Ask]) -> list[str]:
        start = f"{self.prefix}:{{{self._hashed(subject)}}}:"
        keys = []
        for ask in asks:
            keys.append(start + ask.key)
            if isinstance(ask.rule, SlidingLog):
                keys.append(f"{start}{ask.key}:log")
        return keys


def _hash(subject: str, secret: bytes) -> str:
    return blake2b(subject.encode(), digest_size=16, key=secret).hexdigest()


def _words(asks: Sequence[Ask]) -> frozenset[str]:
    return frozenset(word_of(ask.rule) for ask in asks)


def _all_numbers(asks: Sequence[Ask]) -> list[str | int]:
    return [number for ask in asks for number in _numbers(ask)]


def _numbers(ask: Ask) -> tuple[str | int, ...]:
    """Algorithm, limit, period, burst, cost, as the scripts take them."""
    rule = ask.rule
    period = rule.hold_ms if isinstance(rule, Concurrency) else rule.period_ms
    burst = rule.burst if isinstance(rule, TokenBucket) else 0
    return word_of(rule), rule.limit, period, burst, ask.cost
