"""The Kong sink: a decK file with the plugin ``ai-rate-limiting-advanced`` for each consumer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

from quotaloop.errors import CheckRefused, UsageError
from quotaloop.faults import reached
from quotaloop.quotas.policy import EVERYTHING, Limit, Policy, Rate, check_push
from quotaloop.quotas.target import Algorithm, Manner, Target, TokenClass
from quotaloop.sinks.sink import Configuration
from quotaloop.storage.local import LocalStore

TAG = "quotaloop"
_EPOCH_TAG = re.compile(r"quotaloop-epoch-([1-9][0-9]{0,9})")
_WINDOW_TYPES: dict[Algorithm, str] = {"fixed_window": "fixed", "sliding_window": "sliding"}
_INPUT: frozenset[TokenClass] = frozenset({"input", "cache_read", "cache_write"})
_OUTPUT: frozenset[TokenClass] = frozenset({"output", "reasoning"})
_STRATEGIES = {_INPUT | _OUTPUT: "total_tokens", _INPUT: "prompt_tokens", _OUTPUT: "completion_tokens"}
_PROVIDERS = ("openai", "azure", "anthropic", "cohere", "mistral", "llama2", "bedrock", "gemini", "huggingface")
_COUNTERS = ("local", "cluster", "redis")
_FIRST = 100


class KongSink:
    """One file for Kong Gateway Enterprise 3.11 (AI license) and decK; ``path`` is one of this machine.

    The file is JSON, which is YAML: decK reads it. Bringing it into the gateway (``deck gateway sync``) is the
    operator's; ``epoch`` and ``drift`` see the file alone, not what Kong enforces. Of tokens only, charged when the
    response has ended. A consumer without a limit is under the plugin without consumer: the safe capacity. A suspended
    one is under ``request-termination``, which answers 403.
    """

    usual = Target({"tokens": "fixed_window"}, Manner(), after=frozenset({"tokens"}))
    choices: ClassVar = {"tokens": frozenset(_WINDOW_TYPES)}
    options: ClassVar = frozenset({"path", "provider", "strategy", "sync_rate", "redis", "consumer_tag"})

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        options = configuration.options
        path = options.get("path")
        self._require(isinstance(path, str) and Path(path).is_absolute(), f"path is an absolute one, not {path!r}")
        self._path = Path(str(path))
        self._provider = options.get("provider")
        self._require(self._provider in _PROVIDERS, f"provider is one of {', '.join(_PROVIDERS)}")
        self._counter = options.get("strategy", "local")
        self._require(self._counter in _COUNTERS, f"strategy is one of {', '.join(_COUNTERS)}")
        self._config = self._counter_config()
        self._tag = options.get("consumer_tag")
        self._require(self._tag is None or (isinstance(self._tag, str) and bool(self._tag)), "consumer_tag is a text")
        self._require(
            configuration.target.token_classes in _STRATEGIES, "token_classes are all, or those of input, or of output"
        )

    def check(self, policy: Policy) -> None:
        """Can every limit of tokens be held to the unit?"""
        check_push(policy, None)
        consumers: set[str] = set()
        for limit in self.configuration.limits(policy):
            consumer, reason = self.configuration.identity(limit.tenant), None
            if limit.scope != EVERYTHING:
                reason = "a consumer's tokens are counted by provider, not by model or version"
            elif consumer in consumers:
                reason = f"consumer {consumer} is another tenant's too: see the option tenants"
            if reason:
                raise self.configuration.refusal(limit, f"{limit.limit} per {limit.per_seconds} s: {reason}")
            consumers.add(consumer)

    def publish(self, policy: Policy) -> None:
        """Put the file in the place of the one before, in one rename."""
        self.check(policy)
        there = self.epoch()
        check_push(policy, replace(policy, epoch=there) if there and there > policy.epoch else None)
        data = self._rendered(policy)
        if self._bytes() != data:
            reached("kong:checked")
            LocalStore(self._path.parent).replace(self._path.name, data)

    def epoch(self) -> int | None:
        """The greatest in the tags of the file; raises ``CheckRefused`` for one that this sink did not write."""
        data = self._bytes()
        if data is None:
            return None
        try:
            return max(_epochs(_plugins(data).values()))
        except ValueError as error:
            raise CheckRefused(f"{self._path} is not of this sink; remove it and publish again: {error}") from error

    def drift(self, policy: Policy) -> list[str]:
        """A line a plugin that is not as published; bytes that say the same in another way are one."""
        self.check(policy)
        data, wanted = self._bytes(), self._rendered(policy)
        if data == wanted:
            return []
        if data is None:
            return [f"{self._path} is missing"]
        try:
            there = _plugins(data)
            epoch = max(_epochs(there.values()))
        except ValueError as error:
            return [f"{self._path} is not of this sink: {error}"]
        if epoch != policy.epoch:
            return [f"{self._path} holds policy {epoch}"]
        published = _plugins(wanted)
        names = sorted(there.keys() | published.keys())
        found = [f"{name} is not as published" for name in names if there.get(name) != published.get(name)]
        return found[:_FIRST] or [f"{self._path} is not policy {epoch} as published, somebody changed it"]

    def _rendered(self, policy: Policy) -> bytes:
        tags = [TAG, f"quotaloop-epoch-{policy.epoch}"]
        plugins = [self._limiting(policy.safe_capacity["tokens"])]
        for limit in self.configuration.limits(policy):
            plugin = self._limiting(limit) if limit.limit else _TERMINATION
            plugins.append({**plugin, "consumer": self.configuration.identity(limit.tenant)})
        info: dict[str, Any] = {"select_tags": [TAG]}
        if self._tag is not None:
            info["default_lookup_tags"] = {"consumers": [self._tag]}
        document = {
            "_format_version": "3.0",
            "_info": info,
            "plugins": [{**plugin, "tags": tags} for plugin in plugins],
        }
        return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"

    def _limiting(self, rate: Limit | Rate) -> dict[str, Any]:
        target = self.configuration.target
        provider = {"name": self._provider, "limit": [rate.limit], "window_size": [rate.per_seconds]}
        return {
            "name": "ai-rate-limiting-advanced",
            "config": {
                "identifier": "consumer",
                "llm_providers": [provider],
                "tokens_count_strategy": _STRATEGIES[target.token_classes],
                "window_type": _WINDOW_TYPES[target.algorithms["tokens"]],
                **self._config,
            },
        }

    def _counter_config(self) -> dict[str, Any]:
        """Where the counters lie: of ``local`` in each node, so that ``replicas`` nodes count by themselves."""
        options = self.configuration.options
        sync_rate, redis = options.get("sync_rate", 0), options.get("redis")
        self._require(type(sync_rate) in (int, float) and 0 <= sync_rate < 3_600, "sync_rate is seconds, from 0")
        self._require((redis is not None) == (self._counter == "redis"), "redis goes with strategy redis")
        if self._counter == "local":
            self._require("sync_rate" not in options, "local counters are not synchronised: no sync_rate")
            return {"strategy": "local"}
        if redis is None:
            return {"strategy": self._counter, "sync_rate": sync_rate}
        is_one = isinstance(redis, dict) and redis.keys() == {"host", "port"} and isinstance(redis["host"], str)
        self._require(is_one and type(redis["port"]) is int, "redis is {host = '...', port = 6379}")
        return {"strategy": "redis", "sync_rate": sync_rate, "redis": dict(redis)}

    def _bytes(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def _require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise UsageError(f"sink {self.configuration.name}: {rule}")


_TERMINATION = {
    "name": "request-termination",
    "config": {"status_code": 403, "message": "suspended"},
}


def _plugins(data: bytes) -> dict[str, Any]:
    """Its plugins by consumer; raises ``ValueError`` for what is not a file of this sink."""
    try:
        plugins = json.loads(data)["plugins"]
        named = {f"consumer {one['consumer']}" if "consumer" in one else "the default": one for one in plugins}
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}, {error}") from error
    if not named or len(named) < len(plugins):
        raise ValueError("it has no plugins, or two of a consumer")
    return named


def _epochs(plugins: Any) -> list[int]:
    found = [int(match[1]) for one in plugins for tag in one.get("tags", ()) if (match := _EPOCH_TAG.fullmatch(tag))]
    if not found:
        raise ValueError("no plugin has the tag of an epoch")
    return found
