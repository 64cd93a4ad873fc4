"""One noisy tenant and some quiet ones, the same calls each time, and what a client does that is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from examples.gateway.clients import http
from examples.gateway.clients.answer import Answer
from examples.gateway.clients.connection import Connection
from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import Call, Tenant, plan
from examples.gateway.load.run import run

NOISY, QUIET = "acme", ("globex", "initech", "umbrella")
TENANTS = (NOISY, *QUIET)
_PROTOCOLS = ("http", "http", "sse", "websocket", "grpc")
_AGAIN_S = 2.0  # a refused client waits no longer than this
_SEED = 7


@dataclass(frozen=True, slots=True)
class Came:
    """What a tenant's attempts came to; ``again`` of them repeat one that was refused."""

    attempts: int
    ok: int
    refused: int
    other: int
    again: int

    @property
    def unmet(self) -> int:
        """Calls that were refused in the end: each refused call over HTTP is tried once more."""
        return self.refused - self.again


def calls(seconds: float, *, noisy: float, quiet: float) -> list[Call]:
    """So many calls a second of each; the same seed, so that both loads are the same calls."""
    rates = {tenant: noisy if tenant == NOISY else quiet for tenant in TENANTS}
    tenants = [Tenant(name, rate, protocols=_PROTOCOLS, words=8, max_tokens=12) for name, rate in rates.items()]
    return plan(_SEED, tenants, seconds)


def load(planned: list[Call], target: Target, keys: dict[str, str]) -> dict[str, Came]:
    """Make all calls at their times, and count by tenant what they came to."""
    return asyncio.run(_loaded(planned, target, keys))


async def _loaded(planned: list[Call], target: Target, keys: dict[str, str]) -> dict[str, Came]:
    again: dict[str, list[Answer]] = {tenant: [] for tenant in TENANTS}
    async with AsyncExitStack() as stack:
        callers, connections = {}, {}
        for tenant in TENANTS:
            callers[tenant] = await stack.enter_async_context(Caller(target, keys[tenant]))
            connections[tenant] = await stack.enter_async_context(Connection(target.url, keys[tenant]))

        async def make(call: Call) -> Answer:
            answer = await callers[call.tenant].call(call)
            if answer.outcome == "refused" and call.protocol == "http" and answer.event_id:
                await asyncio.sleep(min(answer.retry_after_s or 0, _AGAIN_S))
                repeated = await http.converse(
                    connections[call.tenant], call.prompt, call.version, retry_of=answer.event_id
                )
                again[call.tenant].append(repeated)
            return answer

        attempts = await run([replace(call, leave_after=None) for call in planned], make)
    found = {}
    for tenant in TENANTS:
        first = [attempt.answer for attempt in attempts if attempt.call.tenant == tenant]
        outcomes = Counter(answer.outcome for answer in (*first, *again[tenant]))
        total = len(first) + len(again[tenant])
        ok, refused = outcomes["ok"], outcomes["refused"]
        found[tenant] = Came(total, ok, refused, total - ok - refused, len(again[tenant]))
    return found
