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


def test_what_a_parent_excluded_of_an_hour_that_reaches_into_a_new_one_stays_excluded(loop: Loop) -> None:
    """The first run sees a request of two hours twice; the second adds one to the hour that it reaches into."""
    long = event("long", 0, duration_ms=2 * HOUR)
    loop.land("t", long, long)
    assert loop.run().released
    loop.land("u", event("next", HOUR + 5))
    assert loop.run().released
    in_flight = "SELECT admitted FROM rate_limit_usage WHERE kind = 'concurrency' ORDER BY hour"
    assert loop.sql(in_flight) == [(1,), (2,)]


def test_a_run_without_events_does_not_look_for_sums_that_are_too_great(loop: Loop) -> None:
    """The notes of what landed before say that their sums may not fit."""
    most = {"gpu_ms": 1e12, "duration_ms": 1}
    loop.land("t", *(event(f"e{number}", number, **most) for number in range(1_600)))
    assert loop.run().released
    loop.land("u", b"{}")
    assert loop.run().released
