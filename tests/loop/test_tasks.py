"""How hours are shared out among tasks shows in no table."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.spark import build
from tests.loop.stores import HOUR, Event, Loop, assert_same_release, event


def lines() -> list[Event]:
    """Three hours with all that goes over an hour's end: flights, stamps, chains cut in two; and duplicates."""
    found = []
    for number in range(30):
        ts = number * HOUR // 10
        stamps = {"host": "h", "boot": "b", "seq": number + 1}
        found.append(event(f"e{number}", ts, duration_ms=HOUR // 2, output_tokens=number, **stamps))
        found.append(event(f"r{number}", ts + HOUR // 20, status=429, wanted_tokens=5, retry_of=f"e{number}"))
    long = event("long", 5, duration_ms=2 * HOUR)
    return [*found, long, *found[::7], long]


def test_an_hour_a_task_or_all_in_one_is_the_same(
    engines: None,  # noqa: ARG001 - runs find them
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    together, apart = Loop(tmp_path / "together"), Loop(tmp_path / "apart")
    shared: list[int] = []
    share_out = build._Build._shares

    def counted(self: build._Build, hours: frozenset[int]) -> list[frozenset[int]]:
        shares = list(share_out(self, hours))
        shared.append(len(shares))
        return shares

    monkeypatch.setattr(build._Build, "_shares", counted)
    for loop, most in ((together, 10_000), (apart, 1)):
        monkeypatch.setattr(build, "_EVENTS_OF_A_TASK", most)
        loop.land("t", *lines())
        assert loop.run().released
    assert shared == [1, 1, 3, 4]
    assert_same_release(apart, together)
    in_flight = "SELECT admitted FROM rate_limit_usage WHERE kind = 'concurrency' ORDER BY hour"
    assert apart.sql(in_flight) == [(6,), (6,), (6,), (4,)]
