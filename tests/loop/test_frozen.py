"""Days whose raw is gone stay as they are."""

from __future__ import annotations

from tests.loop.stores import HOUR, Loop, event


def test_lines_for_a_day_whose_raw_is_gone_are_late_also_in_hours_that_had_none(loop: Loop) -> None:
    loop.land("old", event("e", 0, output_tokens=7))
    assert loop.run().released
    loop.store.delete("raw/old")
    loop.land("new", event("f", 1), event("g", 5 * HOUR), event("h", 30 * HOUR, output_tokens=1))
    assert loop.run().released
    assert loop.sql("SELECT sum(requests), sum(total_tokens) FROM usage_hourly") == [(2, 8)]
    lines = "SELECT topic, lines, accepted, late FROM ingest_ledger ORDER BY topic"
    assert loop.sql(lines) == [("new", 3, 1, 2), ("old", 1, 1, 0)]
    days = "SELECT date::VARCHAR, sum(requests) FROM usage_daily GROUP BY date ORDER BY date"
    assert loop.sql(days) == [("2026-03-02", 1), ("2026-03-03", 1)]
