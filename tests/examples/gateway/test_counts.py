"""A mixed load on the real gateway: as many events as attempts, and counters that are what the events cost."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.gateway.clients import upload
from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import PROTOCOLS, Call, Tenant, plan
from examples.gateway.load.run import run
from quotaloop.quotas.policy import EVERYTHING, FORMAT, Kind, Limit, Policy, Rate, instant, render
from tests.examples.gateway.running_gateway import Gateway

# So slowly filled that nothing comes back during the test: what is not left was spent.
PLENTY: dict[Kind, Rate] = {
    "requests": Rate(1, 1_000_000, 1_000_000),
    "tokens": Rate(1, 1_000_000, 5_000_000),
    "compute": Rate(1, 100_000, 90_000_000),
    "concurrency": Rate(1_000, 1, 1_000),
}
FEW = 40  # requests of the tenant that is refused most of the time
ROAMING, HELD = "roaming", "held"


def _policy() -> Policy:
    few = PLENTY | {"requests": Rate(1, 1_000_000, FEW)}
    limits = [
        Limit(
            tenant=tenant,
            scope=EVERYTHING,
            kind=kind,
            limit=rate.limit,
            per_seconds=rate.per_seconds,
            burst=rate.burst,
            evidence={},
        )
        for tenant, rates in ((ROAMING, PLENTY), (HELD, few))
        for kind, rate in rates.items()
    ]
    begin, end = instant(1_700_000_000_000), instant(4_000_000_000_000)
    return Policy(
        format=FORMAT,
        epoch=3,
        release=1,
        created_at=begin,
        valid_from=begin,
        expires_at=end,
        limits=tuple(limits),
        safe_capacity=PLENTY,
    )


async def _attempts(gateway: Gateway, calls: list[Call]) -> Counter[str]:
    """By tenant, all that was sent to the gateway: calls, and the offers of WebRTC peers."""
    target = Target(gateway.url, gateway.http2, gateway.grpc)
    async with AsyncExitStack() as stack:
        callers = {
            tenant: await stack.enter_async_context(Caller(target, gateway.keys[tenant])) for tenant in (ROAMING, HELD)
        }
        attempts = await run(calls, lambda call: callers[call.tenant].call(call), most_open=64, patience_s=120)
        sent = Counter(attempt.call.tenant for attempt in attempts if attempt.answer.is_sent)
        sent.update({tenant: len(caller.signalling) for tenant, caller in callers.items()})
        return sent


def _left(gateway: Gateway, tenant: str) -> dict[str, int]:
    """What the limits of a tenant still let through, as one more request is told."""
    headers = {"authorization": f"Bearer {gateway.keys[tenant]}"}
    answer = httpx.get(f"{gateway.url}/api/v2/models", headers=headers, trust_env=False)
    return {name: int(left) for name, left in re.findall(r'"(\w+)";r=(\d+)', answer.headers["ratelimit"])}


def _spent(events: list[dict[str, Any]]) -> dict[str, int]:
    """By kind, of what was not denied."""
    let_in = [event for event in events if event["outcome"] != "denied"]
    classes = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")
    return {
        "requests": len(let_in),
        "tokens": sum(event.get(name, 0) for event in let_in for name in classes),
        "compute": sum(round(event.get("gpu_ms", 0) * 1_000) for event in let_in),
    }


@pytest.mark.parametrize("count", [700, pytest.param(10_000, marks=pytest.mark.soak)])
def test_there_are_as_many_events_as_attempts_and_counters_are_what_they_cost(tmp_path: Path, count: int) -> None:
    (tmp_path / "policy.json").write_bytes(render(_policy()))
    gateway = Gateway(tmp_path, (ROAMING, HELD), policy=tmp_path / "policy.json", faults=0)
    rate = 60.0
    tenants = [
        Tenant(name, share * rate, protocols=PROTOCOLS, words=10, max_tokens=24, leaves=0.15)
        for name, share in ((ROAMING, 0.85), (HELD, 0.15))
    ]
    calls = plan(11, tenants, 2 * count / rate)[:count]
    upload.picture(0)
    gateway.start()
    try:
        sent = asyncio.run(_attempts(gateway, calls))
        found = {}
        for tenant in (ROAMING, HELD):
            events = gateway.events_of(tenant, sent[tenant])
            assert len(events) == sent[tenant]
            left, spent = _left(gateway, tenant), _spent(events)
            most = {kind: rate_.burst for kind, rate_ in PLENTY.items()} | ({"requests": FEW} if tenant == HELD else {})
            if tenant == ROAMING:  # the one more request is let in, and is a request
                assert left == {
                    "requests": most["requests"] - spent["requests"] - 1,
                    "tokens": most["tokens"] - spent["tokens"],
                    "compute": most["compute"] - spent["compute"],
                    "concurrency": most["concurrency"] - 1,
                }
            else:
                assert spent["requests"] == FEW
                assert left["requests"] == 0
                assert left["tokens"] == most["tokens"] - spent["tokens"]
            found[tenant] = events
        assert gateway.stop() == 0
    finally:
        gateway.kill()
    outcomes = Counter(event["outcome"] for event in found[ROAMING])
    assert outcomes["ok"] > outcomes["cancelled"] > 0
    assert outcomes["denied"] == outcomes["error"] == 0
    ids = [event["event_id"] for events in found.values() for event in events]
    assert len(set(ids)) == len(ids)
