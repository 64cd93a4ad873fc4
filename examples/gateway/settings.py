"""What a gateway is told when it starts: flag > environment (``GATEWAY_<NAME>``) > default, into one frozen value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from quotaloop.errors import UsageError

_MOST_BEHIND_S = 10 * 366 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One gateway's settings; names ending in ``_ms`` and ``_s`` are milliseconds and seconds.

    Events go to Kafka where ``kafka_brokers`` is given, else into ``outbox``; the policy comes from Redis where
    ``redis_url`` is given (its counts are there then, too), else from the file ``policy``, else there is none and
    ``safe_capacity`` holds. Tenants without a limit of their own share ``unknown_subjects`` counts. Ports: 0 is a free
    one, -1 none. ``faults`` adds a model that fails, for tests of clients; ``clock_behind_s`` is how far behind its
    events and limits are, to play another hour.
    """

    keys: str = "keys.json"
    spool: str = "spool"
    outbox: str = "outbox"
    kafka_brokers: str = ""
    kafka_topic: str = "api"
    policy: str = ""
    redis_url: str = field(default="", repr=False)
    redis_secret: str = field(default="", repr=False)
    safe_requests: int = 600
    safe_tokens: int = 200_000
    safe_compute: int = 60_000_000
    safe_concurrency: int = 64
    unknown_subjects: int = 1_024
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int = -1
    http2_port: int = -1
    pace_ms: float = 0.0
    heartbeat_s: float = 15.0
    graceful_s: float = 10.0
    slow_s: float = 5.0
    faults: bool = False
    instances: int = 1
    clock_behind_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("port", "grpc_port", "http2_port"):
            if not -1 <= getattr(self, name) <= 65_535:
                raise UsageError(f"{name} is 0 to 65535, or -1 for none, not {getattr(self, name)}")
        for name in ("heartbeat_s", "slow_s"):
            if not 0 < getattr(self, name) <= 86_400:
                raise UsageError(f"{name} is above 0, not {getattr(self, name)}")
        for name in ("pace_ms", "graceful_s"):
            if not 0 <= getattr(self, name) <= 86_400:
                raise UsageError(f"{name} is 0 or above, not {getattr(self, name)}")
        if not abs(self.clock_behind_s) <= _MOST_BEHIND_S:
            raise UsageError(f"clock_behind_s is at most ten years, not {self.clock_behind_s}")
        for name in (
            "safe_requests",
            "safe_tokens",
            "safe_compute",
            "safe_concurrency",
            "unknown_subjects",
            "instances",
        ):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is above 0, not {getattr(self, name)}")


def load(flags: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings; raises ``UsageError`` for an unknown name or a value that is none of its kind."""
    known = {one.name: one.default for one in fields(Settings)}
    said = {name: environment[key] for name in known if (key := f"GATEWAY_{name.upper()}") in environment} | dict(flags)
    if unknown := sorted(said.keys() - known.keys()):
        raise UsageError(f"there is no setting {unknown[0]}; there are {', '.join(known)}")
    return replace(Settings(), **{name: _value(name, word, known[name]) for name, word in said.items()})


def _value(name: str, word: str, default: Any) -> Any:
    kind = type(default)
    try:
        return {"1": True, "true": True, "0": False, "false": False}[word.lower()] if kind is bool else kind(word)
    except (ValueError, KeyError) as error:
        raise UsageError(f"{name} is no {kind.__name__}: {word!r}") from error
