"""The Redis sink: the policy under one key, set by one script unless a newer one is there, for our own limiters."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import urlsplit

from redis import Redis

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.faults import reached
from quotaloop.limiter.limits import Counting
from quotaloop.limiter.redis_store import connect
from quotaloop.limiter.store import HOLD_MS
from quotaloop.quotas.policy import EVERYTHING, Policy, check_push, render
from quotaloop.quotas.target import OUR_CHOICES, OURS
from quotaloop.sinks.redis.policy import PREFIX, Lying, address_of, damaged, key_of, lying, translated
from quotaloop.sinks.sink import Configuration

# KEYS: the hash, which is the channel's name too. ARGV: epoch, policy. Answers with the epoch that is there then.
_SET = """
local there = redis.call('HMGET', KEYS[1], 'epoch', 'policy')
local epoch = there[1]
if not epoch then
  if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('DAMAGED it has no epoch') end
elseif not string.match(epoch, '^[0-9]+$') then
  return redis.error_reply('DAMAGED its epoch is no number')
elseif tonumber(epoch) > tonumber(ARGV[1]) then
  return epoch
end
if epoch ~= ARGV[1] or there[2] ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'policy', ARGV[2])
  redis.call('PUBLISH', KEYS[1], ARGV[1])
end
return ARGV[1]
"""


class RedisSink:
    """The policy byte for byte in the hash ``<prefix>:policy``: fields ``epoch`` and ``policy``.

    An older epoch never replaces a newer one, whoever publishes at once. A change is said on the channel of the same
    name, as the epoch.
    """

    usual = OURS
    choices = OUR_CHOICES
    options: ClassVar = frozenset({"url", "prefix"})

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        prefix = configuration.options.get("prefix", PREFIX)
        if not isinstance(prefix, str) or not prefix:
            raise UsageError(f"sink {configuration.name}: prefix is a word before the key, not {prefix!r}")
        self._key = key_of(prefix)
        self._client = _client(configuration)

    def check(self, policy: Policy) -> None:
        """Our limiter loads every valid policy whose limits it can count exactly."""
        check_push(policy, None)
        algorithms: dict[Any, Any] = {**self.configuration.target.algorithms}
        counting = Counting(algorithms, HOLD_MS, 1)
        for limit in self.configuration.limits(policy):
            try:
                counting.bound(limit.kind, limit.scope, limit)
            except ValueError as error:
                raise self.configuration.refusal(limit, str(error)) from error
        for kind in algorithms:
            try:
                counting.bound(kind, EVERYTHING, policy.safe_capacity[kind])
            except ValueError as error:
                name = self.configuration.name
                raise CheckRefused(f"sink {name} cannot hold safe_capacity of {kind}: {error}") from error

    def publish(self, policy: Policy) -> None:
        """Compare and set, in one script."""
        self.check(policy)
        reached("redis_sink:checked")
        with translated(self._client, self._key):
            there = int(self._client.eval(_SET, 1, self._key, policy.epoch, render(policy)))
        reached("redis_sink:written")
        if there != policy.epoch:
            where = f"{self._key} at {address_of(self._client)}"
            raise CheckRefused(
                f"policy {policy.epoch} is refused whole: {where} holds policy {there}, push a newer one"
            )

    def epoch(self) -> int | None:
        """The one that publications are compared with."""
        return self._epoch(lying(self._client, self._key))

    def drift(self, policy: Policy) -> list[str]:
        """Are the bytes and the epoch exactly this policy's?"""
        try:
            there = lying(self._client, self._key)
            epoch = self._epoch(there)
        except CheckRefused as error:
            return [str(error)]
        if there == (str(policy.epoch).encode(), render(policy)):
            return []
        if epoch is None:
            return [f"{self._key} is missing"]
        if epoch != policy.epoch:
            return [f"{self._key} holds policy {epoch}"]
        return [f"{self._key} is not policy {policy.epoch} as published, somebody changed it"]

    def _epoch(self, there: Lying) -> int | None:
        if there == (None, None):
            return None
        if there.epoch is None or not there.epoch.isdigit():
            raise damaged(self._client, self._key, "it has no epoch that is a number")
        return int(there.epoch)


def _client(configuration: Configuration) -> Redis:
    """A client that waits for our patience; raises ``UsageError`` without what the url holds."""
    url = configuration.options.get("url")
    try:
        parts = urlsplit(str(url))
        if "@" in parts.path + parts.query + parts.fragment:  # a password that holds / ? or #, or a part of it
            raise ValueError
        client = connect(str(url), timeout_ms=max(configuration.settings.patience, 1))
        client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    except (ValueError, TypeError):
        raise UsageError(
            f"sink {configuration.name}: url is redis://[USER:PASSWORD@]HOST:PORT/DB, with %-escapes in the password"
        ) from None
    return client
