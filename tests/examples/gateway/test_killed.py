"""The gateway is killed under load: all that it had written arrives, or completeness says just what did not."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from examples.gateway.load.caller import Caller, Target
from examples.gateway.load.plan import Tenant, plan
from examples.gateway.load.run import Attempt, run
from tests.examples.gateway.running_gateway import Gateway, wait_for
from tests.loop.stores import Loop

TENANT = "acme"


@pytest.fixture
def loop(engines: None, tmp_path: Path) -> Loop:  # noqa: ARG001 - the engines are open while it is used
    return Loop(tmp_path / "store")


class Load(threading.Thread):
    """Streams and documents, most of which come after the gateway has gone."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.attempts: list[Attempt] = []
        self._target = Target(gateway.url, gateway.http2, gateway.grpc)
        self._key = gateway.keys[TENANT]

    def run(self) -> None:
        """Make the calls of the plan."""
        self.attempts = asyncio.run(self._made())

    async def _made(self) -> list[Attempt]:
        calls = plan(5, [Tenant(TENANT, 80, protocols=("http", "sse", "grpc"), words=5, max_tokens=12)], 6)
        async with Caller(self._target, self._key) as caller:
            return await run(calls, caller.call, patience_s=20)


def _killed_under_load(gateway: Gateway) -> tuple[Load, str, int]:
    """Killed when some events have left and others lie in the spool; what it was, and the last number it has used."""
    gateway.start()
    load = Load(gateway)
    load.start()
    wait_for(lambda: len(gateway.events()) >= 60 and len(_spooled(gateway)) > 0, "events in outbox and spool")
    gateway.kill()
    load.join()
    (counter,) = gateway.spool.glob("lane-0/*.seq")
    return load, counter.stem, int.from_bytes(counter.read_bytes(), "little")


def _spooled(gateway: Gateway) -> list[Path]:
    """Segments that hold a whole line, by name."""
    return sorted(path for path in gateway.spool.glob("lane-*/*.jsonl") if b"\n" in path.read_bytes())


def _landed_after_a_start(gateway: Gateway, loop: Loop) -> dict[str, tuple[int, int]]:
    """Started again, with an event of its own; all that has left is landed. By boot: received and missing."""
    gateway.start()
    gateway.events_of(TENANT, 1)
    assert gateway.stop() == 0
    assert _spooled(gateway) == []
    for path in sorted(gateway.outbox.glob("*.jsonl")):
        loop.land_file(path, "gateway")
    loop.run()
    rows = loop.sql("SELECT boot, sum(received)::BIGINT, sum(missing)::BIGINT FROM completeness_hourly GROUP BY boot")
    return {boot: (received, missing) for boot, received, missing in rows}


@pytest.mark.soak
def test_what_a_killed_gateway_has_written_arrives_after_it_is_started_again(tmp_path: Path, loop: Loop) -> None:
    gateway = Gateway(tmp_path, [TENANT], faults=0)
    try:
        load, boot, last = _killed_under_load(gateway)
        found = _landed_after_a_start(gateway, loop)
    finally:
        gateway.kill()
    received, missing = found.pop(boot)
    assert (received + missing, missing <= 1) == (last, True)  # the line that was being written may be torn
    assert set(found.values()) == {(1, 0)}  # the marker of the boot after it
    landed = {row[0] for row in loop.sql("SELECT event_id FROM events")}
    answered = {attempt.answer.event_id for attempt in load.attempts if attempt.answer.outcome == "ok"} - {None}
    assert len(answered) >= 60
    assert len(answered - landed) <= missing


@pytest.mark.slow
def test_completeness_says_just_what_a_killed_gateway_has_written_and_its_disk_has_lost(
    tmp_path: Path, loop: Loop
) -> None:
    gateway = Gateway(tmp_path, [TENANT], faults=0)
    try:
        _, boot, last = _killed_under_load(gateway)
        lost = 0
        for path in _spooled(gateway):
            lost += path.read_bytes().count(b"\n")
            path.unlink()
        found = _landed_after_a_start(gateway, loop)
    finally:
        gateway.kill()
    assert lost > 0
    received, missing = found[boot]
    assert received == len([event for event in gateway.events() if event["boot"] == boot])
    assert received + missing == last
    assert missing - lost in (0, 1)
