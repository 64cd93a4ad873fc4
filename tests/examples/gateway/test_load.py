"""Load on the real gateway: each call is one attempt, and each attempt is one event."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import PROTOCOLS, Call, Tenant, plan
from examples.gateway.load.report import report
from examples.gateway.load.run import run
from tests.examples.gateway.running_gateway import Gateway

pytestmark = pytest.mark.slow

IN_EVENTS = {"http2": "http", "multipart": "http"}  # else the same word
CALLS = plan(7, [Tenant("acme", rate=30, burst=3, max_tokens=12, leaves=0.3)], 4)
REFUSED = plan(7, [Tenant("globex", rate=30, max_tokens=4)], 2)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that refuses none of these calls."""
    gateway = Gateway(tmp_path_factory.mktemp("loaded"), ["acme", "globex"], pace_ms=5, safe_requests=10_000)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.kill()


def load(gateway: Gateway, calls: list[Call]) -> dict[str, Any]:
    async def story() -> dict[str, Any]:
        tenant = calls[0].tenant
        async with Caller(Target(gateway.url, gateway.http2, gateway.grpc), gateway.keys[tenant], sockets=3) as caller:
            attempts = await run(calls, caller.call)
            return report(attempts, {tenant: caller.signalling}, caller.waits_s)

    return asyncio.run(story())


def test_each_call_and_each_offer_is_one_event(loaded: Gateway) -> None:
    document = load(loaded, CALLS)
    rows = {row["protocol"]: row for row in document["calls"]}
    (offers,) = document["signalling"]
    assert set(rows) == set(PROTOCOLS)
    assert sum(row["attempts"] for row in rows.values()) == document["planned"] == len(CALLS)
    assert sum(row["ok"] + row["cancelled"] for row in rows.values()) == len(CALLS)
    assert sum(row["cancelled"] for row in rows.values()) == sum(call.leave_after is not None for call in CALLS)
    events = loaded.events_of("acme", len(CALLS) + offers["attempts"])
    expected = Counter(IN_EVENTS.get(name, name) for name, row in rows.items() for _ in range(row["attempts"]))
    expected["http"] += offers["attempts"]
    assert Counter(event["protocol"] for event in events) == expected
    assert sum(event.get("operation") == "signal" for event in events) == offers["attempts"] == offers["ok"]
    # Who leaves may have been sent more than was read.
    assert sum(event.get("output_tokens", 0) for event in events) >= sum(row["tokens"] for row in rows.values())


def test_no_call_is_lost_by_refusals_or_a_gateway_that_is_gone(tmp_path: Path) -> None:
    """Ten requests a minute are let in; then the gateway is gone."""
    gateway = Gateway(tmp_path, ["globex"], safe_requests=10)
    try:
        gateway.start()
        early = load(gateway, REFUSED)
        gateway.kill()
        late = load(gateway, REFUSED)
    finally:
        gateway.kill()
    for document in (early, late):
        assert sum(row["attempts"] for row in document["calls"]) == document["planned"] == len(REFUSED)
    ok, refused = (sum(row[name] for row in early["calls"]) for name in ("ok", "refused"))
    (offers,) = early["signalling"]
    assert ok + offers["ok"] == 10
    assert ok + refused == len(REFUSED)
    assert sum(row["errors"] for row in late["calls"]) == sum(row["unsent"] for row in late["calls"]) == len(REFUSED)
