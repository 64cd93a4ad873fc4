"""Redis and Envoy's rate limit service together, and what the settings say of them as sinks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers.envoy_server import EnvoyServer
from peers.redis_server import RedisServer

DOMAIN = "gateway"


@dataclass(frozen=True)
class Servers:
    """What runs; ``sinks`` are tables of the settings, by their names."""

    redis_url: str
    envoy: EnvoyServer | None
    sinks: dict[str, dict[str, Any]] = field(default_factory=dict)


@contextmanager
def running(folder: Path, *, envoy: bool) -> Iterator[Servers]:
    """Both, or Redis alone, over nothing that is kept; ended afterwards."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder))
        sinks: dict[str, dict[str, Any]] = {"redis": {"type": "redis", "url": redis.url}}
        if not envoy:
            yield Servers(redis.url, None, sinks)
            return
        rules = folder / "envoy"
        rules.mkdir()
        server = EnvoyServer(redis, rules / "current", folder / "envoy.log")
        stack.callback(server.kill)
        server.start()
        sinks["envoy"] = {"type": "envoy", "folder": str(rules), "domain": DOMAIN, "url": server.debug_url}
        yield Servers(redis.url, server, sinks)
